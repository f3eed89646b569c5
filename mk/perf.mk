# The load generator and the benchmark. It shares no code with the server, only the schema.
PERF_OBJECTS := $(patsubst perf/%.c,$(BUILD)/perf/%.o,$(sort $(wildcard perf/*.c)))
PERF_SCHEMA := $(BUILD)/generated/ringpost/v1/ringpost.pb-c

$(BUILD)/perf/%.o: perf/%.c | $(PERF_SCHEMA).h
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -I. -c -o $@ $<

$(BUILD)/load: $(PERF_OBJECTS) $(PERF_SCHEMA).o
	$(CC) $(LDFLAGS) -o $@ $^ -lprotobuf-c -lsodium -lssl -lcrypto

# The floors: what the kernel allows, without and with a synced log. They share no code with the server or the generator.
FLOOR_OBJECTS := $(patsubst perf/%.c,$(BUILD)/perf/%.o,$(sort $(wildcard perf/floor/*.c)))
$(BUILD)/floor: $(FLOOR_OBJECTS)
	$(CC) $(LDFLAGS) -o $@ $^ -luring -lxxhash

# The crowd: a million silent people on one machine (perf/crowd/README.md). It mints tokens and reads /proc as the generator does.
GENERATOR_OBJECTS := $(filter-out $(BUILD)/perf/load.o,$(PERF_OBJECTS)) $(PERF_SCHEMA).o
$(BUILD)/crowd: $(BUILD)/perf/crowd/crowd.o $(GENERATOR_OBJECTS)
	$(CC) $(LDFLAGS) -o $@ $^ -lprotobuf-c -lsodium -lssl -lcrypto -luring

.PHONY: load floor crowd soak sustained bench-smoke bench-peers test-perf
load: $(BUILD)/load
floor: $(BUILD)/floor
crowd: $(BUILD)/crowd
# Memory over half an hour, with crowds of slow readers; ARGS="--minutes 3" and the like.
soak: deps-perf
	@tools/install_packages.sh $(DEPS_CHARTS)
	@$(BUILD_ALL) load
	perf/soak/run $(ARGS)
# A hundred million messages on one directory: what a message costs when many are stored; ARGS="--messages 20000000 --variant cold" and the like.
sustained: deps-perf
	@tools/install_packages.sh $(DEPS_CHARTS)
	@$(BUILD_ALL) load
	perf/sustained/run $(ARGS)
# Every workload for a second (`make bench`: all of them in full): that it runs and that nothing is lost, no matter how fast.
bench-smoke: all load floor
	perf/run --smoke
	perf/peers/run --smoke
	perf/sustained/run --variant cold --messages 5000 --cold 50 --interval 0.2 --name smoke

# Ringpost, its yardsticks and the servers of others, the same workloads for all; ARGS="--quick" and the like. With the libraries of
# `make fast-deps` there is a second binary with Debian's, so that both are in the table.
bench-peers: deps-perf
	@tools/install_servers.sh $(DEPS_PEERS) $(DEPS_CHARTS)
	@$(BUILD_ALL) load floor
	@[ ! -e build/deps/versions ] || $(BUILD_ALL) BUILD=build/stock FAST_DEPS=no
	perf/peers/run $(ARGS)

# The generator's own arithmetic: a latency or a duplicate counted wrong would be believed.
TEST_PERF_OBJECTS := $(patsubst tests/%.c,$(BUILD)/tests/%.o,$(sort $(wildcard tests/perf/*.c)))
$(TEST_PERF_OBJECTS): CFLAGS += -I.
$(BUILD)/test-perf: $(TEST_PERF_OBJECTS) $(GENERATOR_OBJECTS)
	$(CC) $(LDFLAGS) -o $@ $^ -lcriterion -lprotobuf-c -lsodium -lssl -lcrypto
test-perf: $(BUILD)/test-perf
	$(BUILD)/test-perf
	tests/perf/peers_test.py
	tests/perf/budget_test.py
	tests/perf/sustained_test.py
