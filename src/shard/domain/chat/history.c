/* shard/domain/chat/history.c - a room's timeline by page, for its members: down from the newest, or up from a seq the client
 * has. For each of them it begins where room/gate.h says: what lies before is neither given nor counted as more. */
#include "api/wire.h"
#include "shard/domain/chat/pages.h"
#include "shard/engine/memory.h"
#include "shard/domain/room/gate.h"
#include "shard/engine/reading.h"
#include "shard/domain/room/room.h"
#include "shard/domain/room/timeline.h"
#include "shard/domain/room/view.h"

#define HISTORY_LIMIT_DEFAULT 50
#define HISTORY_LIMIT_MAX     200

enum history_field { HISTORY_MESSAGES = 1, HISTORY_HAS_MORE, HISTORY_NEXT_SEQ, HISTORY_HEAD_SEQ, HISTORY_HIDDEN_SEQ };

struct page {
    const struct history_params *params;
    struct writer *out;
    uint64_t last_seq; /* of the last message on the page; of an empty page where it would begin */
    uint32_t count;
    struct page_meter meter;
    bool has_more, bad;
};

static bool page_full(struct page *page)
{
    return page->count == page->params->limit || page_meter_full(&page->meter, page->out);
}

static void page_add(struct page *page, uint64_t seq, struct slice value)
{
    struct message_record message;
    struct cursor c = cursor_of(value);
    if (!message_record_read(&message, &c)) {
        page->bad = true;
        return;
    }
    wire_write_tag(page->out, HISTORY_MESSAGES, WIRE_BYTES);
    size_t begin = wire_nest_begin(page->out);
    message_pack(page->out, page->params->room_id, &message);
    wire_nest_end(page->out, begin);
    page->last_seq = seq;
    page->count++;
}

/* ---- downwards: in the order of the timeline ---- */

static bool take_message(void *context, uint64_t seq, struct slice record)
{
    struct page *page = context;
    if (seq <= page->params->hidden_seq) return false;
    page->has_more = page_full(page);
    if (page->has_more) return false;
    page_add(page, seq, record);
    return !page->bad;
}

static enum result read_down(struct page *page, struct store_view *view)
{
    const struct history_params *params = page->params;
    uint64_t newest = params->before_seq == 0 ? UINT64_MAX : params->before_seq - 1;
    return timeline_down(view, params->room_id, newest, take_message, page);
}

/* ---- upwards: the messages of the page, newest first, then the other way round ---- */

struct stack {
    struct writer bytes;
    size_t *starts; /* of each record in bytes */
    uint32_t count, capacity;
    uint64_t newest_seq; /* asked for; the one before it is the next, and so on */
};

static bool push_record(void *context, uint64_t seq, struct slice record)
{
    struct stack *stack = context;
    if (seq != stack->newest_seq - stack->count) return false; /* a hole */
    stack->starts[stack->count++] = stack->bytes.len;
    writer_raw(&stack->bytes, record.data, record.len);
    return stack->count < stack->capacity;
}

static enum result read_up(struct page *page, struct store_view *view)
{
    const struct history_params *params = page->params;
    if (params->after_seq >= params->head_seq) return RESULT_OK;
    uint64_t left = params->head_seq - params->after_seq;
    struct stack stack = {.capacity = left < params->limit ? (uint32_t)left : params->limit};
    stack.newest_seq = params->after_seq + stack.capacity;
    writer_init(&stack.bytes, 0);
    stack.starts = memory_alloc(stack.capacity * sizeof *stack.starts);
    enum result result = timeline_down(view, params->room_id, stack.newest_seq, push_record, &stack);
    if (result == RESULT_OK && (stack.count != stack.capacity || stack.bytes.failed))
        result = RESULT_CORRUPT; /* no holes */
    size_t end = stack.bytes.len;
    for (uint32_t i = stack.count; i > 0 && result == RESULT_OK && !page->bad && !page_full(page); i--) {
        size_t start = stack.starts[i - 1];
        page_add(page, params->after_seq + (stack.count - i) + 1, slice_of(stack.bytes.data + start, end - start));
        end = start;
    }
    page->has_more = page->last_seq < params->head_seq;
    free(stack.starts);
    writer_deinit(&stack.bytes);
    return result;
}

void history_read(struct read_job *job, struct store_view *view)
{
    const struct history_params *params = (const void *)job->params;
    struct page page = {.params = params,
                        .out = &job->reply,
                        .last_seq = params->upwards ? params->after_seq : params->before_seq,
                        .meter.cost_max = job->page_cost_max};
    enum result result = params->upwards ? read_up(&page, view) : read_down(&page, view);
    if (result != RESULT_OK || page.bad) {
        job->error = ERROR_INTERNAL;
        return;
    }
    wire_write_u64(&job->reply, HISTORY_HAS_MORE, page.has_more);
    wire_write_u64(&job->reply, HISTORY_NEXT_SEQ, page.last_seq);
    wire_write_u64(&job->reply, HISTORY_HEAD_SEQ, params->head_seq);
    wire_write_u64(&job->reply, HISTORY_HIDDEN_SEQ, params->hidden_seq);
}

void handle_history(struct shard *shard, struct request *request)
{
    Ringpost__V1__HistoryRequest *in = REQUEST_UNPACK(shard, request, HistoryRequest);
    if (in == NULL) return;
    if (in->limit > HISTORY_LIMIT_MAX) {
        request_refuse_because(shard, request, ERROR_BAD_FIELD, "limit: at most 200");
        return;
    }
    const struct member *member;
    const struct room *room = request_member_room(shard, request, in->room_id, &member);
    if (room == NULL) return;
    uint64_t hidden_seq = gate_hidden_seq(room->since_join, member->joined_seq);
    bool upwards = in->direction_case == RINGPOST__V1__HISTORY_REQUEST__DIRECTION_AFTER_SEQ;
    bool downwards = in->direction_case == RINGPOST__V1__HISTORY_REQUEST__DIRECTION_BEFORE_SEQ;
    struct history_params params = {.room_id = in->room_id,
                                    .head_seq = room->head_seq,
                                    .hidden_seq = hidden_seq,
                                    .upwards = upwards,
                                    .before_seq = downwards ? in->before_seq : 0,
                                    .after_seq = !upwards                       ? 0
                                                 : in->after_seq < hidden_seq ? hidden_seq
                                                                              : in->after_seq,
                                    .limit = in->limit == 0 ? HISTORY_LIMIT_DEFAULT : in->limit};
    request_read(shard, request, history_read, &params, sizeof params);
}
