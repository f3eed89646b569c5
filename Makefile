# Ringpost: one command per task. `make run` and `make test` set up everything they need on a bare Debian 12.
# SAN=address,undefined or SAN=thread gives an instrumented build with its own objects; CC=clang works too.
SAN ?=
BUILD ?= build/$(or $(subst $(comma),-,$(SAN)),plain)
comma := ,
OPT ?= -O3
# The sanitizers' own code makes gcc see uninitialized variables where there are none.
SAN_FLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all $(if $(findstring clang,$(CC)),,-Wno-maybe-uninitialized))
CFLAGS += -std=gnu17 -g $(OPT) -MD -MP -Isrc -isystem $(BUILD)/generated -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Werror -Wshadow \
          -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wswitch-enum -Wvla -Wundef -Wcast-qual -Wformat=2 \
          -fno-omit-frame-pointer -pthread $(SAN_FLAGS)
LDFLAGS += -pthread $(SAN_FLAGS)

LAYERS := core storage net api mqtt web shard client cli
TEST_LAYERS := core storage net api mqtt web shard client
# A sanitizer brings its own malloc.
LIBS_core := -luring -linih -lxxhash $(if $(SAN),,-ljemalloc)
# RocksDB and wolfSSL as `make fast-deps` built them, when it did; FAST_DEPS=no takes Debian's all the same.
FAST_DEPS ?= $(if $(wildcard build/deps/versions),yes,no)
ifeq ($(FAST_DEPS),yes)
CFLAGS += -isystem build/deps/include
LIBS_storage := build/deps/lib/librocksdb.a -llz4 -lstdc++ -ldl
LIBS_net := build/deps/lib/libwolfssl.a
else
LIBS_storage := -lrocksdb
LIBS_net := -lwolfssl
endif
LIBS_api := -lprotobuf-c -ljansson -lsodium -lutf8proc
LIBS_client := -lncursesw
LIBS := $(LIBS_core) $(LIBS_storage) $(LIBS_net) $(LIBS_api) $(LIBS_client) -lm

.PHONY: all run install bench clean
all: $(BUILD)/ringpost

# V=1 shows the commands.
ifeq ($(V),)
MAKEFLAGS += --silent
endif

# schemas.mk first: what it makes is a prerequisite in the others.
include mk/schemas.mk $(filter-out mk/schemas.mk,$(wildcard mk/*.mk))

# What the objects were made with; everything is made again when that changes.
MADE_WITH := $(OPT) $(if $(filter yes,$(FAST_DEPS)),$(shell cat build/deps/versions),Debian)
ifneq ($(shell cat $(BUILD)/made-with 2>&1),$(MADE_WITH))
.PHONY: $(BUILD)/made-with
endif
$(BUILD)/made-with:
	@mkdir -p $(@D)
	@echo "$(MADE_WITH)" >$@

# ---- the binary -----------------------------------------------------------------------------------------------------
sources = $(sort $(shell find src/$(1) -name "*.c"))
objects = $(patsubst src/%.c,$(BUILD)/%.o,$(call sources,$(1)))

$(BUILD)/%.o: src/%.c $(BUILD)/made-with | $(PB_H)
	@mkdir -p $(@D); echo "cc $<"
	$(CC) $(CFLAGS) -c -o $@ $<

$(BUILD)/lib%.a:
	@rm -f $@
	ar rcs $@ $^
$(foreach layer,$(LAYERS),$(eval $(BUILD)/lib$(layer).a: $(call objects,$(layer))))

# An archive may only use archives after it: the order of this list is the order of the layers, top first.
ARCHIVES := $(foreach layer,cli client shard mqtt api web net storage core,$(BUILD)/lib$(layer).a)

$(BUILD)/ringpost: $(BUILD)/main.o $(ARCHIVES)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
	@[ "$(BUILD)" != build/plain ] || ln -sf plain/ringpost build/ringpost

# A second make, so that nothing is compiled before `deps` has brought what the compiler needs.
BUILD_ALL = $(MAKE) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j $(shell nproc)) all
run: deps
	@$(BUILD_ALL)
	$(BUILD)/ringpost serve

PREFIX ?= /usr/local
install: all
	install -D -m 755 $(BUILD)/ringpost $(DESTDIR)$(PREFIX)/bin/ringpost

bench: deps deps-perf
	@$(BUILD_ALL)
	perf/run

# All but what `make fast-deps` built.
clean:
	rm -rf $(filter-out build/deps,$(wildcard build/*)) compile_commands.json

# ---- unit tests: tests/LAYER/*_test.c become one Criterion program per layer ------------------------------------------
below_core := core
below_storage := storage core
below_net := net core
below_api := api core
below_mqtt := mqtt api core
below_web := web core
below_shard := shard mqtt api web net storage core
below_client := client api net core
test_objects = $(patsubst tests/%.c,$(BUILD)/tests/%.o,$(sort $(shell find tests/$(1) -name "*.c")))

$(BUILD)/tests/%.o: tests/%.c | $(PB_H)
	@mkdir -p $(@D); echo "cc $<"
	$(CC) $(CFLAGS) -Itests -Wno-missing-prototypes -c -o $@ $<

define TEST_PROGRAM
$(BUILD)/test-$(1): $(call test_objects,$(1)) $(foreach l,$(below_$(1)),$(BUILD)/lib$(l).a)
	$(CC) $$(LDFLAGS) -o $$@ $$^ -lcriterion $(LIBS)
.PHONY: test-$(1)
test-$(1): $(BUILD)/test-$(1)
	$(BUILD)/test-$(1)
endef
$(foreach layer,$(TEST_LAYERS),$(eval $(call TEST_PROGRAM,$(layer))))

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
