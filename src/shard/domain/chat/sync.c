/* shard/domain/chat/sync.c - a user's stream after a SyncKey: what every device converges by, pushes or no pushes.
 * Happy path: the entries after the client's key, messages filled in from the timelines of this shard's rooms, those of other shards' rooms
 * from the cache or from their owners (pages.h); on the last page the heads of large rooms that moved, because those leave no
 * entries. A key older than what is kept, or one that was not given in this history (inbox_judge): reset, and the client starts over
 * from `conversations`. */
#include "api/wire.h"
#include "shard/domain/delivery/events.h"
#include "shard/domain/delivery/inbox.h"
#include "shard/domain/chat/pages.h"
#include "shard/engine/memory.h"
#include "shard/engine/reading.h"
#include "shard/domain/room/conversation.h"
#include "shard/domain/room/owner_read.h"
#include "shard/domain/room/timeline.h"
#include "shard/domain/room/view.h"
#include "shard/domain/delivery/session.h"

#define SYNC_LIMIT_DEFAULT 100
#define SYNC_LIMIT_MAX     500

enum sync_field { SYNC_EVENTS = 1, SYNC_SYNC_KEY, SYNC_HAS_MORE, SYNC_RESET, SYNC_HEADS, SYNC_STREAM_EPOCH, SYNC_RESET_REASON };
enum event_field { EVENT_SYNC_KEY = 1 };
enum head_field { HEAD_ROOM_ID = 1, HEAD_HEAD_SEQ, HEAD_READ_SEQ };

struct row { /* an event of the page */
    uint64_t sync_key;
    uint32_t end;     /* in the packed bytes */
    uint32_t message; /* number + 1 among those that owners are asked for; 0: packed */
};
struct rest { /* of a page with something open: what is packed already */
    struct writer packed; /* the events one after another, then heads of large rooms */
    struct row *rows;     /* owned */
    uint32_t count, capacity;
    uint64_t head, reached; /* as in sync_params */
    enum inbox_answer answer;
};

struct page {
    struct sync_params *params;
    struct store_view *view;
    struct writer *out;
    struct writer scratch; /* a view being read */
    struct timeline_reader timelines;
    struct owner_read *open; /* NULL: nothing */
    uint32_t open_messages;
    struct rest rest;
    uint64_t last_key;
    uint32_t count;
    struct page_meter meter;
    bool hole; /* the next entry is not there any more */
    enum result result;
};

static struct owner_read *page_open(struct page *page)
{
    if (page->open == NULL) page->open = owner_read_create(page->params->shard, page->params->user_id, false);
    return page->open;
}

/* ---- one event ---- */

static bool message_pack_record(struct writer *out, uint64_t room_id, struct slice record)
{
    struct message_record message;
    struct cursor row = cursor_of(record);
    if (!message_record_read(&message, &row)) return false;
    event_pack_message(out, room_id, &message);
    return true;
}

static bool event_message_read(struct page *page, struct cursor *c)
{
    struct event_message_record event;
    struct slice record;
    if (!event_message_record_read(&event, c)) return false;
    if (timeline_reader_get(&page->timelines, event.room_id, event.seq, &record) != RESULT_OK) return false;
    return message_pack_record(page->out, event.room_id, record);
}

static bool event_pack(struct page *page, struct slice value)
{
    struct cursor c = cursor_of(value);
    uint8_t kind = cursor_u8(&c);
    struct event_read_record read;
    struct relay_change_record change;
    struct event_device_record device;
    if (kind == EVENT_MESSAGE) return event_message_read(page, &c);
    if (kind == EVENT_READ && event_read_record_read(&read, &c))
        event_pack_read(page->out, &read);
    else if (kind == EVENT_CHANGE && relay_change_record_read(&change, &c))
        event_pack_change(page->out, &change);
    else if (kind == EVENT_DEVICE && event_device_record_read(&device, &c))
        event_pack_device(page->out, &device);
    else
        return false;
    return true;
}

