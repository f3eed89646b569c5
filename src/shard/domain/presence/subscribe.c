/* shard/domain/presence/subscribe.c - asking the shards of many users and rooms at once: presence now, and from now on.
 * Happy path: ids without repeats -> one WATCH letter to each shard that owns some of them -> their answers gathered -> one response, in
 * the order asked. Users that do not exist are left out. One room whose member the user is not refuses the whole subscription, and
 * then the session looks at nothing. */
#include "api/wire.h"
#include "shard/domain/letters.h"
#include "shard/engine/memory.h"
#include "shard/domain/methods.h"
#include "ringpost/v1/ringpost.fields.h"
#include "shard/domain/presence/watch.h"

_Static_assert((int)FIELD_SUBSCRIBE_RESPONSE_PRESENCE == (int)FIELD_PRESENCE_RESPONSE_PRESENCE, "answers are written alike");

struct gather { /* request->state while the shards are asked */
    uint64_t user_ids[WATCH_USERS_MAX], room_ids[WATCH_ROOMS_MAX];
    uint32_t user_count, room_count;
    uint64_t session_id; /* 0: only asks */
    uint64_t call;
    enum error error;
    struct writer answers; /* presence_records, as they came */
};

static void gather_free(void *state)
{
    struct gather *gather = state;
    writer_deinit(&gather->answers);
    free(gather);
}

static struct gather *gather_create(struct request *request)
{
    ASSERT(request->state == NULL); /* the handlers here never wait for a load: they run once */
    struct gather *gather = memory_alloc(sizeof *gather);
    writer_init(&gather->answers, 0);
    request->state = gather;
    request->free_state = gather_free;
    return gather;
}

/* Adds the ids that are not there yet; the caller has checked that all have room. */
static void add_ids(uint64_t *ids, uint32_t *count, const uint64_t *more, size_t more_count)
{
    for (size_t i = 0; i < more_count; i++) {
        uint32_t at = 0;
        while (at < *count && ids[at] != more[i]) at++;
        if (at == *count) ids[(*count)++] = more[i];
    }
}

/* ---- asking ----------------------------------------------------------------------------------------------------------- */

static void write_ids_of(struct writer *out, uint16_t shard, const uint64_t *ids, uint32_t count)
{
    writer_reset(out);
    for (uint32_t i = 0; i < count; i++)
        if (id_partition(ids[i]) == shard) writer_u64(out, ids[i]);
}

/* The letter to one shard, NULL when it owns none of the ids. */
static struct letter *letter_to(struct shard *shard, const struct gather *gather, uint64_t user_id, uint16_t to)
{
    struct writer users, rooms, payload;
    writer_init(&users, 0);
    writer_init(&rooms, 0);
    writer_init(&payload, 0);
    write_ids_of(&users, to, gather->user_ids, gather->user_count);
    write_ids_of(&rooms, to, gather->room_ids, gather->room_count);
    struct letter *letter = NULL;
    if (users.len + rooms.len > 0) {
        struct watch_record watch = {.session_id = gather->session_id,
                                     .user_id = user_id,
                                     .user_ids = writer_slice(&users),
                                     .room_ids = writer_slice(&rooms)};
        watch_record_write(&payload, &watch);
        letter = letter_make(LETTER_WATCH, shard_number(shard), to, NULL, writer_slice(&payload));
    }
    writer_deinit(&users);
    writer_deinit(&rooms);
    writer_deinit(&payload);
    return letter;
}

/* Records, and with those that are there no more than were asked for. */
static bool answers_are_good(const struct gather *gather, struct cursor more)
{
    struct cursor had = cursor_of(writer_slice(&gather->answers));
    struct presence_record record;
    uint32_t count = 0;
    while (cursor_left(&had) > 0 && presence_record_read(&record, &had)) count++;
    while (cursor_left(&more) > 0 && presence_record_read(&record, &more)) count++;
    return cursor_done(&more) && count <= gather->user_count;
}

static bool gather_on_answer(struct shard *shard, struct request *request, struct letter *letter)
{
    (void)shard;
    struct gather *gather = request->state;
    struct cursor cursor = cursor_of(letter_payload(letter));
    enum error error = (enum error)cursor_u8(&cursor);
    if (cursor.bad || error >= ERROR_COUNT || !answers_are_good(gather, cursor)) return false;
    if (error != ERROR_NONE) gather->error = error;
    else writer_raw(&gather->answers, cursor.at, cursor_left(&cursor));
    return true;
}

