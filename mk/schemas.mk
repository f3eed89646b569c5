# C from schemas/: generated code is compiled into the api archive without our warning flags (it is not our text).
PROTO := schemas/ringpost/v1/ringpost.proto
PB_C := $(BUILD)/generated/ringpost/v1/ringpost.pb-c.c
PB_H := $(PB_C:.c=.h)

$(PB_C) $(PB_H) &: $(PROTO)
	@mkdir -p $(BUILD)/generated
	protoc-c -Ischemas --c_out=$(BUILD)/generated $<

$(BUILD)/generated/%.pb-c.o: $(BUILD)/generated/%.pb-c.c
	$(CC) -std=gnu17 -g $(OPT) -I$(BUILD)/generated $(SAN_FLAGS) -c -o $@ $<
