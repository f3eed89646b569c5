/* shard/domain/mqtt/state.c - keeping the sessions of a user, and answering the door's questions about them.
 * Happy path: MQTT_OPEN_SESSION finds the client's session or makes one that begins at the head of the stream -> MQTT_SESSION
 * durable -> reply. Later saves move the cursor. A session that shall not outlive its connection is never written.
 * Limit: devices_per_user_max sessions per user; a further one takes the place of the one saved longest ago. */
#include "shard/domain/keys.h"
#include "shard/domain/bounds.h"
#include "shard/domain/mqtt/state.h"
#include "shard/domain/mqtt/wills.h"
#include "shard/domain/delivery/inbox.h"
#include "shard/engine/memory.h"
#include "shard/engine/request.h"
#include "shard/domain/room/view.h"

enum opening { OPENS_NOT, OPENS, OPENS_CLEAN };

static bool record_of(const struct mqtt_stored *stored, struct mqtt_session_record *out)
{
    struct cursor c = cursor_of(slice_of(stored->bytes, stored->len));
    return mqtt_session_record_read(out, &c) && cursor_done(&c);
}

bool mqtt_session_over(const struct mqtt_session_record *session, uint64_t now_ms)
{
    if (session->connected != 0 || session->expiry_s == MQTT_EXPIRY_NEVER) return false;
    return session->saved_ms + session->expiry_s * 1000ull <= now_ms;
}

static struct mqtt_stored *stored_find(const struct mqtt_state *state, struct slice client_id)
{
    struct mqtt_session_record record;
    for (uint32_t i = 0; i < state->count; i++)
        if (record_of(&state->sessions[i], &record) && slice_equal(record.client_id, client_id)) return &state->sessions[i];
    return NULL;
}

bool mqtt_state_find(const struct mqtt_state *state, struct slice client_id, struct mqtt_session_record *out)
{
    const struct mqtt_stored *stored = stored_find(state, client_id);
    return stored != NULL && record_of(stored, out);
}

/* ---- the entity ------------------------------------------------------------------------------------------------------- */

static void stored_fill(struct mqtt_stored *stored, struct slice bytes)
{
    free(stored->bytes);
    stored->bytes = memory_alloc(bytes.len);
    memcpy(stored->bytes, bytes.data, bytes.len);
    stored->len = bytes.len;
}

static struct mqtt_stored *stored_add(struct mqtt_state *state)
{
    state->sessions = memory_resize(state->sessions, (state->count + 1) * sizeof *state->sessions);
    struct mqtt_stored *stored = &state->sessions[state->count++];
    *stored = (struct mqtt_stored){0};
    state->entity.exists = true;
    return stored;
}

struct load {
    struct mqtt_state *state;
    bool corrupt;
};

static bool load_one(void *context, struct slice key, struct slice value)
{
    struct load *load = context;
    struct mqtt_session_record record;
    struct cursor c = cursor_of(value);
    load->corrupt = !mqtt_session_record_read(&record, &c) || !cursor_done(&c);
    if (load->corrupt) return false;
    struct mqtt_stored *stored = stored_add(load->state);
    stored_fill(stored, value);
    stored->row_hash = state_hash_row(key, value);
    return true;
}

static enum result mqtt_state_load(struct entity *fresh, struct store_view *view)
{
    struct load load = {.state = mqtt_state_of(fresh)};
    struct key from = key_one(KEY_MQTT, fresh->key.a), until = key_after(KEY_MQTT, fresh->key.a);
    enum result result = store_scan(view, key_slice(&from), key_slice(&until), load_one, &load);
    return result == RESULT_OK && load.corrupt ? RESULT_CORRUPT : result;
}

static void mqtt_state_drop(struct machine *machine, struct entity *entity)
{
    (void)machine;
    struct mqtt_state *state = mqtt_state_of(entity);
    for (uint32_t i = 0; i < state->count; i++) free(state->sessions[i].bytes);
    free(state->sessions);
}

const struct entity_type mqtt_state_type = {.kind = ENTITY_MQTT,
                                            .name = "mqtt",
                                            .size_bytes = sizeof(struct mqtt_state),
                                            .load = mqtt_state_load,
                                            .drop = mqtt_state_drop};

/* ---- the command ------------------------------------------------------------------------------------------------------ */

static void needs_mqtt_session(struct needs *needs, const struct command *command)
{
    (void)needs_entity(needs, ENTITY_MQTT, command->actor_id, 0);
}

static void state_delete(struct mqtt_state *state, struct mqtt_stored *stored, struct effects *effects)
{
    struct mqtt_session_record record;
    bool read = record_of(stored, &record);
    ASSERT(read);
    struct key key = key_one(KEY_MQTT, state->entity.key.a);
    key_add_text(&key, record.client_id);
    effects_delete_row(effects, &key, &stored->row_hash);
    free(stored->bytes);
    *stored = state->sessions[--state->count];
    state->entity.exists = state->count > 0;
}