/* Asks every shard concerned; `then` runs when all have answered. `list` (may be NULL) gets the shards asked. False: it was refused. */
static bool gather_ask(struct shard *shard, struct request *request, struct watch_list *list,
                       void (*then)(struct shard *shard, struct request *request))
{
    struct gather *gather = request->state;
    uint16_t shard_count = request_machine(shard)->options.shard_count;
    struct letter *first = NULL, **last = &first;
    uint32_t asked = 0;
    for (uint16_t to = 0; to < shard_count; to++) {
        struct letter *letter = letter_to(shard, gather, request->actor.user_id, to);
        if (letter == NULL) continue;
        ASSERT(asked < WATCH_SHARDS_MAX);
        if (list != NULL) list->shards[list->shard_count++] = to;
        *last = letter;
        last = &letter->next;
        asked++;
    }
    uint64_t call = asked == 0 ? 0 : request_call_begin(shard, request, gather_on_answer, then);
    bool refused = asked > 0 && call == 0; /* then the request is gone, and its state with it */
    if (!refused) gather->call = call;
    while (first != NULL) {
        struct letter *letter = first;
        first = letter->next;
        letter->next = NULL;
        if (refused) letter_free(letter);
        else request_call_ask(shard, call, letter);
    }
    return !refused;
}

/* ---- answering -------------------------------------------------------------------------------------------------------- */

static uint32_t read_answers(const struct gather *gather, struct presence_record records[WATCH_USERS_MAX])
{
    uint32_t count = 0;
    struct cursor cursor = cursor_of(writer_slice(&gather->answers));
    while (cursor_left(&cursor) > 0) {
        ASSERT(count < WATCH_USERS_MAX);
        bool read = presence_record_read(&records[count++], &cursor);
        ASSERT(read);
    }
    return count;
}

static void gather_reply(struct shard *shard, struct request *request)
{
    const struct gather *gather = request->state;
    struct presence_record records[WATCH_USERS_MAX];
    uint32_t record_count = read_answers(gather, records);
    struct writer response;
    writer_init(&response, 0);
    for (uint32_t i = 0; i < gather->user_count; i++) {
        uint32_t at = 0;
        while (at < record_count && records[at].user_id != gather->user_ids[i]) at++;
        if (at == record_count) continue;
        wire_write_head(&response, FIELD_PRESENCE_RESPONSE_PRESENCE, records[at].packed.len);
        writer_raw(&response, records[at].packed.data, records[at].packed.len);
    }
    request_reply_packed(shard, request, writer_slice(&response));
    writer_deinit(&response);
}

/* ---- presence --------------------------------------------------------------------------------------------------------- */

void handle_presence(struct shard *shard, struct request *request)
{
    Ringpost__V1__PresenceRequest *in = REQUEST_UNPACK(shard, request, PresenceRequest);
    if (in == NULL) return;
    if (in->n_user_ids > WATCH_USERS_MAX) {
        request_refuse_because(shard, request, ERROR_BAD_FIELD, "user_ids: must be at most 128");
        return;
    }
    struct gather *gather = gather_create(request);
    add_ids(gather->user_ids, &gather->user_count, in->user_ids, in->n_user_ids);
    if (gather_ask(shard, request, NULL, gather_reply) && gather->call == 0) gather_reply(shard, request);
}

/* ---- subscribe -------------------------------------------------------------------------------------------------------- */

static void subscribe_on_gathered(struct shard *shard, struct request *request)
{
    const struct gather *gather = request->state;
    struct session *session = session_find(shard, gather->session_id);
    if (gather->error == ERROR_NONE) {
        gather_reply(shard, request);
        return;
    }
    bool is_newest = session != NULL && session->watching != NULL && session->watching->call == gather->call;
    if (is_newest) watch_list_replace(session, NULL);
    request_refuse(shard, request, gather->error);
}

static const char *wrong_field(const Ringpost__V1__SubscribeRequest *in)
{
    if (in->n_user_ids > WATCH_USERS_MAX) return "user_ids: must be at most 128";
    if (in->n_room_ids > WATCH_ROOMS_MAX) return "room_ids: must be at most 16";
    return NULL;
}

static bool has_foreign_room(const struct gather *gather, uint16_t shard_count)
{
    for (uint32_t i = 0; i < gather->room_count; i++)
        if (id_partition(gather->room_ids[i]) >= shard_count) return true;
    return false;
}

void handle_subscribe(struct shard *shard, struct request *request)
{
    Ringpost__V1__SubscribeRequest *in = REQUEST_UNPACK(shard, request, SubscribeRequest);
    if (in == NULL) return;
    const char *wrong = wrong_field(in);
    if (wrong != NULL) {
        request_refuse_because(shard, request, ERROR_BAD_FIELD, wrong);
        return;
    }
    struct session *session = session_find(shard, request->letter->number);
    if (session == NULL) {
        request_refuse(shard, request, ERROR_NOT_AUTHENTICATED);
        return;
    }
    struct gather *gather = gather_create(request);
    gather->session_id = session->id;
    add_ids(gather->user_ids, &gather->user_count, in->user_ids, in->n_user_ids);
    add_ids(gather->room_ids, &gather->room_count, in->room_ids, in->n_room_ids);
    if (has_foreign_room(gather, request_machine(shard)->options.shard_count)) {
        watch_list_replace(session, NULL);
        request_refuse(shard, request, ERROR_ROOM_NOT_FOUND);
        return;
    }

    struct watch_list *list = memory_alloc(sizeof *list);
    if (!gather_ask(shard, request, list, subscribe_on_gathered)) {
        free(list);
        return;
    }
    list->call = gather->call;
    watch_list_replace(session, list);
    if (gather->call == 0) gather_reply(shard, request);
}
