/* shard/domain/room/members.c - listing a room's members by page, in ascending order of user id. */
#include "shard/domain/delivery/names.h"
#include "shard/domain/keys.h"
#include "shard/domain/room/members.h"
#include "api/wire.h"
#include "ringpost/v1/ringpost.fields.h"
#include "shard/engine/reading.h"
#include "shard/domain/room/room.h"

#define MEMBERS_LIMIT_DEFAULT 100
#define MEMBERS_LIMIT_MAX     500

struct page {
    struct writer *out;
    uint64_t last_id;
    uint32_t count, limit;
    struct page_meter meter;
    bool has_more, bad;
};

static bool take_member(void *context, struct slice key, struct slice value)
{
    struct page *page = context;
    if (page->count == page->limit || page_meter_full(&page->meter, page->out)) {
        page->has_more = true;
        return false;
    }
    struct member_record record;
    struct cursor c = cursor_of(value);
    if (!member_record_read(&record, &c)) {
        page->bad = true;
        return false;
    }
    page->last_id = key_u64_at(key, 9);
    page->count++;
    size_t begin = wire_message_begin(page->out, FIELD_MEMBERS_RESPONSE_MEMBERS);
    wire_write_u64(page->out, FIELD_MEMBER_USER_ID, page->last_id);
    wire_write_bytes(page->out, FIELD_MEMBER_NAME, record.name);
    wire_write_u64(page->out, FIELD_MEMBER_ROLE, record.role);
    wire_write_u64(page->out, FIELD_MEMBER_JOINED_MS, record.joined_ms);
    wire_nest_end(page->out, begin);
    return true;
}

void members_read(struct read_job *job, struct store_view *view)
{
    const struct members_params *params = (const void *)job->params;
    struct page page = {.out = &job->reply, .limit = params->limit, .meter.cost_max = job->page_cost_max};
    struct key from = key_two(KEY_MEMBER, params->room_id, params->cursor == 0 ? 0 : params->cursor + 1);
    struct key until = key_after(KEY_MEMBER, params->room_id);
    enum result result = store_scan(view, key_slice(&from), key_slice(&until), take_member, &page);
    if (result != RESULT_OK || page.bad) {
        job->error = ERROR_INTERNAL;
        return;
    }
    wire_write_u64(&job->reply, FIELD_MEMBERS_RESPONSE_HAS_MORE, page.has_more);
    if (page.has_more) wire_write_u64(&job->reply, FIELD_MEMBERS_RESPONSE_NEXT_CURSOR, page.last_id);
}

static void members_were_read(struct shard *shard, struct request *request, struct read_job *job)
{
    static const struct names_place place = {
        .list = FIELD_MEMBERS_RESPONSE_MEMBERS, .user_id = FIELD_MEMBER_USER_ID, .name = FIELD_MEMBER_NAME};
    names_reply(shard, request, writer_slice(&job->reply), &place);
}

void handle_members(struct shard *shard, struct request *request)
{
    Ringpost__V1__MembersRequest *in = REQUEST_UNPACK(shard, request, MembersRequest);
    if (in == NULL) return;
    if (in->limit > MEMBERS_LIMIT_MAX) {
        request_refuse_because(shard, request, ERROR_BAD_FIELD, "limit: at most 500");
        return;
    }
    if (in->cursor == UINT64_MAX) {
        request_refuse_because(shard, request, ERROR_BAD_FIELD, "cursor: not one of ours");
        return;
    }
    if (request_member_room(shard, request, in->room_id, NULL) == NULL) return;
    struct members_params params = {
        .room_id = in->room_id, .cursor = in->cursor, .limit = in->limit == 0 ? MEMBERS_LIMIT_DEFAULT : in->limit};
    request_read_then(shard, request, members_read, &params, sizeof params, members_were_read);
}
