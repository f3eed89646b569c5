/* shard/domain/chat/sync.c - a user's stream after a SyncKey: what every device converges by, pushes or no pushes.
 * Happy path: the entries after the client's key, messages filled in from this shard's copy of the timeline; on the
 * last page the heads of large rooms that moved, because those leave no entries. A key older than what is kept, or one
 * that was not given in this history (inbox_judge): reset, and the client starts over from `conversations`. */
#include "api/wire.h"
#include "shard/domain/delivery/events.h"
#include "shard/domain/delivery/inbox.h"
#include "shard/domain/chat/pages.h"
#include "shard/engine/reading.h"
#include "shard/domain/room/conversation.h"
#include "shard/domain/room/timeline.h"
#include "shard/domain/room/view.h"
#include "shard/domain/delivery/session.h"

#define SYNC_LIMIT_DEFAULT 100
#define SYNC_LIMIT_MAX     500

enum sync_field { SYNC_EVENTS = 1, SYNC_SYNC_KEY, SYNC_HAS_MORE, SYNC_RESET, SYNC_HEADS, SYNC_STREAM_EPOCH, SYNC_RESET_REASON };
enum event_field { EVENT_SYNC_KEY = 1 };
enum head_field { HEAD_ROOM_ID = 1, HEAD_HEAD_SEQ, HEAD_READ_SEQ };

struct page {
    const struct sync_params *params;
    struct store_view *view;
    struct writer *out;
    struct writer scratch; /* a view being read */
    struct timeline_reader timelines;
    uint64_t last_key;
    uint32_t count;
    struct page_meter meter;
    bool hole; /* the next entry is not there any more */
    enum result result;
};

static bool event_message_read(struct page *page, struct cursor *c)
{
    struct event_message_record event;
    struct message_record message;
    struct slice record;
    if (!event_message_record_read(&event, c)) return false;
    if (timeline_reader_get(&page->timelines, event.room_id, event.seq, &record) != RESULT_OK) return false;
    struct cursor row = cursor_of(record);
    if (!message_record_read(&message, &row)) return false;
    event_pack_message(page->out, event.room_id, &message);
    return true;
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

static bool take_event(void *context, uint64_t sync_key, struct slice event)
{
    struct page *page = context;
    if (page->count == page->params->limit || page_meter_full(&page->meter, page->out)) return false;
    page->hole = sync_key != page->last_key + 1;
    if (page->hole) return false;
    page->last_key++;
    page->count++;
    wire_write_tag(page->out, SYNC_EVENTS, WIRE_BYTES);
    size_t begin = wire_nest_begin(page->out);
    wire_write_u64(page->out, EVENT_SYNC_KEY, sync_key);
    if (!event_pack(page, event)) page->result = RESULT_CORRUPT;
    wire_nest_end(page->out, begin);
    return page->result == RESULT_OK;
}

static bool take_head(void *context, struct slice key, struct slice value)
{
    struct page *page = context;
    struct conversation_row row;
    page->result = conversation_row_read(&row, page->view, key, value, &page->scratch);
    if (page->result != RESULT_OK) return false;
    if (!row.snapshot.large || row.head_seq <= row.conversation.read_seq) return true;
    wire_write_tag(page->out, SYNC_HEADS, WIRE_BYTES);
    size_t begin = wire_nest_begin(page->out);
    wire_write_u64(page->out, HEAD_ROOM_ID, row.room_id);
    wire_write_u64(page->out, HEAD_HEAD_SEQ, row.head_seq);
    wire_write_u64(page->out, HEAD_READ_SEQ, row.conversation.read_seq);
    wire_nest_end(page->out, begin);
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

static uint64_t reset_reason(enum inbox_answer answer)
{
    if (answer == INBOX_GOES_ON) return RINGPOST__V1__RESET_REASON__NO_RESET;
    return answer == INBOX_TOO_OLD ? RINGPOST__V1__RESET_REASON__TOO_OLD : RINGPOST__V1__RESET_REASON__OTHER_STREAM;
}

void sync_read(struct read_job *job, struct store_view *view)
{
    struct sync_params *params = (void *)job->params;
    struct page page = {.params = params, .view = view, .out = &job->reply, .last_key = params->sync_key,
                        .meter.cost_max = job->page_cost_max};
    writer_init(&page.scratch, 0);
    if (params->answer == INBOX_GOES_ON) page_events(&page);
    if (page.hole && page.count == 0) params->answer = INBOX_TOO_OLD; /* after entries: the next page begins with it */
    bool reset = params->answer != INBOX_GOES_ON;
    if (reset) page.last_key = params->head;
    bool has_more = page.last_key < params->head;
    if (page.result == RESULT_OK && !has_more && params->in_large_rooms) page_heads(&page);
    wire_write_u64(&job->reply, SYNC_SYNC_KEY, page.last_key);
    wire_write_u64(&job->reply, SYNC_HAS_MORE, has_more);
    wire_write_u64(&job->reply, SYNC_RESET, reset);
    wire_write_u64(&job->reply, SYNC_RESET_REASON, reset_reason(params->answer));
    params->reached = page.last_key;
    if (page.result != RESULT_OK || job->reply.failed) job->error = ERROR_INTERNAL;
    writer_deinit(&page.scratch);
}

/* After the last page the session has everything, so pushing to it may begin again if it had fallen behind. The page is sent before
 * session_synced(): that may push `behind`, and the client must see that behind arrive after this page, or it would take this page for
 * the answer to it. */
static void sync_answer(struct shard *shard, struct request *request, struct read_job *job)
{
    const struct sync_params *params = (const void *)job->params;
    uint64_t session_id = request->letter->number;
    char epoch[EPOCH_TEXT_SIZE]; /* of now: what the page holds was given by now */
    epoch_write(epoch, epoch_now(request_machine(shard)));
    wire_write_bytes(&job->reply, SYNC_STREAM_EPOCH, slice_text(epoch));
    if (params->answer == INBOX_OTHER_STREAM) metrics_add(&shard_metrics(shard)->sync_resets_other, 1);
    if (params->answer == INBOX_TOO_OLD) metrics_add(&shard_metrics(shard)->sync_resets_old, 1);
    request_reply_packed(shard, request, writer_slice(&job->reply));
    struct session *session = session_find(shard, session_id);
    if (session != NULL && params->reached >= params->head) session_synced(session, params->reached);
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
    struct sync_params params = {.user_id = request->actor.user_id,
                                 .sync_key = in->sync_key,
                                 .head = inbox->head,
                                 .answer = inbox_judge(request_machine(shard), inbox, in->sync_key, has_epoch ? &epoch : NULL),
                                 .in_large_rooms = inbox->large_count > 0,
                                 .limit = in->limit == 0 ? SYNC_LIMIT_DEFAULT : in->limit};
    struct session *session = session_find(shard, request->letter->number);
    if (session != NULL) session_syncing(session);
    request_read_then(shard, request, sync_read, &params, sizeof params, sync_answer);
}
