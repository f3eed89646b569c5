# The crowd: a million silent people on one machine (docs: perf/crowd/README.md). It mints tokens and reads /proc as the generator does.
CROWD_OBJECTS := $(BUILD)/perf/crowd/crowd.o $(filter-out $(BUILD)/perf/load.o,$(patsubst perf/%.c,$(BUILD)/perf/%.o,$(sort $(wildcard perf/*.c))))

$(BUILD)/crowd: $(CROWD_OBJECTS) $(BUILD)/generated/ringpost/v1/ringpost.pb-c.o
	$(CC) $(LDFLAGS) -o $@ $^ -lprotobuf-c -lsodium -lssl -lcrypto -luring

.PHONY: crowd
crowd: $(BUILD)/crowd
