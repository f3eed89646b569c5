/* shard/domain/mqtt/wills.c - see wills.h.
 * Happy path: MQTT_WILL (opens) -> HELD … MQTT_WILL (released) -> apply: WAITING, or SENDING at once -> DUE -> SENDING -> EFFECT_WILL: send_run
 * asks the method `send` on the room's shard -> answered -> WILL_SENT -> gone.
 * Failure modes: a busy server, a crash while it is sent: the timer of SENDING tries again. Refused for good (no member any more):
 * counted, and gone. */
#include "shard/domain/mqtt/wills.h"
#include "shard/domain/bounds.h"
#include "shard/domain/commands.h"
#include "shard/domain/delivery/inbox.h"
#include "shard/domain/keys.h"
#include "shard/domain/letters.h"
#include "shard/domain/mqtt/state.h"
#include "shard/domain/mqtt/will_ends.h"
#include "shard/domain/timers.h"
#include "shard/engine/memory.h"
#include "shard/engine/method.h"
#include "shard/engine/request.h"
#include "shard/domain/setup.h"

#define WILL_REST_MAX (PROPERTIES_SIZE_MAX + 512u) /* of a packed will, beside the body: properties, ids, what frames them */

static struct will_record record_of(const struct will *will)
{
    struct will_record record;
    struct cursor c = cursor_of(slice_of(will->bytes, will->len));
    bool read = will_record_read(&record, &c) && cursor_done(&c);
    ASSERT(read);
    return record;
}

/* ---- the entity ------------------------------------------------------------------------------------------------------- */

static void will_fill(struct will *will, const struct will_record *record, struct slice bytes)
{
    uint8_t *copy = memory_alloc(bytes.len);
    memcpy(copy, bytes.data, bytes.len);
    will->state = record->state;
    will->due_ms = record->due_ms;
    free(will->bytes); /* record may borrow it */
    will->bytes = copy;
    will->len = bytes.len;
}

static struct will *will_add(struct wills *wills, uint64_t number)
{
    wills->wills = memory_resize(wills->wills, (wills->count + 1) * sizeof *wills->wills);
    struct will *will = &wills->wills[wills->count++];
    *will = (struct will){.number = number};
    wills->entity.exists = true;
    return will;
}

static uint64_t earliest(const struct wills *wills, bool held)
{
    uint64_t due_ms = 0;
    for (uint32_t i = 0; i < wills->count; i++) {
        const struct will *will = &wills->wills[i];
        if ((will->state == WILL_HELD) == held && (due_ms == 0 || will->due_ms < due_ms)) due_ms = will->due_ms;
    }
    return due_ms;
}

struct load {
    struct wills *wills;
    bool corrupt;
};

static bool load_one(void *context, struct slice key, struct slice value)
{
    struct load *load = context;
    struct will_record record;
    struct cursor c = cursor_of(value);
    load->corrupt = key.len != 17 || !will_record_read(&record, &c) || !cursor_done(&c);
    if (load->corrupt) return false;
    struct will *will = will_add(load->wills, key_u64_at(key, 9));
    will_fill(will, &record, value);
    will->row_hash = state_hash_row(key, value);
    return true;
}

static enum result wills_load(struct entity *fresh, struct store_view *view)
{
    struct wills *wills = wills_of(fresh);
    struct load load = {.wills = wills};
    struct key from = key_one(KEY_WILL, fresh->key.a), until = key_after(KEY_WILL, fresh->key.a);
    enum result result = store_scan(view, key_slice(&from), key_slice(&until), load_one, &load);
    wills->held_ms = earliest(wills, true);
    wills->due_ms = earliest(wills, false);
    return result == RESULT_OK && load.corrupt ? RESULT_CORRUPT : result;
}

static void wills_drop(struct machine *machine, struct entity *entity)
{
    (void)machine;
    struct wills *wills = wills_of(entity);
    for (uint32_t i = 0; i < wills->count; i++) free(wills->wills[i].bytes);
    free(wills->wills);
}

