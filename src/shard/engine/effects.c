/* shard/engine/effects.c - the growing arrays behind effects; nothing is freed between commands. */
#include "shard/engine/effects.h"
#include "api/envelope.h"
#include "shard/engine/memory.h"

void effects_init(struct effects *effects)
{
    *effects = (struct effects){0};
    writer_init(&effects->puts, 0);
    writer_init(&effects->bytes, 0);
    writer_init(&effects->reply, 0);
    writer_init(&effects->scratch, 0);
}

void effects_deinit(struct effects *effects)
{
    writer_deinit(&effects->puts);
    writer_deinit(&effects->bytes);
    writer_deinit(&effects->reply);
    writer_deinit(&effects->scratch);
    free(effects->events);
    free(effects->pushes);
    free(effects->room_pushes);
    free(effects->kicks);
    *effects = (struct effects){0};
}

void effects_begin(struct effects *effects, bool wants_reply)
{
    writer_reset(&effects->bytes);
    writer_reset(&effects->reply);
    effects->wants_reply = wants_reply;
    effects->error = ERROR_NONE;
    effects->event_count = effects->push_count = effects->room_push_count = effects->kick_count = 0;
}

/* Room for one more at array[count]. */
#define GROW(array, count, capacity)                                                                                   \
    do {                                                                                                               \
        if ((count) == (capacity)) {                                                                                   \
            (capacity) = (capacity) == 0 ? 64 : (capacity)*2;                                                          \
            (array) = memory_resize((array), (capacity) * sizeof *(array));                                            \
        }                                                                                                              \
    } while (0)

uint32_t effects_event_begin(struct effects *effects)
{
    GROW(effects->events, effects->event_count, effects->event_capacity);
    effects->events[effects->event_count] = (struct effect_event){.start = (uint32_t)effects->bytes.len};
    return effects->event_count++;
}

void effects_event_end(struct effects *effects, uint32_t event)
{
    ASSERT(event < effects->event_count);
    effects->events[event].len = (uint32_t)effects->bytes.len - effects->events[event].start;
}

void effects_push(struct effects *effects, struct inbox *inbox, uint64_t sync_key, uint32_t event)
{
    ASSERT(event < effects->event_count);
    GROW(effects->pushes, effects->push_count, effects->push_capacity);
    effects->pushes[effects->push_count++] = (struct effect_push){inbox, sync_key, event};
}

void effects_room_push(struct effects *effects, uint64_t room_id, struct slice packed_message)
{
    GROW(effects->room_pushes, effects->room_push_count, effects->room_push_capacity);
    effects->room_pushes[effects->room_push_count++] =
        (struct effect_room_push){room_id, (uint32_t)effects->bytes.len, packed_message.len};
    writer_raw(&effects->bytes, packed_message.data, packed_message.len);
}

void effects_kick(struct effects *effects, struct inbox *inbox, struct slice device_id)
{
    GROW(effects->kicks, effects->kick_count, effects->kick_capacity);
    effects->kicks[effects->kick_count++] = (struct effect_kick){inbox, (uint32_t)effects->bytes.len, device_id.len};
    writer_raw(&effects->bytes, device_id.data, device_id.len);
}

void effects_reply(struct effects *effects, const ProtobufCMessage *message)
{
    if (!effects->wants_reply) return;
    writer_reset(&effects->reply);
    envelope_pack(&effects->reply, message);
}
