# From schemas/ to C: messages by protoc-c; methods, field numbers and comments by tools/contract.py. Generated code is compiled into the
# api archive without our warning flags (it is not our text).
PROTO := schemas/ringpost/v1/ringpost.proto
PROTO_OPERATOR := schemas/ringpost/v1/operator.proto
GENERATED := $(BUILD)/generated/ringpost/v1
PB_C := $(GENERATED)/ringpost.pb-c.c $(GENERATED)/operator.pb-c.c
PB_COMMENTS := $(GENERATED)/ringpost.comments.c
CONTRACT_H := $(GENERATED)/ringpost.methods.h $(GENERATED)/ringpost.fields.h $(GENERATED)/operator.fields.h
# What has to be there before anything is compiled.
PB_H := $(PB_C:.c=.h) $(CONTRACT_H)

$(PB_C) $(PB_C:.c=.h) &: $(PROTO) $(PROTO_OPERATOR)
	@mkdir -p $(BUILD)/generated
	protoc-c -Ischemas --c_out=$(BUILD)/generated $^

# It leaves alone what would not change; the mark is what make compares.
$(GENERATED)/contract.mark: $(PROTO) $(PROTO_OPERATOR) tools/contract.py
	tools/contract.py generate $(BUILD)/generated $(PROTO) $(PROTO_OPERATOR)
	@touch $@
$(PB_COMMENTS) $(CONTRACT_H): $(GENERATED)/contract.mark ;

$(BUILD)/generated/%.o: $(BUILD)/generated/%.c
	$(CC) -std=gnu17 -g $(OPT) -Isrc -I$(BUILD)/generated -pthread $(SAN_FLAGS) -c -o $@ $<

$(PB_COMMENTS:.c=.o): src/api/openapi_internal.h

$(BUILD)/libapi.a: $(PB_C:.c=.o) $(PB_COMMENTS:.c=.o)

# Before the linker finds one missing.
$(GENERATED)/handlers.mark: $(PROTO) tools/contract.py $(shell find src/shard/domain -name "*.c")
	tools/contract.py handlers src/shard/domain $(PROTO)
	@mkdir -p $(@D); touch $@
$(BUILD)/libshard.a $(BUILD)/libsimulated.a: | $(GENERATED)/handlers.mark
