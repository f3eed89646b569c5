# The simulator (tests/sim): several shards with the real code over simulated disks, stores, clocks and people, from one seed.
#   make sim [SEEDS=1..200]     a longer run;  make sim SEED=7  one seed, with its trace
#   make sim-short              what `make test` runs, with every seed's hash compared with that of a second run of the first ones
#   make sim-bugs               planted bugs: each must be noticed
SIM_OBJECTS := $(patsubst tests/%.c,$(BUILD)/tests/%.o,$(sort $(wildcard tests/sim/*.c)))
SIM_FAKES := $(foreach fake,fake_disk fake_store power,$(BUILD)/tests/storage/$(fake).o)
SEEDS ?= 1..200

# The server's code once more, able to write records as an older version did (core/record.h): what is served has no such switch.
SIM_OLDER := -DRECORD_SIMULATES_OLDER
$(SIM_OBJECTS): CFLAGS += $(SIM_OLDER)
$(BUILD)/simulated/%.o: src/%.c $(BUILD)/made-with | $(PB_H)
	@mkdir -p $(@D); echo "cc $< for the simulator"
	$(CC) $(CFLAGS) $(SIM_OLDER) -c -o $@ $<
$(BUILD)/libsimulated.a: $(patsubst src/%.c,$(BUILD)/simulated/%.o,$(sort $(shell find src/shard -name "*.c")))

$(BUILD)/sim: LDFLAGS += $(POWER_FLAGS) -Wl,--wrap=clock_random
$(BUILD)/sim: $(SIM_OBJECTS) $(SIM_FAKES) $(BUILD)/libsimulated.a $(foreach layer,web mqtt net api storage core,$(BUILD)/lib$(layer).a)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS_core) $(LIBS_net) $(LIBS_api) -lm

.PHONY: sim sim-program sim-short sim-bugs
sim-program: $(BUILD)/sim
sim: $(BUILD)/sim
	$(BUILD)/sim $(if $(SEED),--seed $(SEED) --trace,--seeds $(SEEDS))
sim-short: $(BUILD)/sim
	$(BUILD)/sim --seeds 1..40
	$(BUILD)/sim --seeds 41..46 --check-determinism
sim-bugs: $(BUILD)/sim
	$(BUILD)/sim --bugs --seeds 1..100