const struct entity_type wills_type = {
    .kind = ENTITY_WILLS, .name = "wills", .size_bytes = sizeof(struct wills), .rare = true, .load = wills_load, .drop = wills_drop};

/* ---- what becomes of one ------------------------------------------------------------------------------------------------ */

static struct key will_key(const struct wills *wills, uint64_t number) { return key_two(KEY_WILL, wills->entity.key.a, number); }

/* After any change. */
static void timers_update(struct machine *machine, struct wills *wills, struct effects *effects)
{
    uint64_t user_id = wills->entity.key.a, start = earliest(wills, true), due_ms = earliest(wills, false);
    if (start == 0) timer_clear(machine, TIMER_WILL_HELD, user_id, &wills->held_ms, effects);
    else timer_set_start(machine, TIMER_WILL_HELD, user_id, &wills->held_ms, start, effects);
    if (due_ms == 0) timer_clear(machine, TIMER_WILL, user_id, &wills->due_ms, effects);
    else timer_set_clock(machine, TIMER_WILL, user_id, &wills->due_ms, due_ms, effects);
}

static void will_put(struct wills *wills, struct will *will, struct will_record *record, struct effects *effects)
{
    struct key key = will_key(wills, will->number);
    writer_reset(&effects->scratch);
    will_record_write(&effects->scratch, record);
    effects_put_row(effects, &key, writer_slice(&effects->scratch), &will->row_hash);
    will_fill(will, record, writer_slice(&effects->scratch));
}

static void will_delete(struct wills *wills, struct will *will, struct effects *effects)
{
    struct key key = will_key(wills, will->number);
    effects_delete_row(effects, &key, &will->row_hash);
    free(will->bytes);
    uint32_t at = (uint32_t)(will - wills->wills);
    memmove(will, will + 1, (--wills->count - at) * sizeof *will);
    wills->entity.exists = wills->count > 0;
}

static void will_send(struct wills *wills, struct will *will, uint64_t time_ms, struct effects *effects)
{
    struct will_record record = record_of(will);
    record.state = WILL_SENDING;
    record.due_ms = timer_clock_ms(time_ms + WILL_RETRY_MS);
    will_put(wills, will, &record, effects);
    effects_add(effects, &(struct effect){.entity = &wills->entity, .number = will->number, .kind = EFFECT_WILL});
}

/* Its connection is over. Without a session there is nothing to wait for. */
static uint32_t wait_s(const struct will_record *record) { return record->delay_s < record->expiry_s ? record->delay_s : record->expiry_s; }

static void will_release(struct wills *wills, struct will *will, uint32_t expiry_s, uint64_t time_ms, struct effects *effects)
{
    struct will_record record = record_of(will);
    record.expiry_s = expiry_s;
    if (wait_s(&record) == 0) {
        will_send(wills, will, time_ms, effects);
        return;
    }
    record.state = WILL_WAITING;
    record.due_ms = timer_clock_ms(time_ms + wait_s(&record) * 1000ull);
    will_put(wills, will, &record, effects);
}

/* The client comes again, with a session of before or a new one. HELD: nobody has told of that connection's end. */
static void will_meets_client(struct wills *wills, struct will *will, bool clean, uint64_t time_ms, struct effects *effects)
{
    if (clean) will_send(wills, will, time_ms, effects);
    else if (will->state == WILL_HELD) will_release(wills, will, record_of(will).expiry_s, time_ms, effects);
}

static bool waits_for(const struct will *will, struct slice client_id)
{
    return will->state == WILL_WAITING && slice_equal(record_of(will).client_id, client_id);
}

static struct will *held(const struct wills *wills, uint64_t epoch)
{
    for (uint32_t i = 0; i < wills->count; i++)
        if (wills->wills[i].state == WILL_HELD && record_of(&wills->wills[i]).epoch == epoch) return &wills->wills[i];
    return NULL;
}

const struct will *wills_held(const struct wills *wills, uint64_t epoch) { return held(wills, epoch); }

