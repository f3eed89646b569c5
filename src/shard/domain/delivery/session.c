/* shard/domain/delivery/session.c - the sessions of a shard's users: opening, pushing, falling behind, ending.
 * Happy path: auth opens one -> events are pushed as they are applied -> the connection closes -> session_close.
 * A push that finds the queue above its soft limit, or no memory for its payload, marks the session behind; from then on neither its
 * user's stream nor large rooms are pushed to it until it has synced up to the head and missed nothing meanwhile. At the hard limit
 * it is closed (CLOSE_TOO_SLOW): the client comes back and syncs. */
#include "shard/domain/delivery/delivery.h"
#include "shard/engine/memory.h"
#include "shard/engine/request.h"
#include "shard/domain/setup.h"

#define NO_SLOT UINT32_MAX
#define SECOND_MAX UINT32_MAX /* of a slot: in the year 2106, which is never */

struct actor_record session_actor(const struct session *session)
{
    return (struct actor_record){.user_id = session->inbox->entity.key.a,
                                 .issued_s = session->issued_s,
                                 .expires_s = session->expires_s,
                                 .device_id = slice_of(session->device_id, session->platform_at - 1u),
                                 .platform = slice_of(session_platform(session), session->platform_len),
                                 .name = slice_text(session->inbox->display_name)};
}

static struct session_table *table_of(const struct shard *s) { return &delivery_of(shard_machine((struct shard *)(uintptr_t)s))->sessions; }

void sessions_end(struct shard *s)
{
    struct machine *machine = shard_machine(s);
    struct session_table *t = table_of(s);
    for (uint32_t i = 0; i < t->count; i++) {
        struct session *session = t->slots[i].session;
        if (session == NULL) continue;
        roster_remove_all(delivery_of(machine)->roster, session->inbox);
        struct entity *inbox = &session->inbox->entity;
        session->inbox->sessions = NULL;
        entity_unpin(machine->entities, &inbox);
        free(session);
    }
    t->count = 0;
}

void sessions_each(struct shard *s, void (*each)(struct session *session))
{
    struct session_table *t = table_of(s);
    for (uint32_t i = 0; i < t->count; i++)
        if (t->slots[i].session != NULL) each(t->slots[i].session);
}

/* ---- the table ---- */

static void table_add(struct session_table *t, struct session *session)
{
    uint32_t slot = t->first_free;
    if (slot != NO_SLOT) {
        t->first_free = t->slots[slot].due_s_or_next;
    } else {
        if (t->count == t->capacity) {
            t->capacity = t->capacity == 0 ? 64 : t->capacity * 2;
            t->slots = memory_resize(t->slots, t->capacity * sizeof *t->slots);
        }
        slot = t->count++;
        t->slots[slot].generation = 1;
    }
    t->slots[slot].session = session;
    t->slots[slot].due_s_or_next = SECOND_MAX;
    session->id = (uint64_t)t->slots[slot].generation << 32 | slot;
}

static void table_remove(struct session_table *t, const struct session *session)
{
    uint32_t slot = (uint32_t)session->id;
    ASSERT(t->slots[slot].session == session);
    t->slots[slot] = (struct session_slot){NULL, t->slots[slot].generation + 1, t->first_free};
    t->first_free = slot;
}

struct session *session_find(struct shard *s, uint64_t id)
{
    const struct session_table *t = table_of(s);
    uint32_t slot = (uint32_t)id;
    if (slot >= t->count || t->slots[slot].generation != id >> 32) return NULL;
    return t->slots[slot].session;
}

/* ---- opening and closing ---- */

/* Two tabs or a tool beside an app are two sessions of one device. At the limit the oldest of the same device makes room: it is
 * most likely a connection that died unheard. */
