# Rules that tools check. `layers` and `headers` are part of `make test`; the others only report.

# ---- layers: an include points down only --------------------------------------------------------------------------------
.PHONY: layers
layers:
	@tools/layers.sh tools/layers.txt

# ---- headers: each one compiles alone -------------------------------------------------------------------------------------
HEADERS := $(sort $(shell find src -name '*.h'))

$(BUILD)/headers/%.ok: src/% | $(PB_H)
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -MF $@.d -MT $@ -fsyntax-only -include $< -x c /dev/null
	@touch $@

.PHONY: headers
headers: $(HEADERS:src/%=$(BUILD)/headers/%.ok)
	@echo "ok headers: each of $(words $(HEADERS)) compiles alone"

# ---- format, analysis -------------------------------------------------------------------------------------------------------
SOURCES := $(sort $(shell find $(wildcard src tests perf) -name node_modules -prune -o -name '*.[ch]' -print))

.PHONY: format analyze
# Shows which files clang-format would change; FIX=1 changes them.
format: deps-lint
	@clang-format $(if $(FIX),-i,--dry-run) $(SOURCES) 2>&1 | sed -n 's/^\(.*\):[0-9]*:[0-9]*: .*clang-format.*/\1/p' | sort | uniq -c | sort -rn

analyze: deps-lint compile_commands.json
	cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --suppress=missingIncludeSystem \
	    --suppress=unknownMacro -D_GNU_SOURCE -Isrc -j 2 src
	clang-tidy --quiet -p . --extra-arg=-Wno-everything $(filter src/%.c,$(SOURCES)) 2>/dev/null

compile_commands.json: $(SOURCES) $(PB_H)
	@{ echo '['; separator=' '; for source in $(filter %.c,$(SOURCES)); do \
	    printf '%s{"directory": "$(CURDIR)", "file": "%s", "command": "$(CC) $(CFLAGS) -Itests -c %s"}\n' "$$separator" $$source $$source; \
	    separator=','; done; echo ']'; } > $@

# ---- documents made from the program and the contract ------------------------------------------------------------------------------------
define OPTIONS_HEAD
# Options

Each option is a flag (`--room-members-max 1000`), an environment variable (`RINGPOST_ROOM_MEMBERS_MAX=1000`) and a line in a file
(`ringpost serve --config FILE`); a flag wins over the environment, and that over the file. What is unknown or out of range is refused with
its place and the reason. `ringpost config defaults` prints a commented file, `config check` tests a file and the machine, `config show` tells
where each value comes from.

This page is made from the program by `make docs`; the table is `src/core/config.h`. Where to begin: `listen`, `data_dir`, `connections_max`,
`tls_certificate_file` and `tls_key_file`, `allowed_origins`, `room_members_max`, `rate_messages_per_second`.

endef
export OPTIONS_HEAD

.PHONY: docs docs-check
docs: all
	@{ echo "$$OPTIONS_HEAD"; $(BUILD)/ringpost config options; } > docs/options.md
	@tools/contract.py page $(PROTO) > docs/methods.md

docs-check: all
	@for reason in $$(sed -n 's/^ *X(\([A-Z_]*\),.*/\L\1/p' src/api/error.h | grep -v '^none$$'); do \
	    grep -q "^| \`$$reason\`" docs/protocol.md || { echo "not ok docs: docs/protocol.md lacks the error $$reason"; exit 1; }; done
	@grep -oE '`[a-z_.]+::[a-z_0-9]+`' docs/strictness.md | tr -d '`' | sort -u | while read -r test; do \
	    suite=$${test%%::*} name=$${test#*::}; \
	    if [ "$$suite" = "$${suite%.*}" ]; then grep -rqE "Test\($$suite, $$name\b" --include=*_test.c tests; \
	    else grep -qE "\b$$name\b" tests/e2e/$$suite; fi || { echo "not ok docs: docs/strictness.md names $$test, which is not there"; exit 1; }; done
	@RINGPOST_BIN=$(BUILD)/ringpost tests/documents_test.py
	@tools/contract.py page $(PROTO) | cmp -s - docs/methods.md \
	    && echo "ok docs: docs/methods.md is what the contract says" || { echo "not ok docs: docs/methods.md is old: run make docs"; exit 1; }
	@{ echo "$$OPTIONS_HEAD"; $(BUILD)/ringpost config options; } | cmp -s - docs/options.md \
	    && echo "ok docs: docs/options.md is what the binary says" || { echo "not ok docs: docs/options.md is old: run make docs"; exit 1; }