static struct will *next_to_come(struct wills *wills)
{
    struct will *next = NULL;
    for (uint32_t i = 0; i < wills->count; i++) {
        struct will *will = &wills->wills[i];
        if (will->state == WILL_WAITING && (next == NULL || will->due_ms < next->due_ms)) next = will;
    }
    return next;
}

/* ---- the commands ------------------------------------------------------------------------------------------------------- */

static bool gives(const struct will_record *in) { return in->send.len > 0 || in->clears_room_id != 0; }

static void needs_will(struct needs *needs, const struct command *command) { (void)needs_entity(needs, ENTITY_WILLS, command->actor_id, 0); }

static struct wills *wills_now(struct machine *machine, uint64_t user_id)
{
    return wills_of(machine_entity(machine, ENTITY_WILLS, user_id, 0));
}

static enum error check_will(struct machine *machine, const struct command *command)
{
    struct will_record in = COMMAND_RECORD(will, command);
    return in.state == WILL_OPENS && gives(&in) && wills_now(machine, command->actor_id)->count >= MQTT_WILLS_MAX + MQTT_WILLS_MAX / 2 ? ERROR_SERVER_BUSY : ERROR_NONE;
}

static void open_apply(struct machine *machine, struct wills *wills, struct will_record *in, const struct command *command,
                       struct effects *effects)
{
    uint32_t going = 0; /* when the client has CONNACK */
    for (uint32_t i = 0; i < wills->count; i++) {
        struct will *will = &wills->wills[i];
        bool same = will->state != WILL_SENDING && slice_equal(record_of(will).client_id, in->client_id);
        if (same) will_meets_client(wills, will, in->clean, command->time_ms, effects);
        going += same && will->state == WILL_WAITING;
    }
    if (!gives(in)) return;
    struct will *first = wills->count - going < MQTT_WILLS_MAX ? NULL : next_to_come(wills);
    if (first != NULL) will_send(wills, first, command->time_ms, effects);
    in->state = WILL_HELD;
    in->due_ms = timer_next_start(machine);
    will_put(wills, will_add(wills, command->index), in, effects);
}

static void close_apply(struct wills *wills, const struct will_record *in, const struct command *command, struct effects *effects)
{
    struct will *will = held(wills, in->epoch);
    if (will == NULL) return;
    if (in->state == WILL_DROPPED) will_delete(wills, will, effects);
    else will_release(wills, will, in->expiry_s, command->time_ms, effects);
}

static void apply_will(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct will_record in = COMMAND_RECORD(will, command);
    struct wills *wills = wills_now(machine, command->actor_id);
    if (in.state == WILL_OPENS) open_apply(machine, wills, &in, command, effects);
    else close_apply(wills, &in, command, effects);
    timers_update(machine, wills, effects);
}

static uint32_t size_max_will(const struct domain *domain, uint32_t body_size_max)
{
    (void)domain;
    return body_size_max + WILL_REST_MAX;
}

COMMAND_ROW(will, MQTT_WILL, .needs = needs_will, .check = check_will);

static void apply_will_sent(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct will_sent_record in = COMMAND_RECORD(will_sent, command);
    struct wills *wills = wills_now(machine, command->actor_id);
    for (uint32_t i = 0; i < wills->count; i++) {
        if (wills->wills[i].number != in.number) continue;
        will_delete(wills, &wills->wills[i], effects);
        break;
    }
    timers_update(machine, wills, effects);
}

COMMAND_SIZE_MAX(will_sent, 0)
COMMAND_ROW(will_sent, MQTT_WILL_SENT, .needs = needs_will);

static void apply_will_back(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct will_back_record in = COMMAND_RECORD(will_back, command);
    struct wills *wills = wills_now(machine, command->actor_id);
    for (uint32_t i = 0; i < wills->count;) {
        struct will *will = &wills->wills[i];
        if (waits_for(will, in.client_id) && record_of(will).epoch != in.epoch) will_delete(wills, will, effects);
        else i++;
    }
    timers_update(machine, wills, effects);
}

