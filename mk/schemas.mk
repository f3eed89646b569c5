# From schemas/ to C: messages by protoc-c, their comments by awk. Generated code is compiled into the api archive without our
# warning flags (it is not our text).
PROTO := schemas/ringpost/v1/ringpost.proto
PROTO_OPERATOR := schemas/ringpost/v1/operator.proto
PB_C := $(BUILD)/generated/ringpost/v1/ringpost.pb-c.c $(BUILD)/generated/ringpost/v1/operator.pb-c.c
PB_H := $(PB_C:.c=.h)
PB_COMMENTS := $(BUILD)/generated/ringpost/v1/ringpost.comments.c

$(PB_C) $(PB_H) &: $(PROTO) $(PROTO_OPERATOR)
	@mkdir -p $(BUILD)/generated
	protoc-c -Ischemas --c_out=$(BUILD)/generated $^

$(PB_COMMENTS): $(PROTO) tools/proto_comments.awk
	@mkdir -p $(@D)
	awk -f tools/proto_comments.awk $< > $@.tmp && mv $@.tmp $@

$(BUILD)/generated/%.o: $(BUILD)/generated/%.c
	$(CC) -std=gnu17 -g $(OPT) -Isrc -I$(BUILD)/generated -pthread $(SAN_FLAGS) -c -o $@ $<

$(PB_COMMENTS:.c=.o): src/api/openapi_internal.h

$(BUILD)/libapi.a: $(PB_C:.c=.o) $(PB_COMMENTS:.c=.o)
