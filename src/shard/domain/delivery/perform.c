/* shard/domain/delivery/perform.c - carrying out what an applied command let out: events and kicks for the sessions of this shard.
 * Each event is encoded at most once per encoding and shared by all who get it; users without a session cost one comparison. */
#include "shard/engine/memory.h"
#include "shard/engine/shard_internal.h"

static struct slice effect_bytes(const struct effects *effects, uint32_t start, uint32_t len)
{
    return slice_of(effects->bytes.data + start, len);
}

static void perform_pushes(struct shard *s, struct effects *effects)
{
    struct session_event event = {0};
    uint32_t current = UINT32_MAX;
    for (uint32_t i = 0; i < effects->push_count; i++) {
        const struct effect_push *push = &effects->pushes[i];
        if (push->inbox->sessions == NULL) continue;
        if (push->event_index != current) {
            session_event_done(&event);
            current = push->event_index;
            event.fields = effect_bytes(effects, effects->events[current].start, effects->events[current].len);
        }
        for (struct session *session = push->inbox->sessions, *next; session != NULL; session = next) {
            next = session->next;
            session_push_event(session, push->sync_key, &event);
        }
        metrics_add(&s->options.metrics->pushes, 1);
    }
    session_event_done(&event);
}

static void perform_room_pushes(struct shard *s, struct effects *effects)
{
    s->room_pushes += effects->room_push_count;
    for (uint32_t i = 0; i < effects->room_push_count; i++) {
        const struct effect_room_push *push = &effects->room_pushes[i];
        uint32_t count = 0;
        struct inbox *const *online = roster_online(s->machine->roster, push->room_id, &count);
        if (count == 0) continue;
        struct session_frame frame = {.push_field = RINGPOST__V1__PUSH__KIND_ROOM_MESSAGE,
                                      .packed = effect_bytes(effects, push->start, push->len)};
        for (uint32_t n = 0; n < count; n++)
            for (struct session *session = online[n]->sessions, *next; session != NULL; session = next) {
                next = session->next;
                session_push_room(session, &frame);
            }
        session_frame_done(&frame);
        metrics_add(&s->options.metrics->pushes, count);
    }
}

static void perform_kicks(const struct effects *effects)
{
    for (uint32_t i = 0; i < effects->kick_count; i++) {
        const struct effect_kick *kick = &effects->kicks[i];
        struct slice device_id = effect_bytes(effects, kick->start, kick->len);
        for (struct session *session = kick->inbox->sessions, *next; session != NULL; session = next) {
            next = session->next;
            if (slice_equal(slice_text(session->device_id), device_id)) session_kick(session, CLOSE_REVOKED, "revoked");
        }
    }
}

void perform_effects(struct shard *s, struct effects *effects)
{
    if (effects->push_count > 0) perform_pushes(s, effects);
    if (effects->room_push_count > 0) perform_room_pushes(s, effects);
    if (effects->kick_count > 0) perform_kicks(effects);
}