/* Of those saved in one millisecond by their ids, and never by their places in the list, which loading changes. */
static bool goes_before(uint64_t saved_ms, struct slice id, uint64_t other_ms, struct slice other)
{
    if (saved_ms != other_ms) return saved_ms < other_ms;
    int order = memcmp(id.data, other.data, id.len < other.len ? id.len : other.len);
    return order != 0 ? order < 0 : id.len < other.len;
}

/* Room for one more, at the limit: one whose time is over goes, or else the one saved longest ago. Below it nothing goes: a clock that
 * is ahead must not end what a right one would keep. */
static void state_make_room(struct mqtt_state *state, uint32_t sessions_max, uint64_t now_ms, struct effects *effects)
{
    struct mqtt_session_record record;
    struct mqtt_stored *oldest = NULL;
    uint64_t oldest_ms = 0;
    struct slice oldest_id = SLICE_EMPTY;
    if (state->count < sessions_max) return;
    for (uint32_t i = 0; i < state->count; i++) {
        bool read = record_of(&state->sessions[i], &record);
        ASSERT(read);
        uint64_t saved_ms = mqtt_session_over(&record, now_ms) ? 0 : record.saved_ms;
        if (oldest != NULL && !goes_before(saved_ms, record.client_id, oldest_ms, oldest_id)) continue;
        oldest = &state->sessions[i];
        oldest_ms = saved_ms;
        oldest_id = record.client_id;
    }
    if (oldest != NULL) state_delete(state, oldest, effects);
}

static void state_put(struct mqtt_state *state, struct mqtt_session_record *record, uint32_t sessions_max,
                      const struct command *command, struct effects *effects)
{
    struct mqtt_stored *stored = stored_find(state, record->client_id);
    if (stored == NULL) {
        state_make_room(state, sessions_max, command->time_ms, effects);
        stored = stored_add(state);
    }
    record->opens = OPENS_NOT;
    record->saved_ms = command->time_ms;
    struct key key = key_one(KEY_MQTT, state->entity.key.a);
    key_add_text(&key, record->client_id);
    writer_reset(&effects->scratch);
    mqtt_session_record_write(&effects->scratch, record);
    effects_put_row(effects, &key, writer_slice(&effects->scratch), &stored->row_hash);
    stored_fill(stored, writer_slice(&effects->scratch));
}

static void apply_mqtt_session(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct mqtt_session_record record = COMMAND_RECORD(mqtt_session, command), old;
    struct mqtt_state *state = mqtt_state_of(machine_entity(machine, ENTITY_MQTT, command->actor_id, 0));
    struct mqtt_stored *stored = stored_find(state, record.client_id);
    bool stale = record.opens == OPENS_NOT && (stored == NULL || !record_of(stored, &old) || old.epoch != record.epoch);
    if (stale) return; /* a later connection has opened or ended the session */
    if (record.expiry_s != 0) state_put(state, &record, machine_limit(machine, LIMIT_DEVICES_PER_USER_MAX), command, effects);
    else if (stored != NULL) state_delete(state, stored, effects);
}

static uint32_t size_max_mqtt_session(const struct domain *domain, uint32_t body_size_max)
{
    (void)domain;
    (void)body_size_max;
    return MQTT_SESSION_SIZE_MAX;
}

COMMAND_ROW(mqtt_session, MQTT_SESSION, .needs = needs_mqtt_session);

/* ---- the questions ---------------------------------------------------------------------------------------------------- */

/* False: its letter is none that a door would write, and was refused. */
static bool session_unpack(struct shard *shard, struct request *request, struct mqtt_session_record *out)
{
    struct cursor c = cursor_of(letter_payload(request->letter));
    bool read = mqtt_session_record_read(out, &c) && cursor_done(&c) && out->client_id.len > 0 && out->client_id.len <= MQTT_CLIENT_ID_MAX &&
                letter_payload(request->letter).len <= MQTT_SESSION_SIZE_MAX;
    if (!read) request_refuse_letter(shard, request);
    return read;
}

static void propose(struct shard *shard, struct request *request, const struct mqtt_session_record *record,
                    void (*then)(struct shard *, struct request *, enum error))
{
    REQUEST_PROPOSE_THEN(shard, request, mqtt_session, MQTT_SESSION, record, then);
}

struct opened { /* request->state: the answer, while the session becomes durable */
    struct writer reply;
};

static void opened_free(void *state)
{
    struct opened *opened = state;
    writer_deinit(&opened->reply);
    free(opened);
}

static void opened_reply(struct shard *shard, struct request *request, enum error error)
{
    struct opened *opened = request->state;
    if (error != ERROR_NONE) request_refuse(shard, request, error);
    else request_reply_packed(shard, request, writer_slice(&opened->reply));
}

/* What the connection begins with: the session kept for this client id, or a new one. True: one was kept. */
static bool session_begin(struct mqtt_session_record *begin, const struct mqtt_session_record *asked,
                          const struct mqtt_session_record *old, uint64_t head)
{
    bool present = old != NULL && asked->opens == OPENS;
    *begin = present ? *old : (struct mqtt_session_record){.sync_key = head, .sent_key = head};
    begin->client_id = asked->client_id;
    begin->epoch = asked->epoch;
    begin->expiry_s = asked->expiry_s;
    begin->opens = asked->opens;
    begin->connected = 1;
    return present;
}

