/* tests/api/message_random.c - see message_random.h. */
#include "api/message_random.h"
#include "core/check.h"
#include "ringpost/v1/ringpost.pb-c.h"

uint64_t random_next(struct random *random)
{
    uint64_t x = random->state += 0x9e3779b97f4a7c15; /* splitmix64 */
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

uint32_t random_below(struct random *random, uint32_t count)
{
    return (uint32_t)(random_next(random) % count);
}

static uint64_t random_number(struct random *random, uint64_t max)
{
    static const uint64_t edges[] = {0, 1, 127, 128, UINT32_MAX, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX};
    uint64_t number = random_below(random, 2) == 0 ? edges[random_below(random, COUNT_OF(edges))]
                                                   : random_next(random) >> random_below(random, 64);
    return number > max ? max : number;
}

static char *random_text(struct envelope_arena *arena, struct random *random)
{
    static const char *const pieces[] = {"a",  "room",      " ",      "\"",         "\\",    "/",      "\n",
                                         "\t", "\x01",      "\x1f",   "\x7f",       "é",     "\u2028", "漢",
                                         "😀",  "</script>", "\u0800", "\U0010ffff", "\uffff"};
    uint32_t count = random_below(random, 12);
    char *text = envelope_arena_alloc(arena, count * 12 + 1);
    ASSERT(text != NULL);
    for (uint32_t i = 0; i < count; i++) strcat(text, pieces[random_below(random, COUNT_OF(pieces))]);
    return text;
}

static ProtobufCBinaryData random_bytes(struct envelope_arena *arena, struct random *random)
{
    ProtobufCBinaryData bytes = {.len = random_below(random, 20)};
    bytes.data = envelope_arena_alloc(arena, bytes.len + 1);
    ASSERT(bytes.data != NULL);
    for (size_t i = 0; i < bytes.len; i++) bytes.data[i] = (uint8_t)random_next(random);
    return bytes;
}

static void fill_value(struct envelope_arena *arena, struct random *random, const ProtobufCFieldDescriptor *field,
                       void *at)
{
    switch ((int)field->type) {
    case PROTOBUF_C_TYPE_UINT32: *(uint32_t *)at = (uint32_t)random_number(random, UINT32_MAX); break;
    case PROTOBUF_C_TYPE_UINT64: *(uint64_t *)at = random_number(random, UINT64_MAX); break;
    case PROTOBUF_C_TYPE_BOOL: *(protobuf_c_boolean *)at = (protobuf_c_boolean)random_below(random, 2); break;
    case PROTOBUF_C_TYPE_STRING: *(char **)at = random_text(arena, random); break;
    case PROTOBUF_C_TYPE_BYTES: *(ProtobufCBinaryData *)at = random_bytes(arena, random); break;
    case PROTOBUF_C_TYPE_MESSAGE: *(ProtobufCMessage **)at = message_random(arena, field->descriptor, random); break;
    case PROTOBUF_C_TYPE_ENUM: {
        const ProtobufCEnumDescriptor *names = field->descriptor;
        static const int32_t unnamed[] = {99, -1, INT32_MAX, INT32_MIN};
        *(int32_t *)at = random_below(random, 4) == 0 ? unnamed[random_below(random, COUNT_OF(unnamed))]
                                                      : names->values[random_below(random, names->n_values)].value;
        break;
    }
    default: ASSERT(false); /* api_init() knows the types */
    }
}

static size_t item_size(const ProtobufCFieldDescriptor *field)
{
    switch ((int)field->type) {
    case PROTOBUF_C_TYPE_UINT64: return sizeof(uint64_t);
    case PROTOBUF_C_TYPE_BYTES: return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE: return sizeof(void *);
    default: return sizeof(int32_t);
    }
}

static void fill_field(struct envelope_arena *arena, struct random *random, const ProtobufCFieldDescriptor *field,
                       uint8_t *base)
{
    void *at = base + field->offset, *quantifier = base + field->quantifier_offset;
    bool is_oneof = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t count = random_below(random, 4);
        uint8_t *items = envelope_arena_alloc(arena, count * item_size(field) + 1);
        ASSERT(items != NULL);
        for (size_t i = 0; i < count; i++) fill_value(arena, random, field, items + i * item_size(field));
        *(size_t *)quantifier = count;
        *(uint8_t **)at = items;
    } else if (is_oneof || field->type == PROTOBUF_C_TYPE_MESSAGE) {
        if (random_below(random, 2) == 0) return;
        if (is_oneof) *(uint32_t *)quantifier = field->id; /* a later one of the same oneof takes its place */
        fill_value(arena, random, field, at);
    } else {
        fill_value(arena, random, field, at);
    }
}

ProtobufCMessage *message_random(struct envelope_arena *arena, const ProtobufCMessageDescriptor *descriptor,
                                 struct random *random)
{
    uint8_t *base = envelope_arena_alloc(arena, descriptor->sizeof_message);
    ASSERT(base != NULL);
    protobuf_c_message_init(descriptor, base);
    for (uint32_t i = 0; i < descriptor->n_fields; i++) fill_field(arena, random, &descriptor->fields[i], base);
    return (ProtobufCMessage *)(void *)base;
}

static uint32_t collect(const ProtobufCMessageDescriptor *types[MESSAGE_TYPES_MAX], uint32_t count,
                        const ProtobufCMessageDescriptor *descriptor)
{
    for (uint32_t i = 0; i < count; i++)
        if (types[i] == descriptor) return count;
    ASSERT(count < MESSAGE_TYPES_MAX);
    types[count++] = descriptor;
    for (uint32_t i = 0; i < descriptor->n_fields; i++)
        if (descriptor->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
            count = collect(types, count, descriptor->fields[i].descriptor);
    return count;
}

uint32_t message_types(const ProtobufCMessageDescriptor *types[MESSAGE_TYPES_MAX])
{
    return collect(types, 0, &ringpost__v1__envelope__descriptor);
}