static enum result make_room(const struct shard *s, struct inbox *inbox, struct slice device_id)
{
    uint32_t count = 0;
    struct session *oldest = NULL;
    for (struct session *other = inbox->sessions; other != NULL; other = other->next) { /* newest first */
        if (other->ending) continue;
        count++;
        if (slice_equal(slice_text(other->device_id), device_id)) oldest = other;
    }
    if (count < domain_options(s)->sessions_per_user_max) return RESULT_OK;
    if (oldest == NULL) return RESULT_BUSY;
    session_kick(oldest, CLOSE_GOING_AWAY, "replaced");
    return RESULT_OK;
}

static size_t session_size(uint32_t device_len, uint32_t platform_len)
{
    return offsetof(struct session, device_id) + device_len + 1 + platform_len + 1;
}

enum result session_open(struct session **out, struct shard *s, struct inbox *inbox, const struct actor_record *actor)
{
    *out = NULL;
    enum result room = make_room(s, inbox, actor->device_id);
    if (room != RESULT_OK) return room;
    ASSERT(actor->platform.len <= TOKEN_PLATFORM_MAX && actor->device_id.len <= TOKEN_DEVICE_MAX);
    struct session *session = memory_alloc(session_size(actor->device_id.len, actor->platform.len));
    table_of(s)->memory_bytes += session_size(actor->device_id.len, actor->platform.len);
    memcpy(session->device_id, actor->device_id.data, actor->device_id.len);
    session->platform_at = (uint8_t)(actor->device_id.len + 1);
    session->platform_len = (uint8_t)actor->platform.len;
    if (actor->platform.len > 0) memcpy(session->device_id + session->platform_at, actor->platform.data, actor->platform.len);
    session->shard = s;
    session->inbox = inbox;
    entity_pin(&inbox->entity);
    table_add(table_of(s), session);
    session_set_times(session, actor->issued_s, actor->expires_s);
    session->next = inbox->sessions;
    inbox->sessions = session;
    metrics_add(&shard_metrics(s)->sessions_open, 1);
    DOMAIN_EACH(shard_machine(s)->options.domain, session_opened, session);
    *out = session;
    return RESULT_OK;
}

void session_close(struct session *session)
{
    struct shard *s = session->shard;
    struct inbox *inbox = session->inbox;
    struct session **link = &inbox->sessions;
    while (*link != session) link = &(*link)->next;
    *link = session->next;
    table_remove(table_of(s), session);
    metrics_sub(&shard_metrics(s)->sessions_open, 1);
    if (inbox->sessions == NULL) roster_remove_all(delivery_of(shard_machine(s))->roster, inbox);
    DOMAIN_EACH(shard_machine(s)->options.domain, session_closed, session);
    struct entity *entity = &inbox->entity;
    entity_unpin(shard_machine(s)->entities, &entity);
    table_of(s)->memory_bytes -= session_size(session->platform_at - 1u, session->platform_len);
    free(session);
}

uint64_t sessions_memory_bytes(const struct shard *s)
{
    const struct session_table *t = table_of(s);
    return t->memory_bytes + t->capacity * sizeof *t->slots;
}

void session_kick(struct session *session, uint16_t close_code, const char *reason)
{
    if (session->ending) return;
    session->ending = true;
    Ringpost__V1__SessionEnd end = RINGPOST__V1__SESSION_END__INIT;
    char text[32];
    size_t len = strlen(reason);
    ASSERT(len < sizeof text);
    memcpy(text, reason, len + 1);
    end.reason = text;
    struct writer packed;
    writer_init(&packed, 0);
    envelope_pack(&packed, &end.base);
    session_push(session, RINGPOST__V1__PUSH__KIND_SESSION_END, writer_slice(&packed), false);
    writer_deinit(&packed);
    const struct domain_ports *ports = domain_ports(session->shard);
    ports->session_end(ports->context, session, close_code, reason);
}

static void kick_damaged(struct session *session) { session_kick(session, CLOSE_DAMAGED, "damaged"); }

