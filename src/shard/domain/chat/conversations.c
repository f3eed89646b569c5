/* shard/domain/chat/conversations.c - a user's rooms by page, each with its head, how far it is read, and its last message.
 * Heads and last messages of rooms that other shards own come from those (pages.h). The sync_key of the answer is that of the moment the page
 * was asked for: everything later comes through sync. */
#include "api/wire.h"
#include "ringpost/v1/ringpost.fields.h"
#include "shard/domain/delivery/inbox.h"
#include "shard/domain/delivery/names.h"
#include "shard/domain/chat/pages.h"
#include "shard/domain/room/conversation.h"
#include "shard/domain/room/gate.h"
#include "shard/domain/room/owner_read.h"
#include "shard/engine/memory.h"
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

struct row { /* a conversation of the page */
    uint64_t room_id;
    uint32_t start, end; /* in the packed bytes; where open, in the open ones */
    uint32_t head; /* number + 1 among those that owners are asked for; 0: packed */
};
struct rest { /* of a page with something open */
    struct writer packed; /* conversations one after another */
    struct writer open;   /* { u64 head_seq, as far as it is known here | snapshot_record | conversation_record }… */
    struct row *rows;     /* owned */
    uint32_t count, capacity;
    struct conversations_params params;
};

struct page {
    struct conversations_params *params;
    struct store_view *view;
    struct writer *out;
    struct writer scratch, message;
    struct owner_read *open; /* NULL: nothing */
    uint32_t open_heads;
    struct rest rest;
    uint32_t count;
    struct page_meter meter;
    enum result result;
};

static uint64_t hidden_seq_of(const struct conversation_row *row)
{
    return gate_hidden_seq(row->snapshot.since_join != 0, row->conversation.joined_seq);
}

/* ---- one conversation ---- */

/* The newest message stored here, when it is the room's newest: one who has just come in may not have it yet, or may not read it. */
static enum result read_last_message(struct page *page, const struct conversation_row *row, struct slice *last)
{
    *last = SLICE_EMPTY;
    if (row->head_seq <= hidden_seq_of(row)) return RESULT_OK;
    uint64_t newest = 0;
    enum result result = timeline_newest(page->view, row->room_id, &page->message, &newest);
    if (result == RESULT_OK && newest != 0 && newest == row->head_seq) *last = writer_slice(&page->message);
    return result;
}

/* `last`: its message_record, or nothing. */
static bool pack_conversation(struct writer *out, const struct conversation_row *row, struct slice last)
{
    uint64_t read_seq = row->conversation.read_seq;
    wire_write_tag(out, CONVERSATIONS_CONVERSATIONS, WIRE_BYTES);
    size_t conversation = wire_nest_begin(out);
    wire_write_tag(out, CONVERSATION_ROOM, WIRE_BYTES);
    size_t room = wire_nest_begin(out);
    snapshot_pack(out, &row->snapshot, row->head_seq);
    wire_nest_end(out, room);
    wire_write_u64(out, CONVERSATION_PEER_ID, row->conversation.peer_id);
    wire_write_bytes(out, CONVERSATION_PEER_NAME, row->conversation.peer_name);
    wire_write_u64(out, CONVERSATION_HEAD_SEQ, row->head_seq);
    wire_write_u64(out, CONVERSATION_READ_SEQ, read_seq);
    wire_write_u64(out, CONVERSATION_UNREAD, row->head_seq > read_seq ? row->head_seq - read_seq : 0);
    struct message_record message;
    struct cursor c = cursor_of(last);
    bool good = last.len == 0 || message_record_read(&message, &c);
    if (good && last.len > 0) {
        wire_write_tag(out, CONVERSATION_LAST_MESSAGE, WIRE_BYTES);
        size_t begin = wire_nest_begin(out);
        message_pack(out, row->room_id, &message);
        wire_nest_end(out, begin);
    }
    wire_nest_end(out, conversation);
    return good;
}

/* ---- the first step ---- */