COMMAND_SIZE_MAX(will_back, .client_id = slice_of_len(MQTT_CLIENT_ID_MAX))
COMMAND_ROW(will_back, MQTT_WILL_BACK, .needs = needs_will);

void wills_drop_device(struct machine *machine, uint64_t user_id, struct slice device_id, struct effects *effects)
{
    struct wills *wills = wills_now(machine, user_id);
    for (uint32_t i = 0; i < wills->count;) {
        struct will *will = &wills->wills[i];
        if (slice_equal(record_of(will).device_id, device_id)) will_delete(wills, will, effects);
        else i++;
    }
    timers_update(machine, wills, effects);
}

/* ---- the timers ------------------------------------------------------------------------------------------------------------ */

static void timer_needs(struct needs *needs, uint64_t user_id) { (void)needs_entity(needs, ENTITY_WILLS, user_id, 0); }

static uint64_t *held_due(struct machine *machine, uint64_t user_id) { return &wills_now(machine, user_id)->held_ms; }
static uint64_t *wills_due(struct machine *machine, uint64_t user_id) { return &wills_now(machine, user_id)->due_ms; }

static void held_fire(struct machine *machine, uint64_t user_id, uint64_t due_ms, const struct command *command, struct effects *effects)
{
    struct wills *wills = wills_now(machine, user_id);
    for (uint32_t i = 0; i < wills->count; i++) {
        struct will *will = &wills->wills[i];
        if (will->state == WILL_HELD && will->due_ms <= due_ms)
            will_release(wills, will, record_of(will).expiry_s, command->time_ms, effects);
    }
    timers_update(machine, wills, effects);
}

static void wills_fire(struct machine *machine, uint64_t user_id, uint64_t due_ms, const struct command *command, struct effects *effects)
{
    (void)due_ms;
    struct wills *wills = wills_now(machine, user_id);
    for (uint32_t i = 0; i < wills->count; i++) {
        struct will *will = &wills->wills[i];
        if (will->state != WILL_HELD && will->due_ms <= command->time_ms) will_send(wills, will, command->time_ms, effects);
    }
    timers_update(machine, wills, effects);
}

const struct timer_row will_held_timer = {TIMER_WILL_HELD, "will held", timer_needs, held_due, held_fire};
const struct timer_row will_timer = {TIMER_WILL, "will", timer_needs, wills_due, wills_fire};

/* ---- sending --------------------------------------------------------------------------------------------------------------- */

struct sending { /* request->state */
    enum error outcome;
};

static struct will *will_of(struct wills *wills, uint64_t number)
{
    for (uint32_t i = 0; i < wills->count; i++)
        if (wills->wills[i].number == number && wills->wills[i].state == WILL_SENDING) return &wills->wills[i];
    return NULL;
}

static void sent(struct shard *shard, struct request *request, enum error error)
{
    (void)error;
    request_end(shard, request);
}

/* It is done with, for good or for bad. */
static void propose_sent(struct shard *shard, struct request *request, enum error outcome)
{
    struct cursor c = cursor_of(letter_payload(request->letter));
    struct writer bytes;
    writer_init(&bytes, 0);
    will_sent_record_write(&bytes, &(struct will_sent_record){.number = cursor_u64(&c)});
    if (outcome != ERROR_NONE) metrics_add(&shard_metrics(shard)->mqtt_dropped_will, 1);
    request_propose_then(shard, request, COMMAND_MQTT_WILL_SENT, writer_slice(&bytes), sent);
    writer_deinit(&bytes);
}

static bool on_answer(struct shard *shard, struct request *request, struct letter *letter)
{
    (void)shard;
    struct cursor c = cursor_of(letter_payload(letter));
    uint8_t outcome = cursor_u8(&c);
    if (!cursor_done(&c) || outcome >= ERROR_COUNT) return false;
    ((struct sending *)request->state)->outcome = (enum error)outcome;
    return true;
}