void sessions_kick_damaged(struct shard *s) { sessions_each(s, kick_damaged); }

void session_set_times(struct session *session, uint64_t issued_s, uint64_t expires_s)
{
    struct session_slot *slot = &table_of(session->shard)->slots[(uint32_t)session->id];
    ASSERT(slot->session == session);
    session->issued_s = issued_s;
    session->expires_s = expires_s;
    slot->due_s_or_next = expires_s < SECOND_MAX ? (uint32_t)expires_s : SECOND_MAX;
}

bool session_expired(const struct session *session, uint64_t now_s) { return session->expires_s <= now_s; }

/* The next sweep looks at it. */
static void session_make_due(struct session *session)
{
    table_of(session->shard)->slots[(uint32_t)session->id].due_s_or_next = 0;
}

/* The whole table each time, but only its slots, which stand side by side: some hundred microseconds for a hundred thousand. */
void sessions_sweep(struct shard *s)
{
    uint64_t now_s = shard_now_ms(s) / 1000;
    struct session_table *t = table_of(s);
    for (uint32_t i = 0; i < t->count; i++) {
        struct session_slot *slot = &t->slots[i];
        if (slot->due_s_or_next > now_s || slot->session == NULL) continue;
        struct session *session = slot->session;
        session_set_times(session, session->issued_s, session->expires_s);
        if (session->owed_behind) session_drained(session);
        if (session_expired(session, now_s)) session_kick(session, CLOSE_NOT_AUTHENTICATED, "expired");
    }
}

/* ---- pushing ---- */

static struct buf *buf_of(struct shard *s, struct slice bytes)
{
    struct buf *buf = buf_try_get(shard_pool(s), bytes.len);
    if (buf == NULL) return NULL;
    memcpy(buf->data, bytes.data, bytes.len);
    buf->len = bytes.len;
    return buf;
}

static void session_fall_behind(struct session *session)
{
    if (session->behind) return;
    session->behind = true;
    session->told_behind = session->owed_behind = false;
    metrics_add(&shard_metrics(session->shard)->sessions_behind, 1);
}

/* Queues one frame; keeps the books of a slow reader. */
static void session_put(struct session *session, struct slice head, struct buf *body)
{
    const struct domain_ports *ports = domain_ports(session->shard);
    bool above_soft = false;
    enum result result = ports->session_send(ports->context, session, head, body, &above_soft);
    if (result == RESULT_BUSY) ports->session_end(ports->context, session, CLOSE_TOO_SLOW, "too slow: reconnect and sync");
    if (above_soft) session_fall_behind(session);
}

static struct buf *event_buf(struct session *session, struct session_event *event)
{
    struct shard *s = session->shard;
    if (!session->json) {
        if (event->binary == NULL) event->binary = buf_of(s, event->fields);
        return event->binary;
    }
    if (event->json == NULL) {
        struct writer text;
        writer_init(&text, 0);
        envelope_event_json_shared(&text, event->fields);
        event->json = buf_of(s, writer_slice(&text));
        writer_deinit(&text);
    }
    return event->json;
}

void session_push_event(struct session *session, uint64_t sync_key, struct session_event *event)
{
    if (session->behind) return;
    if (session->encodes) {
        const struct domain_ports *ports = domain_ports(session->shard);
        ports->session_event(ports->context, session, sync_key, event);
        return;
    }
    struct buf *body = event_buf(session, event);
    if (body == NULL) { /* the payload pool is empty: this session syncs later */
        session_fall_behind(session);
        session_drained(session);
        return;
    }
    uint8_t head[ENVELOPE_EVENT_HEAD_MAX];
    uint32_t len = session->json ? envelope_event_head_json(head, sync_key) : envelope_event_head(head, sync_key, body->len);
    session_put(session, slice_of(head, len), body);
}

struct buf *session_try_get_buf(struct session *session, uint32_t size) { return buf_try_get(shard_pool(session->shard), size); }