static void row_add(struct page *page, uint64_t room_id, size_t start, size_t end, uint32_t head)
{
    struct rest *rest = &page->rest;
    if (rest->count == rest->capacity) {
        rest->capacity = rest->capacity == 0 ? 32 : rest->capacity * 2;
        rest->rows = memory_resize(rest->rows, rest->capacity * sizeof *rest->rows);
    }
    rest->rows[rest->count++] = (struct row){.room_id = room_id, .start = (uint32_t)start, .end = (uint32_t)end, .head = head};
}

static void leave_open(struct page *page, const struct conversation_row *row)
{
    if (page->open == NULL) page->open = owner_read_create(page->params->shard, page->params->user_id, true);
    owner_read_head(page->open, &(struct owner_head){.room_id = row->room_id,
                                                     .read_seq = row->conversation.read_seq,
                                                     .hidden_seq = hidden_seq_of(row),
                                                     .large = row->snapshot.large != 0});
    struct writer *open = &page->rest.open;
    size_t start = open->len;
    writer_u64(open, row->head_seq);
    snapshot_record_write(open, &row->snapshot);
    conversation_record_write(open, &row->conversation);
    row_add(page, row->room_id, start, open->len, ++page->open_heads);
}

static bool take_conversation(void *context, struct slice key, struct slice value)
{
    struct page *page = context;
    page->params->has_more = page->count == page->params->limit || page_meter_full(&page->meter, page->out);
    if (page->params->has_more) return false;
    struct conversation_row row;
    struct slice last;
    page->result = conversation_row_read(&row, page->view, page->params->shard, key, value, &page->scratch);
    if (page->result != RESULT_OK) return false;
    page->params->last_room = row.room_id;
    page->count++;
    if (id_partition(row.room_id) != page->params->shard) {
        leave_open(page, &row);
        return true;
    }
    size_t start = page->out->len;
    page->result = read_last_message(page, &row, &last);
    if (page->result == RESULT_OK && !pack_conversation(page->out, &row, last)) page->result = RESULT_CORRUPT;
    row_add(page, row.room_id, start, page->out->len, 0);
    return page->result == RESULT_OK;
}

static void rest_free(void *state)
{
    struct rest *rest = state;
    writer_deinit(&rest->packed);
    writer_deinit(&rest->open);
    free(rest->rows);
    free(rest);
}

static void page_keep(struct page *page, struct read_job *job)
{
    struct rest *rest = memory_alloc(sizeof *rest);
    *rest = page->rest;
    rest->packed = job->reply;
    rest->params = *page->params;
    writer_init(&job->reply, 0);
    owner_read_set_page(page->open, rest, rest_free);
    page->params->open = page->open;
}

void conversations_read(struct read_job *job, struct store_view *view)
{
    struct conversations_params *params = (void *)job->params;
    struct page page = {.params = params, .view = view, .out = &job->reply, .meter.cost_max = job->page_cost_max};
    writer_init(&page.scratch, 0);
    writer_init(&page.message, 0);
    writer_init(&page.rest.open, 0);
    struct key from = key_two(KEY_CONVERSATION, params->user_id, params->cursor == 0 ? 0 : params->cursor + 1);
    struct key until = key_after(KEY_CONVERSATION, params->user_id);
    enum result result = store_scan(view, key_slice(&from), key_slice(&until), take_conversation, &page);
    if (result != RESULT_OK || page.result != RESULT_OK || job->reply.failed) job->error = ERROR_INTERNAL;
    writer_deinit(&page.scratch);
    writer_deinit(&page.message);
    if (page.open != NULL && job->error == ERROR_NONE) {
        page_keep(&page, job);
        return;
    }
    owner_read_destroy(page.open);
    writer_deinit(&page.rest.open);
    free(page.rest.rows);
}

/* ---- the second step ---- */