static size_t event_begin(struct writer *out, uint64_t sync_key)
{
    wire_write_tag(out, SYNC_EVENTS, WIRE_BYTES);
    size_t begin = wire_nest_begin(out);
    wire_write_u64(out, EVENT_SYNC_KEY, sync_key);
    return begin;
}

/* A message of a room that another shard owns: *name is set. */
static bool event_is_elsewhere(const struct page *page, struct slice event, struct event_message_record *name)
{
    struct cursor c = cursor_of(event);
    return cursor_u8(&c) == EVENT_MESSAGE && event_message_record_read(name, &c) && id_partition(name->room_id) != page->params->shard;
}

static void row_add(struct rest *rest, uint64_t sync_key, uint32_t end, uint32_t message)
{
    if (rest->count == rest->capacity) {
        rest->capacity = rest->capacity == 0 ? 32 : rest->capacity * 2;
        rest->rows = memory_resize(rest->rows, rest->capacity * sizeof *rest->rows);
    }
    rest->rows[rest->count++] = (struct row){.sync_key = sync_key, .end = end, .message = message};
}

static bool take_event(void *context, uint64_t sync_key, struct slice event)
{
    struct page *page = context;
    if (page->count == page->params->limit || page_meter_full(&page->meter, page->out)) return false;
    page->hole = sync_key != page->last_key + 1;
    if (page->hole) return false;
    page->last_key++;
    page->count++;
    struct event_message_record name;
    uint32_t message = 0;
    if (event_is_elsewhere(page, event, &name)) {
        owner_read_message(page_open(page), name.room_id, name.seq);
        message = ++page->open_messages;
    } else {
        size_t begin = event_begin(page->out, sync_key);
        if (!event_pack(page, event)) page->result = RESULT_CORRUPT;
        wire_nest_end(page->out, begin);
    }
    row_add(&page->rest, sync_key, (uint32_t)page->out->len, message);
    return page->result == RESULT_OK;
}

/* ---- heads of large rooms ---- */

static void head_pack(struct writer *out, uint64_t room_id, uint64_t head_seq, uint64_t read_seq)
{
    if (head_seq <= read_seq) return;
    wire_write_tag(out, SYNC_HEADS, WIRE_BYTES);
    size_t begin = wire_nest_begin(out);
    wire_write_u64(out, HEAD_ROOM_ID, room_id);
    wire_write_u64(out, HEAD_HEAD_SEQ, head_seq);
    wire_write_u64(out, HEAD_READ_SEQ, read_seq);
    wire_nest_end(out, begin);
}

static bool take_head(void *context, struct slice key, struct slice value)
{
    struct page *page = context;
    struct conversation_row row;
    page->result = conversation_row_read(&row, page->view, page->params->shard, key, value, &page->scratch);
    if (page->result != RESULT_OK) return false;
    if (!row.snapshot.large) return true;
    struct owner_head mark = {.room_id = row.room_id, .read_seq = row.conversation.read_seq, .large = true};
    if (id_partition(row.room_id) == page->params->shard) head_pack(page->out, row.room_id, row.head_seq, mark.read_seq);
    else owner_read_head(page_open(page), &mark);
    return true;
}

static void page_events(struct page *page)
{
    timeline_reader_init(&page->timelines, page->view);
    enum result result = events_scan(page->view, page->params->user_id, page->last_key + 1, take_event, page);
    if (page->result == RESULT_OK) page->result = result;
    timeline_reader_deinit(&page->timelines);
}

static void page_heads(struct page *page)
{
    uint64_t user_id = page->params->user_id;
    struct key from = key_one(KEY_CONVERSATION, user_id), until = key_after(KEY_CONVERSATION, user_id);
    enum result result = store_scan(page->view, key_slice(&from), key_slice(&until), take_head, page);
    if (page->result == RESULT_OK) page->result = result;
}

/* ---- the page ---- */

