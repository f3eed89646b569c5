/* shard/domain/delivery/perform.c - carrying out what an applied command let out: events and kicks for the sessions of this shard.
 * Each event is encoded at most once per encoding and shared by all who get it; users without a session cost one comparison. */
#include "shard/domain/delivery/delivery.h"
#include "shard/domain/delivery/pushes.h"
#include "shard/engine/request.h"

void push_room(struct effects *effects, uint64_t room_id, struct slice packed_message)
{
    effects_add(effects, &(struct effect){NULL, room_id, effects_mark(effects), packed_message.len, PUSH_ROOM});
    writer_raw(&effects->bytes, packed_message.data, packed_message.len);
}

void push_missed(struct effects *effects, struct inbox *inbox)
{
    effects_add(effects, &(struct effect){&inbox->entity, 0, effects_mark(effects), 0, PUSH_MISSED});
}

void push_kick(struct effects *effects, struct inbox *inbox, struct slice device_id)
{
    effects_add(effects, &(struct effect){&inbox->entity, 0, effects_mark(effects), device_id.len, PUSH_KICK});
    writer_raw(&effects->bytes, device_id.data, device_id.len);
}

static struct slice bytes_of(const struct effects *effects, const struct effect *effect)
{
    return slice_of(effects->bytes.data + effect->start, effect->len);
}

static void perform_events(struct shard *s, const struct effects *effects)
{
    struct session_event event = {0};
    uint32_t current = UINT32_MAX;
    for (uint32_t i = 0; i < effects->count; i++) {
        const struct effect *effect = &effects->list[i];
        if (effect->kind != PUSH_EVENT) continue;
        const struct inbox *inbox = inbox_of(effect->entity);
        if (inbox->sessions == NULL) continue;
        if (effect->start != current) {
            session_event_done(&event);
            current = effect->start;
            event.fields = bytes_of(effects, effect);
        }
        for (struct session *session = inbox->sessions, *next; session != NULL; session = next) {
            next = session->next;
            session_push_event(session, effect->number, &event);
        }
        metrics_add(&shard_metrics(s)->pushes, 1);
    }
    session_event_done(&event);
}

void room_push(struct shard *s, uint64_t room_id, struct slice packed_message)
{
    struct delivery *delivery = delivery_of(shard_machine(s));
    uint32_t count = 0;
    delivery->room_pushes++;
    struct inbox *const *online = roster_online(delivery->roster, room_id, &count);
    if (count == 0) return;
    struct session_frame frame = {.push_field = RINGPOST__V1__PUSH__KIND_ROOM_MESSAGE, .packed = packed_message};
    for (uint32_t n = 0; n < count; n++)
        for (struct session *session = online[n]->sessions, *next; session != NULL; session = next) {
            next = session->next;
            session_push_room(session, &frame);
        }
    session_frame_done(&frame);
    metrics_add(&shard_metrics(s)->pushes, count);
}

static void perform_room(struct shard *s, const struct effects *effects, const struct effect *effect)
{
    room_push(s, effect->number, bytes_of(effects, effect));
}

static void perform_missed(struct shard *s, const struct effects *effects, const struct effect *effect)
{
    (void)s, (void)effects;
    for (struct session *session = inbox_of(effect->entity)->sessions, *next; session != NULL; session = next) {
        next = session->next;
        session_miss_room(session);
    }
}

static void perform_kick(struct shard *s, const struct effects *effects, const struct effect *effect)
{
    (void)s;
    struct slice device_id = bytes_of(effects, effect);
    for (struct session *session = inbox_of(effect->entity)->sessions, *next; session != NULL; session = next) {
        next = session->next;
        if (slice_equal(slice_text(session->device_id), device_id)) session_kick(session, CLOSE_REVOKED, "revoked");
    }
}

static void perform_each(struct shard *s, const struct effects *effects, enum push_effect kind,
                         void (*perform)(struct shard *, const struct effects *, const struct effect *))
{
    if ((effects->kinds >> kind & 1) == 0) return;
    for (uint32_t i = 0; i < effects->count; i++)
        if (effects->list[i].kind == kind) perform(s, effects, &effects->list[i]);
}

void delivery_perform(struct shard *s, const struct effects *effects)
{
    if ((effects->kinds >> PUSH_EVENT & 1) != 0) perform_events(s, effects);
    perform_each(s, effects, PUSH_ROOM, perform_room);
    perform_each(s, effects, PUSH_MISSED, perform_missed);
    perform_each(s, effects, PUSH_KICK, perform_kick);
}