/* Later it may go. */
static bool may_try_again(enum error error)
{
    uint32_t status = error_row(error)->status;
    return status == 503 || status == 507 || status == 500;
}

static void answered(struct shard *shard, struct request *request)
{
    const struct sending *sending = request->state;
    if (may_try_again(sending->outcome)) request_end(shard, request); /* its timer does */
    else propose_sent(shard, request, sending->outcome);
}

static enum error route(struct shard *shard, const struct will_record *will, uint64_t user_id, uint16_t *to)
{
    const struct machine_options *options = &shard_machine(shard)->options;
    const struct method *send = method_by_number(options->domain, RINGPOST__V1__REQUEST__METHOD_SEND);
    if (will->clears_room_id == 0) return send->route(send, will->send, user_id, options->shard_count, to);
    *to = id_partition(will->clears_room_id);
    return *to < options->shard_count ? ERROR_NONE : ERROR_ROOM_NOT_FOUND;
}

/* The request that its user would have made. An answer that does not come ends ours, and the timer tries again. */
static void ask(struct shard *shard, struct request *request, const struct will_record *will, const struct inbox *inbox, uint16_t to)
{
    uint64_t call = request_call_begin(shard, request, on_answer, answered);
    if (call == 0) return;
    struct actor_record actor = {.user_id = inbox->entity.key.a,
                                 .device_id = will->device_id,
                                 .platform = SLICE_TEXT("mqtt"),
                                 .name = slice_text(inbox->display_name)};
    struct writer room;
    writer_init(&room, 0);
    writer_u64(&room, will->clears_room_id);
    bool clears = will->clears_room_id != 0;
    uint16_t here = shard_number(shard);
    struct letter *letter = letter_make(clears ? LETTER_MQTT : LETTER_REQUEST, here, to, &actor, clears ? writer_slice(&room) : will->send);
    letter->method = clears ? (uint16_t)MQTT_CLEAR_RETAINED : (uint16_t)RINGPOST__V1__REQUEST__METHOD_SEND;
    letter->admitted = true;
    letter->origin = (struct origin){.worker = ORIGIN_SHARD, .slot = here, .generation = call};
    request_call_ask(shard, call, letter);
    writer_deinit(&room);
}

static void send_run(struct shard *shard, struct request *request)
{
    uint64_t user_id = request->actor.user_id;
    struct entity *wills = request_entity(shard, request, ENTITY_WILLS, user_id, 0);
    struct entity *inbox = request_entity(shard, request, ENTITY_INBOX, user_id, 0);
    if (request_waits(request)) return;
    struct cursor c = cursor_of(letter_payload(request->letter));
    const struct will *will = will_of(wills_of(wills), cursor_u64(&c));
    if (will == NULL || !inbox->exists) {
        request_end(shard, request);
        return;
    }
    struct will_record record = record_of(will);
    uint16_t to = 0;
    enum error error = route(shard, &record, user_id, &to);
    if (error != ERROR_NONE) {
        propose_sent(shard, request, error);
        return;
    }
    request->state = memory_alloc(sizeof(struct sending));
    request->free_state = free;
    ask(shard, request, &record, inbox_of(inbox), to);
}

static void send_begin(struct shard *shard, uint64_t user_id, uint64_t number)
{
    struct writer payload;
    writer_init(&payload, 0);
    writer_u64(&payload, number);
    struct actor_record actor = {.user_id = user_id};
    request_start(shard, letter_make(LETTER_OWN, shard_number(shard), shard_number(shard), &actor, writer_slice(&payload)), send_run);
    writer_deinit(&payload);
}

void mqtt_perform(struct shard *shard, const struct effects *effects)
{
    if ((effects->kinds >> EFFECT_WILL & 1) == 0) return;
    for (uint32_t i = 0; i < effects->count; i++)
        if (effects->list[i].kind == EFFECT_WILL) send_begin(shard, effects->list[i].entity->key.a, effects->list[i].number);
}