void session_form_done(struct session_form *form)
{
    buf_unref(&form->body);
    form->number = 0;
}

void session_event_done(struct session_event *event)
{
    buf_unref(&event->binary);
    buf_unref(&event->json);
    session_form_done(&event->form);
}

static struct buf *frame_buf(struct session *session, struct session_frame *frame)
{
    struct buf **buf = session->json ? &frame->json : &frame->binary;
    if (*buf != NULL) return *buf;
    struct writer bytes;
    writer_init(&bytes, 0);
    if (session->json) envelope_push_json(&bytes, frame->push_field, frame->packed);
    else envelope_push(&bytes, frame->push_field, frame->packed);
    *buf = buf_of(session->shard, writer_slice(&bytes));
    writer_deinit(&bytes);
    return *buf;
}

/* False: the payload pool is empty. */
static bool session_try_push(struct session *session, struct session_frame *frame)
{
    struct buf *body = frame_buf(session, frame);
    if (body != NULL) session_put(session, SLICE_EMPTY, body);
    return body != NULL;
}

void session_push_frame(struct session *session, struct session_frame *frame, bool droppable)
{
    if (session->encodes || (session->behind && droppable)) return;
    if (session_try_push(session, frame) || session->behind) return;
    session_fall_behind(session); /* it must know that it knows less than it should */
    session_drained(session);
}

void session_push_room(struct session *session, struct session_frame *frame)
{
    const struct domain_ports *ports = domain_ports(session->shard);
    if (session->encodes) ports->session_room(ports->context, session, frame);
    else if (session->behind || !session_try_push(session, frame)) session_miss_room(session);
}

/* A message of a large room went by: the session has to sync to hear of it. */
void session_miss_room(struct session *session)
{
    const struct domain_ports *ports = domain_ports(session->shard);
    if (session->encodes) {
        ports->session_missed(ports->context, session);
        return;
    }
    session->missed_room = true;
    if (session->behind) return;
    session_fall_behind(session);
    session_drained(session);
}

void session_frame_done(struct session_frame *frame)
{
    buf_unref(&frame->binary);
    buf_unref(&frame->json);
    session_form_done(&frame->form);
}

void session_push(struct session *session, uint32_t push_field, struct slice packed, bool ephemeral)
{
    struct session_frame frame = {.push_field = push_field, .packed = packed};
    session_push_frame(session, &frame, ephemeral);
    session_frame_done(&frame);
}

void session_drained(struct session *session)
{
    if (!session->behind || session->told_behind) return;
    Ringpost__V1__Behind behind = RINGPOST__V1__BEHIND__INIT;
    behind.sync_key = session->inbox->head;
    struct writer packed;
    writer_init(&packed, 0);
    envelope_pack(&packed, &behind.base);
    struct session_frame frame = {.push_field = RINGPOST__V1__PUSH__KIND_BEHIND, .packed = writer_slice(&packed)};
    session->told_behind = session_try_push(session, &frame);
    session->owed_behind = !session->told_behind;
    if (session->owed_behind) session_make_due(session);
    session_frame_done(&frame);
    writer_deinit(&packed);
}

/* They were given the epoch before this one, and what comes now is not of that. */
static void must_sync(struct session *session)
{
    if (session->encodes) return;
    session_fall_behind(session);
    session_drained(session);
}

void sessions_must_sync(struct shard *s) { sessions_each(s, must_sync); }

void session_syncing(struct session *session) { session->missed_room = false; }

void session_synced(struct session *session, uint64_t sync_key)
{
    if (!session->behind) return;
    bool told = session->told_behind; /* else it does not know that it missed presence */
    session->told_behind = session->owed_behind = false;
    /* More was applied while it read: told once more, or it would wait for pushes for ever. */
    if (!told || sync_key != session->inbox->head || session->missed_room) session_drained(session);
    else session->behind = false;
}
