# `make test` is everything; tests/run runs and counts it. The targets here build its parts and run one of them by hand.
#   make test ONLY="unit e2e"          only the stages that begin with these words
#   make test-core                     one layer's unit tests (Makefile); SAN=address,undefined and SAN=thread work with each
#   make fuzz-seeds                    every fuzzer over its seeds and some thousand changed ones
#   make sim SEED=7                    the simulator (mk/sim.mk)
#   make e2e NAME=websocket            tests/e2e/NAME_test.*
ONLY ?=
NAME ?=

.PHONY: test test-programs
test: deps-test
	@tests/run $(ONLY)

test-programs: $(foreach layer,$(TEST_LAYERS),$(BUILD)/test-$(layer))

# What goes by tests/storage/power.c, which takes down the system calls that change small files.
POWER_FLAGS := $(foreach call,openat write fsync renameat unlinkat mkdir mkdirat,-Wl,--wrap=$(call))
$(BUILD)/test-storage: LDFLAGS += $(POWER_FLAGS) -Wl,--wrap=fdatasync

# ---- end to end: executable files tests/e2e/*_test.*, against the binary ------------------------------------------------
E2E_PACKAGES := $(patsubst %/package-lock.json,%/node_modules/.package-lock.json,$(wildcard tests/e2e/package-lock.json tests/e2e/*/package-lock.json))

tests/e2e/%node_modules/.package-lock.json: tests/e2e/%package-lock.json
	cd $(<D) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: e2e e2e-packages
e2e-packages: $(E2E_PACKAGES)
e2e:
	@tests/run e2e-$(NAME)

# ---- fuzzers: tests/fuzz/NAME_fuzz.c; the first line says which archives it needs ---------------------------------------
FUZZERS := $(patsubst tests/fuzz/%_fuzz.c,%,$(sort $(wildcard tests/fuzz/*_fuzz.c)))
fuzz_layers = $(shell sed -n '1s|^/\* layers: \(.*\) \*/$$|\1|p' tests/fuzz/$(1)_fuzz.c)

define FUZZ_PROGRAMS
$(BUILD)/seeds-$(1): $(BUILD)/tests/fuzz/$(1)_fuzz.o $(BUILD)/tests/fuzz/seeds_main.o $(foreach layer,$(call fuzz_layers,$(1)),$(BUILD)/lib$(layer).a)
	$(CC) $(LDFLAGS) -o $$@ $$^ $(LIBS)
$(BUILD)/fuzz-$(1): $(BUILD)/tests/fuzz/$(1)_fuzz.o $(foreach layer,$(call fuzz_layers,$(1)),$(BUILD)/lib$(layer).a)
	$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $$@ $$^ $(LIBS)
endef
$(foreach fuzzer,$(FUZZERS),$(eval $(call FUZZ_PROGRAMS,$(fuzzer))))

.PHONY: seeds-programs fuzz-seeds fuzz
seeds-programs: $(FUZZERS:%=$(BUILD)/seeds-%)
fuzz-seeds: seeds-programs
	@for fuzzer in $(FUZZERS); do $(BUILD)/seeds-$$fuzzer tests/fuzz/seeds/$$fuzzer || exit 1; done

# libFuzzer, for TIME seconds; what it finds is kept in build/fuzz.
TIME ?= 60
FUZZ_DIR := build/fuzz
fuzz: deps-fuzz
	@$(if $(filter $(NAME),$(FUZZERS)),,echo "make fuzz NAME=... TIME=60, with one of: $(FUZZERS)"; exit 1)
	$(MAKE) BUILD=$(FUZZ_DIR) CC=clang SAN=fuzzer-no-link,address,undefined $(FUZZ_DIR)/fuzz-$(NAME)
	@mkdir -p $(FUZZ_DIR)/corpus/$(NAME)
	$(FUZZ_DIR)/fuzz-$(NAME) -max_total_time=$(TIME) -artifact_prefix=$(FUZZ_DIR)/$(NAME)- \
	    $(FUZZ_DIR)/corpus/$(NAME) tests/fuzz/seeds/$(NAME)