/* Whether `out` has the conversation now, of which `known` is known here. */
static bool fill_open(const struct owner_read *open, uint32_t index, struct slice known, struct writer *out)
{
    struct conversation_row row;
    struct owner_head head;
    struct cursor c = cursor_of(known);
    if (!owner_read_head_of(open, index, &head)) return false;
    row.room_id = head.room_id;
    row.head_seq = cursor_u64(&c);
    bool read = snapshot_record_read(&row.snapshot, &c) && conversation_record_read(&row.conversation, &c) && cursor_done(&c);
    ASSERT(read);
    row.conversation.read_seq = head.read_seq;
    if (head.head_seq > row.head_seq) row.head_seq = head.head_seq;
    bool packed = pack_conversation(out, &row, head.last);
    ASSERT(packed); /* owner_read.c has looked */
    return true;
}

static bool row_fill(const struct owner_read *open, const struct rest *rest, const struct row *row, struct writer *out)
{
    uint32_t len = row->end - row->start;
    if (row->head > 0) return fill_open(open, row->head - 1, slice_of(rest->open.data + row->start, len), out);
    writer_raw(out, rest->packed.data + row->start, len);
    return true;
}

bool conversations_fill(const struct owner_read *open, uint32_t cost_max, struct conversations_params *params, struct writer *out)
{
    const struct rest *rest = owner_read_page(open);
    struct page_meter meter = {.cost_max = cost_max};
    uint32_t i = 0;
    while (i < rest->count && !page_meter_full(&meter, out) && row_fill(open, rest, &rest->rows[i], out)) i++;
    params->has_more |= i < rest->count;
    if (i > 0) params->last_room = rest->rows[i - 1].room_id;
    return i > 0;
}

void conversations_end(const struct conversations_params *params, struct writer *out)
{
    wire_write_u64(out, CONVERSATIONS_HAS_MORE, params->has_more);
    if (params->has_more) wire_write_u64(out, CONVERSATIONS_NEXT_CURSOR, params->last_room);
    wire_write_u64(out, CONVERSATIONS_SYNC_KEY, params->head);
    char epoch[EPOCH_TEXT_SIZE];
    epoch_write(epoch, params->epoch);
    wire_write_bytes(out, CONVERSATIONS_STREAM_EPOCH, slice_text(epoch));
}

static const struct names_place peers = {
    .list = FIELD_CONVERSATIONS_RESPONSE_CONVERSATIONS, .user_id = FIELD_CONVERSATION_PEER_ID, .name = FIELD_CONVERSATION_PEER_NAME};

static void conversations_told(struct shard *shard, struct request *request)
{
    const struct owner_read *open = request->lookup;
    struct conversations_params params = ((const struct rest *)owner_read_page(open))->params;
    struct writer reply;
    writer_init(&reply, 0);
    bool filled = conversations_fill(open, shard_limits(shard)->page_cost_max, &params, &reply);
    conversations_end(&params, &reply);
    if (filled && !reply.failed) names_reply(shard, request, writer_slice(&reply), &peers);
    else request_refuse(shard, request, ERROR_INTERNAL);
    writer_deinit(&reply);
}

static void conversations_were_read(struct shard *shard, struct request *request, struct read_job *job)
{
    const struct conversations_params *params = (const void *)job->params;
    if (params->open == NULL) {
        conversations_end(params, &job->reply);
        names_reply(shard, request, writer_slice(&job->reply), &peers);
        return;
    }
    request->lookup = params->open;
    request->free_lookup = owner_read_destroy;
    if (owner_read_begin(shard, request, params->open, conversations_told)) conversations_told(shard, request);
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
    struct conversations_params params = {.shard = shard_number(shard),
                                          .user_id = request->actor.user_id,
                                          .cursor = in->cursor,
                                          .head = inbox_of(entity)->head,
                                          .epoch = epoch_now(request_machine(shard)),
                                          .limit = in->limit == 0 ? CONVERSATIONS_LIMIT_DEFAULT : in->limit};
    request_read_then(shard, request, conversations_read, &params, sizeof params, conversations_were_read);
}