static uint64_t reset_reason(enum inbox_answer answer)
{
    if (answer == INBOX_GOES_ON) return RINGPOST__V1__RESET_REASON__NO_RESET;
    return answer == INBOX_TOO_OLD ? RINGPOST__V1__RESET_REASON__TOO_OLD : RINGPOST__V1__RESET_REASON__OTHER_STREAM;
}

static void rest_free(void *state)
{
    struct rest *rest = state;
    writer_deinit(&rest->packed);
    free(rest->rows);
    free(rest);
}

/* The second step gets what the first has made. */
static void page_keep(struct page *page, struct read_job *job)
{
    struct rest *rest = memory_alloc(sizeof *rest);
    *rest = page->rest;
    rest->packed = job->reply;
    rest->head = page->params->head;
    rest->reached = page->params->reached;
    rest->answer = page->params->answer;
    writer_init(&job->reply, 0);
    owner_read_set_page(page->open, rest, rest_free);
    page->params->open = page->open;
}

void sync_read(struct read_job *job, struct store_view *view)
{
    struct sync_params *params = (void *)job->params;
    struct page page = {.params = params, .view = view, .out = &job->reply, .last_key = params->sync_key,
                        .meter.cost_max = job->page_cost_max};
    writer_init(&page.scratch, 0);
    if (params->answer == INBOX_GOES_ON) page_events(&page);
    if (page.hole && page.count == 0) params->answer = INBOX_TOO_OLD; /* after entries: the next page begins with it */
    if (params->answer != INBOX_GOES_ON) page.last_key = params->head;
    params->reached = page.last_key;
    if (page.result == RESULT_OK && params->reached >= params->head && params->in_large_rooms) page_heads(&page);
    if (page.result != RESULT_OK || job->reply.failed) job->error = ERROR_INTERNAL;
    writer_deinit(&page.scratch);
    if (page.open != NULL && job->error == ERROR_NONE) {
        page_keep(&page, job);
        return;
    }
    owner_read_destroy(page.open);
    free(page.rest.rows);
}

/* Whether `out` has the event now. */
static bool row_fill(const struct owner_read *open, const struct rest *rest, uint32_t i, struct writer *out)
{
    const struct row *row = &rest->rows[i];
    uint32_t start = i == 0 ? 0 : rest->rows[i - 1].end;
    struct owner_message message;
    if (row->message == 0) {
        writer_raw(out, rest->packed.data + start, row->end - start);
        return true;
    }
    if (!owner_read_message_of(open, row->message - 1, &message)) return false;
    size_t begin = event_begin(out, row->sync_key);
    bool packed = message_pack_record(out, message.room_id, message.record);
    ASSERT(packed); /* owner_read.c has looked */
    wire_nest_end(out, begin);
    return true;
}

static void heads_fill(const struct owner_read *open, const struct rest *rest, struct writer *out)
{
    uint32_t start = rest->count == 0 ? 0 : rest->rows[rest->count - 1].end;
    struct owner_head head;
    if (rest->packed.len > start) writer_raw(out, rest->packed.data + start, rest->packed.len - start);
    for (uint32_t i = 0; i < owner_read_head_count(open); i++)
        if (owner_read_head_of(open, i, &head)) head_pack(out, head.room_id, head.head_seq, head.read_seq);
}

bool sync_fill(const struct owner_read *open, uint32_t cost_max, struct sync_params *params, struct writer *out)
{
    const struct rest *rest = owner_read_page(open);
    struct page_meter meter = {.cost_max = cost_max};
    uint32_t i = 0;
    while (i < rest->count && !page_meter_full(&meter, out) && row_fill(open, rest, i, out)) i++;
    if (i < rest->count) params->reached = rest->rows[i].sync_key - 1;
    if (params->reached >= params->head) heads_fill(open, rest, out);
    return i > 0 || rest->count == 0;
}

