/* shard/domain/chat/conversations.c - a user's rooms by page, each with its head, how far it is read, and its last message.
 * The sync_key of the answer is that of the moment the page was asked for: everything later comes through sync. */
#include "api/wire.h"
#include "shard/domain/delivery/inbox.h"
#include "shard/domain/chat/pages.h"
#include "shard/domain/room/conversation.h"
#include "shard/domain/room/gate.h"
#include "shard/engine/reading.h"
#include "shard/domain/room/timeline.h"
#include "shard/domain/room/view.h"

#define CONVERSATIONS_LIMIT_DEFAULT 100
#define CONVERSATIONS_LIMIT_MAX     500

enum conversations_field {
    CONVERSATIONS_CONVERSATIONS = 1,
    CONVERSATIONS_HAS_MORE,
    CONVERSATIONS_NEXT_CURSOR,
    CONVERSATIONS_SYNC_KEY,
    CONVERSATIONS_STREAM_EPOCH,
};
enum conversation_field {
    CONVERSATION_ROOM = 1,
    CONVERSATION_PEER_ID,
    CONVERSATION_PEER_NAME,
    CONVERSATION_HEAD_SEQ,
    CONVERSATION_READ_SEQ,
    CONVERSATION_UNREAD,
    CONVERSATION_LAST_MESSAGE,
};

struct page {
    const struct conversations_params *params;
    struct store_view *view;
    struct writer *out;
    struct writer scratch, message;
    uint64_t last_room;
    uint32_t count;
    struct page_meter meter;
    bool has_more;
    enum result result;
};

/* The newest message stored here, when it is the room's newest: one who has just come in may not have it yet, or may not read it. */
static enum result pack_last_message(struct page *page, const struct conversation_row *row)
{
    if (row->head_seq <= gate_hidden_seq(row->snapshot.since_join != 0, row->conversation.joined_seq)) return RESULT_OK;
    uint64_t newest = 0;
    enum result result = timeline_newest(page->view, row->room_id, &page->message, &newest);
    if (result != RESULT_OK || newest == 0 || newest != row->head_seq) return result;
    struct message_record message;
    struct cursor c = cursor_of(writer_slice(&page->message));
    if (!message_record_read(&message, &c)) return RESULT_CORRUPT;
    wire_write_tag(page->out, CONVERSATION_LAST_MESSAGE, WIRE_BYTES);
    size_t begin = wire_nest_begin(page->out);
    message_pack(page->out, row->room_id, &message);
    wire_nest_end(page->out, begin);
    return RESULT_OK;
}

static enum result pack_conversation(struct page *page, const struct conversation_row *row)
{
    uint64_t read_seq = row->conversation.read_seq;
    wire_write_tag(page->out, CONVERSATION_ROOM, WIRE_BYTES);
    size_t room = wire_nest_begin(page->out);
    snapshot_pack(page->out, &row->snapshot, row->head_seq);
    wire_nest_end(page->out, room);
    wire_write_u64(page->out, CONVERSATION_PEER_ID, row->conversation.peer_id);
    wire_write_bytes(page->out, CONVERSATION_PEER_NAME, row->conversation.peer_name);
    wire_write_u64(page->out, CONVERSATION_HEAD_SEQ, row->head_seq);
    wire_write_u64(page->out, CONVERSATION_READ_SEQ, read_seq);
    wire_write_u64(page->out, CONVERSATION_UNREAD, row->head_seq > read_seq ? row->head_seq - read_seq : 0);
    return pack_last_message(page, row);
}

static bool take_conversation(void *context, struct slice key, struct slice value)
{
    struct page *page = context;
    page->has_more = page->count == page->params->limit || page_meter_full(&page->meter, page->out);
    if (page->has_more) return false;
    struct conversation_row row;
    page->result = conversation_row_read(&row, page->view, key, value, &page->scratch);
    if (page->result != RESULT_OK) return false;
    wire_write_tag(page->out, CONVERSATIONS_CONVERSATIONS, WIRE_BYTES);
    size_t begin = wire_nest_begin(page->out);
    page->result = pack_conversation(page, &row);
    wire_nest_end(page->out, begin);
    page->last_room = row.room_id;
    page->count++;
    return page->result == RESULT_OK;
}

void conversations_read(struct read_job *job, struct store_view *view)
{
    const struct conversations_params *params = (const void *)job->params;
    struct page page = {.params = params, .view = view, .out = &job->reply, .meter.cost_max = job->page_cost_max};
    writer_init(&page.scratch, 0);
    writer_init(&page.message, 0);
    struct key from = key_two(KEY_CONVERSATION, params->user_id, params->cursor == 0 ? 0 : params->cursor + 1);
    struct key until = key_after(KEY_CONVERSATION, params->user_id);
    enum result result = store_scan(view, key_slice(&from), key_slice(&until), take_conversation, &page);
    wire_write_u64(&job->reply, CONVERSATIONS_HAS_MORE, page.has_more);
    if (page.has_more) wire_write_u64(&job->reply, CONVERSATIONS_NEXT_CURSOR, page.last_room);
    wire_write_u64(&job->reply, CONVERSATIONS_SYNC_KEY, params->head);
    char epoch[EPOCH_TEXT_SIZE];
    epoch_write(epoch, params->epoch);
    wire_write_bytes(&job->reply, CONVERSATIONS_STREAM_EPOCH, slice_text(epoch));
    if (result != RESULT_OK || page.result != RESULT_OK) job->error = ERROR_INTERNAL;
    writer_deinit(&page.scratch);
    writer_deinit(&page.message);
}

void handle_conversations(struct shard *shard, struct request *request)
{
    Ringpost__V1__ConversationsRequest *in = REQUEST_UNPACK(shard, request, ConversationsRequest);
    if (in == NULL) return;
    if (in->limit > CONVERSATIONS_LIMIT_MAX) {
        request_refuse_because(shard, request, ERROR_BAD_FIELD, "limit: at most 500");
        return;
    }
    if (in->cursor == UINT64_MAX) {
        request_refuse_because(shard, request, ERROR_BAD_FIELD, "cursor: not one of ours");
        return;
    }
    struct entity *entity = request_entity(shard, request, ENTITY_INBOX, request->actor.user_id, 0);
    if (entity == NULL) return;
    struct conversations_params params = {.user_id = request->actor.user_id,
                                          .cursor = in->cursor,
                                          .head = inbox_of(entity)->head,
                                          .epoch = epoch_now(request_machine(shard)),
                                          .limit = in->limit == 0 ? CONVERSATIONS_LIMIT_DEFAULT : in->limit};
    request_read(shard, request, conversations_read, &params, sizeof params);
}