/* ---- the question ------------------------------------------------------------------------------------------------------------ */

/* Does it take a command to say that the client is there: with a will, or one before it whose connection or session ends by that? */
static bool changes(const struct wills *wills, const struct will_record *in)
{
    if (gives(in)) return true;
    for (uint32_t i = 0; i < wills->count; i++) {
        const struct will *will = &wills->wills[i];
        bool ends = will->state == WILL_HELD || (will->state == WILL_WAITING && in->clean);
        if (ends && slice_equal(record_of(will).client_id, in->client_id)) return true;
    }
    return false;
}

static struct will_record asked(const struct request *request) { return RECORD_OF(will, letter_payload(request->letter)); }

/* WILL_OPENS, once that is durable. */
static void opened(struct shard *shard, struct request *request, enum error error)
{
    if (error != ERROR_NONE) {
        request_refuse(shard, request, error);
        return;
    }
    const struct wills *wills = wills_of(request_entity(shard, request, ENTITY_WILLS, request->actor.user_id, 0));
    uint8_t waits = 0;
    for (uint32_t i = 0; i < wills->count; i++) waits |= waits_for(&wills->wills[i], asked(request).client_id);
    request_reply_packed(shard, request, slice_of(&waits, 1));
}

/* How the client's connection before ended, if that is not durable yet. */
static const struct will_end *end_before(const struct will_ends *ends, const struct wills *wills, struct slice client_id)
{
    for (uint32_t i = 0; i < wills->count; i++) {
        struct will_record record = record_of(&wills->wills[i]);
        if (wills->wills[i].state == WILL_HELD && slice_equal(record.client_id, client_id)) return will_ends_find(ends, record.epoch);
    }
    return NULL;
}

/* It is durable now: on with what the client asked. */
static void before_ended(struct shard *shard, struct request *request, enum error error)
{
    if (error != ERROR_NONE) request_refuse(shard, request, error);
    else mqtt_will_run(shard, request);
}

static void open_run(struct shard *shard, struct request *request, const struct will_record *in)
{
    struct entity *entity = request_entity(shard, request, ENTITY_WILLS, request->actor.user_id, 0);
    if (entity == NULL) return;
    const struct will_ends *ends = will_ends_of(shard_machine(shard));
    const struct will_end *before = end_before(ends, wills_of(entity), in->client_id);
    if (will_ends_find(ends, in->epoch) != NULL) { /* it has waited, and ended meanwhile: nobody would close what it opened */
        request_refuse(shard, request, ERROR_SERVER_BUSY);
    } else if (before != NULL) {
        struct will_record end = will_end_record(before);
        REQUEST_PROPOSE_THEN(shard, request, will, MQTT_WILL, &end, before_ended);
    } else if (changes(wills_of(entity), in)) {
        request_propose_then(shard, request, COMMAND_MQTT_WILL, letter_payload(request->letter), opened);
    } else {
        opened(shard, request, ERROR_NONE);
    }
}

void mqtt_will_run(struct shard *shard, struct request *request)
{
    struct slice payload = letter_payload(request->letter);
    struct cursor c = cursor_of(payload);
    struct will_record in;
    bool read = will_record_read(&in, &c) && cursor_done(&c) && in.client_id.len <= MQTT_CLIENT_ID_MAX;
    if (read && payload.len > domain_options(shard)->body_size_max_bytes + WILL_REST_MAX) { /* the method send would not take it */
        request_refuse(shard, request, ERROR_BODY_TOO_LARGE);
        return;
    }
    struct will_back_record back = {.client_id = in.client_id, .epoch = in.epoch};
    switch (read ? (enum will_word)in.state : 0) {
    case WILL_OPENS: open_run(shard, request, &in); break;
    case WILL_RELEASED:
    case WILL_DROPPED: will_end_run(shard, request, &in); break;
    case WILL_BACK: REQUEST_PROPOSE(shard, request, will_back, MQTT_WILL_BACK, &back); break;
    default: request_refuse_letter(shard, request);
    }
}