void sync_end(const struct sync_params *params, struct writer *out)
{
    wire_write_u64(out, SYNC_SYNC_KEY, params->reached);
    wire_write_u64(out, SYNC_HAS_MORE, params->reached < params->head);
    wire_write_u64(out, SYNC_RESET, params->answer != INBOX_GOES_ON);
    wire_write_u64(out, SYNC_RESET_REASON, reset_reason(params->answer));
}

/* After the last page the session has everything, so pushing to it may begin again if it had fallen behind. The page is sent before
 * session_synced(): that may push `behind`, and the client must see that behind arrive after this page, or it would take this page for
 * the answer to it. */
static void sync_answer(struct shard *shard, struct request *request, const struct sync_params *params, struct writer *reply)
{
    uint64_t session_id = request->letter->number;
    char epoch[EPOCH_TEXT_SIZE]; /* of now: what the page holds was given by now */
    epoch_write(epoch, epoch_now(request_machine(shard)));
    sync_end(params, reply);
    wire_write_bytes(reply, SYNC_STREAM_EPOCH, slice_text(epoch));
    if (params->answer == INBOX_OTHER_STREAM) metrics_add(&shard_metrics(shard)->sync_resets_other, 1);
    if (params->answer == INBOX_TOO_OLD) metrics_add(&shard_metrics(shard)->sync_resets_old, 1);
    request_reply_packed(shard, request, writer_slice(reply));
    struct session *session = session_find(shard, session_id);
    if (session != NULL && params->reached >= params->head) session_synced(session, params->reached);
}

/* The owners have answered: what they were asked for goes into the page. */
static void sync_told(struct shard *shard, struct request *request)
{
    const struct owner_read *open = request->lookup;
    const struct rest *rest = owner_read_page(open);
    struct sync_params params = {.head = rest->head, .reached = rest->reached, .answer = rest->answer};
    struct writer reply;
    writer_init(&reply, 0);
    if (sync_fill(open, shard_limits(shard)->page_cost_max, &params, &reply) && !reply.failed) sync_answer(shard, request, &params, &reply);
    else request_refuse(shard, request, ERROR_INTERNAL);
    writer_deinit(&reply);
}

static void sync_was_read(struct shard *shard, struct request *request, struct read_job *job)
{
    const struct sync_params *params = (const void *)job->params;
    if (params->open == NULL) {
        sync_answer(shard, request, params, &job->reply);
        return;
    }
    request->lookup = params->open;
    request->free_lookup = owner_read_destroy;
    if (owner_read_begin(shard, request, params->open, sync_told)) sync_told(shard, request);
}

void handle_sync(struct shard *shard, struct request *request)
{
    Ringpost__V1__SyncRequest *in = REQUEST_UNPACK(shard, request, SyncRequest);
    if (in == NULL) return;
    if (in->limit > SYNC_LIMIT_MAX) {
        request_refuse_because(shard, request, ERROR_BAD_FIELD, "limit: at most 500");
        return;
    }
    struct epoch epoch;
    bool has_epoch = in->stream_epoch[0] != '\0';
    if (has_epoch && !epoch_read(&epoch, slice_text(in->stream_epoch))) {
        request_refuse_because(shard, request, ERROR_BAD_FIELD, "stream_epoch: not one of ours");
        return;
    }
    struct entity *entity = request_entity(shard, request, ENTITY_INBOX, request->actor.user_id, 0);
    if (entity == NULL) return;
    const struct inbox *inbox = inbox_of(entity);
    struct sync_params params = {.shard = shard_number(shard),
                                 .user_id = request->actor.user_id,
                                 .sync_key = in->sync_key,
                                 .head = inbox->head,
                                 .answer = inbox_judge(request_machine(shard), inbox, in->sync_key, has_epoch ? &epoch : NULL),
                                 .in_large_rooms = inbox->large_count > 0,
                                 .limit = in->limit == 0 ? SYNC_LIMIT_DEFAULT : in->limit};
    struct session *session = session_find(shard, request->letter->number);
    if (session != NULL) session_syncing(session);
    request_read_then(shard, request, sync_read, &params, sizeof params, sync_was_read);
}