/* Does the stream still have what comes after the session's cursor? A cursor ahead of the head is of a stream that was put back. */
static bool stream_goes_on(const struct mqtt_session_record *session, uint64_t head, uint64_t kept)
{
    return session->sync_key <= head && head - session->sync_key <= kept;
}

/* `state` and `inbox` are pinned. */
static void open_now(struct shard *shard, struct request *request)
{
    struct mqtt_session_record asked, old, begin;
    if (!session_unpack(shard, request, &asked)) return;
    struct entity *state = request_entity(shard, request, ENTITY_MQTT, request->actor.user_id, 0);
    struct entity *inbox = request_entity(shard, request, ENTITY_INBOX, request->actor.user_id, 0);
    uint64_t now_ms = shard_ports(shard)->now_ms(shard_ports(shard)->context);
    uint64_t head = inbox_of(inbox)->head, events_max = machine_limit(shard_machine(shard), LIMIT_INBOX_EVENTS_MAX);
    bool kept = mqtt_state_find(mqtt_state_of(state), asked.client_id, &old);
    bool alive = kept && !mqtt_session_over(&old, now_ms) && stream_goes_on(&old, head, events_max);
    bool present = session_begin(&begin, &asked, alive ? &old : NULL, head);
    struct opened *opened = memory_alloc(sizeof *opened);
    writer_init(&opened->reply, 0);
    request->state = opened;
    request->free_state = opened_free;
    writer_u8(&opened->reply, present);
    uint64_t epoch = begin.epoch;
    if (present) begin.epoch = old.epoch; /* the answer names the connection before, for what it received last */
    mqtt_session_record_write(&opened->reply, &begin);
    begin.epoch = epoch;
    if (asked.expiry_s == 0 && !kept) opened_reply(shard, request, ERROR_NONE);
    else propose(shard, request, &begin, opened_reply);
}

static void open_behind(struct shard *shard, struct request *request, enum error error)
{
    if (error != ERROR_NONE) request_refuse(shard, request, error);
    else open_now(shard, request);
}

/* A save of the connection before may be in the log and not be applied yet: it pins the state. What the session is, is known behind it; so a
 * command that changes nothing, the save of a connection that never was, goes through the log first. */
static void open_run(struct shard *shard, struct request *request)
{
    struct mqtt_session_record asked;
    if (!session_unpack(shard, request, &asked)) return;
    const struct entity *state = request_entity(shard, request, ENTITY_MQTT, request->actor.user_id, 0);
    (void)request_entity(shard, request, ENTITY_INBOX, request->actor.user_id, 0);
    if (request_waits(request)) return;
    struct mqtt_session_record nothing = {.client_id = asked.client_id, .epoch = asked.epoch, .opens = OPENS_NOT};
    if (state->pins > 1) propose(shard, request, &nothing, open_behind);
    else open_now(shard, request);
}

static void save_run(struct shard *shard, struct request *request)
{
    struct mqtt_session_record record;
    if (session_unpack(shard, request, &record)) propose(shard, request, &record, NULL);
}

static void room_run(struct shard *shard, struct request *request)
{
    struct cursor c = cursor_of(letter_payload(request->letter));
    uint64_t room_id = cursor_u64(&c);
    struct entity *view = request_entity(shard, request, ENTITY_VIEW, room_id, 0);
    if (view == NULL) return;
    if (!view->exists && !request_catch_up(shard, request, id_partition(room_id))) return;
    struct writer reply;
    writer_init(&reply, 0);
    writer_u64(&reply, room_id);
    writer_u8(&reply, view_of(view)->type);
    writer_u8(&reply, view_of(view)->large);
    request_reply_packed(shard, request, writer_slice(&reply));
    writer_deinit(&reply);
}

static void no_question_run(struct shard *shard, struct request *request) { request_refuse_letter(shard, request); }

/* What is asked about oneself is asked at home. */
static request_run_f run_of(const struct shard *shard, const struct letter *letter)
{
    struct actor_record actor;
    bool own = letter_actor(letter, &actor) && id_partition(actor.user_id) == shard_number(shard);
    switch ((enum mqtt_question)letter->method) {
    case MQTT_OPEN_SESSION: return own ? open_run : no_question_run;
    case MQTT_SAVE_SESSION: return own ? save_run : no_question_run;
    case MQTT_WILL: return own ? mqtt_will_run : no_question_run;
    case MQTT_ASK_ROOM: return room_run;
    case MQTT_CLEAR_RETAINED: return mqtt_clear_retained_run;
    case MQTT_ASK_RETAINED: return mqtt_ask_retained_run;
    }
    return no_question_run;
}

void mqtt_state_receive(struct shard *shard, struct letter *letter)
{
    letter->kind = LETTER_REQUEST; /* it is answered like one */
    request_start(shard, letter, run_of(shard, letter));
}
