/* tests/shard/room_world.c - see room_world.h. */
#include "shard/room_world.h"
#include "api/json.h"
#include "shard/engine/memory.h"
#include "shard/domain/room/owner_read.h"
#include "shard/engine/reading.h"
#include <criterion/criterion.h>

struct world world_create(struct machine_options options)
{
    struct world world = {.count = options.shard_count};
    cr_assert_leq(options.shard_count, WORLD_SHARDS_MAX);
    for (uint16_t i = 0; i < world.count; i++) {
        options.shard = i;
        world.shards[i] = fixture_create(&options);
    }
    return world;
}

void world_destroy(struct world *world)
{
    for (uint16_t i = 0; i < world->count; i++) fixture_destroy(world->shards[i]);
}

struct fixture *world_home(struct world *world, uint64_t id)
{
    cr_assert_lt(id_partition(id), world->count);
    return world->shards[id_partition(id)];
}

uint64_t world_user(struct world *world, uint16_t shard, const char *name)
{
    return fixture_add_user(world->shards[shard], name);
}

void world_settle(struct world *world)
{
    fixture_settle(world->shards, world->count);
}

struct slice world_people(const uint64_t *user_ids, uint32_t count)
{
    static struct writer list;
    writer_reset(&list);
    for (uint32_t i = 0; i < count; i++) {
        struct person_record person = {.user_id = user_ids[i], .name = SLICE_TEXT("guest")};
        person_record_write(&list, &person);
    }
    return writer_slice(&list);
}

/* ---- rooms ---- */

uint64_t world_create_room(struct world *world, uint64_t owner_id, const uint64_t *guest_ids, uint32_t count,
                           bool joinable)
{
    struct fixture *home = world_home(world, owner_id);
    struct room_create_record record = {.name = SLICE_TEXT("the room"),
                                        .joinable = joinable,
                                        .owner_name = SLICE_TEXT("owner"),
                                        .people = world_people(guest_ids, count)};
    cr_assert_eq(FIXTURE_RUN(home, owner_id, ROOM_CREATE, room_create, &record), ERROR_NONE);
    Ringpost__V1__CreateRoomResponse *response = FIXTURE_REPLY(home, create_room_response);
    uint64_t room_id = response->room->room_id;
    WORLD_FREE(response);
    return room_id;
}

enum error world_join(struct world *world, uint64_t user_id, uint64_t room_id)
{
    struct members_add_record record = {.room_id = room_id, .people = world_people(&user_id, 1)};
    return FIXTURE_RUN(world_home(world, room_id), user_id, MEMBERS_ADD, members_add, &record);
}

enum error world_invite(struct world *world, uint64_t actor_id, uint64_t room_id, const uint64_t *user_ids,
                        uint32_t count)
{
    struct members_add_record record = {.room_id = room_id, .invited = 1, .people = world_people(user_ids, count)};
    return FIXTURE_RUN(world_home(world, room_id), actor_id, MEMBERS_ADD, members_add, &record);
}

enum error world_leave(struct world *world, uint64_t user_id, uint64_t room_id)
{
    return world_remove(world, user_id, room_id, &user_id, 1);
}

enum error world_remove(struct world *world, uint64_t actor_id, uint64_t room_id, const uint64_t *user_ids,
                        uint32_t count)
{
    struct members_remove_record record = {.room_id = room_id, .people = world_people(user_ids, count)};
    return FIXTURE_RUN(world_home(world, room_id), actor_id, MEMBERS_REMOVE, members_remove, &record);
}

enum error world_set_role(struct world *world, uint64_t actor_id, uint64_t room_id, uint64_t user_id, uint8_t role)
{
    struct role_set_record record = {.room_id = room_id, .user_id = user_id, .role = role};
    return FIXTURE_RUN(world_home(world, room_id), actor_id, ROLE_SET, role_set, &record);
}

enum error world_update(struct world *world, uint64_t actor_id, uint64_t room_id, const char *name, bool joinable)
{
    struct room_update_record record = {.room_id = room_id, .name = slice_text(name), .joinable = joinable};
    return FIXTURE_RUN(world_home(world, room_id), actor_id, ROOM_UPDATE, room_update, &record);
}

enum error world_dismiss(struct world *world, uint64_t actor_id, uint64_t room_id)
{
    struct room_dismiss_record record = {.room_id = room_id};
    return FIXTURE_RUN(world_home(world, room_id), actor_id, ROOM_DISMISS, room_dismiss, &record);
}

/* ---- messages ---- */

struct send_record world_draft(uint64_t room_id, const char *client_id, const char *body)
{
    return (struct send_record){.room_id = room_id,
                                .client_msg_id = slice_text(client_id),
                                .sender_name = SLICE_TEXT("sender"),
                                .body = slice_text(body)};
}

struct send_record world_draft_to(uint64_t sender_id, uint64_t peer_id, const char *client_id, const char *body)
{
    struct send_record record = world_draft(0, client_id, body);
    record.low_id = sender_id < peer_id ? sender_id : peer_id;
    record.high_id = sender_id < peer_id ? peer_id : sender_id;
    record.peer_name = SLICE_TEXT("peer");
    return record;
}

enum error world_send(struct world *world, uint64_t sender_id, uint64_t room_id, const char *client_id,
                      const char *body)
{
    struct send_record record = world_draft(room_id, client_id, body);
    return FIXTURE_RUN(world_home(world, room_id), sender_id, SEND, send, &record);
}

enum error world_send_to(struct world *world, uint64_t sender_id, uint64_t peer_id, const char *client_id,
                         const char *body)
{
    struct send_record record = world_draft_to(sender_id, peer_id, client_id, body);
    return FIXTURE_RUN(world_home(world, record.low_id), sender_id, SEND, send, &record);
}

struct world_sent world_sent(struct fixture *shard)
{
    Ringpost__V1__SendResponse *response = FIXTURE_REPLY(shard, send_response);
    struct world_sent sent = {response->msg_id, response->room_id, response->seq, response->time_ms};
    WORLD_FREE(response);
    return sent;
}

enum error world_read(struct world *world, uint64_t user_id, uint64_t room_id, uint64_t seq)
{
    struct read_record record = {.user_id = user_id, .room_id = room_id, .seq = seq};
    return FIXTURE_RUN(world_home(world, user_id), user_id, READ, read, &record);
}

/* ---- pages ---- */

/* What a page_meter says of its rows is no less than what the answer has as JSON. */
static void expect_cost(const ProtobufCMessageDescriptor *descriptor, const ProtobufCMessage *response, const struct writer *reply)
{
    uint64_t rows = 0;
    for (unsigned i = 0; i < descriptor->n_fields; i++)
        if (descriptor->fields[i].label == PROTOBUF_C_LABEL_REPEATED)
            rows += *(const size_t *)(const void *)((const char *)response + descriptor->fields[i].quantifier_offset);
    struct page_meter meter = {0};
    (void)page_meter_full(&meter, reply);
    struct writer json;
    writer_init(&json, 0);
    json_from_message(response, &json, false);
    uint64_t cost = meter.cost + rows * 512;
    cr_assert_leq(json.len, cost, "%zu bytes of JSON for %zu rows of %s in %zu bytes", json.len, (size_t)rows, descriptor->name, reply->len);
    writer_deinit(&json);
}

/* What the page asks of other shards, read there. */
static void page_ask(struct world *world, struct owner_read *open)
{
    struct writer question, answer;
    writer_init(&question, 0);
    writer_init(&answer, 0);
    for (uint16_t shard = 0; shard < world->count; shard++) {
        writer_reset(&question);
        writer_reset(&answer);
        if (!owner_read_ask(open, shard, &question)) continue;
        struct store_view *view = &world->shards[shard]->store.view;
        cr_assert_eq(owner_read_rows(view, writer_slice(&question), WORLD_PAGE_COST_MAX, &answer), RESULT_OK);
        cr_assert(owner_read_take(open, shard, writer_slice(&answer)));
    }
    writer_deinit(&question);
    writer_deinit(&answer);
}

static struct read_job *page_begin(struct fixture *shard, void (*read)(struct read_job *, struct store_view *), const void *params, size_t size)
{
    struct read_job *job = memory_alloc(sizeof *job + size);
    job->page_cost_max = WORLD_PAGE_COST_MAX;
    writer_init(&job->reply, 0);
    memcpy(job->params, params, size);
    read(job, &shard->store.view);
    cr_assert_eq(job->error, ERROR_NONE);
    return job;
}

static void *page_end(struct read_job *job, const ProtobufCMessageDescriptor *descriptor)
{
    void *response = protobuf_c_message_unpack(descriptor, NULL, job->reply.len, job->reply.data);
    cr_assert_not_null(response, "the page is no %s", descriptor->name);
    expect_cost(descriptor, response, &job->reply);
    writer_deinit(&job->reply);
    free(job);
    return response;
}

static void *page_read(struct fixture *shard, void (*read)(struct read_job *, struct store_view *), const void *params,
                       size_t size, const ProtobufCMessageDescriptor *descriptor)
{
    return page_end(page_begin(shard, read, params, size), descriptor);
}

Ringpost__V1__SyncResponse *world_sync(struct world *world, uint64_t user_id, uint64_t sync_key, uint32_t limit)
{
    struct fixture *home = world_home(world, user_id);
    const struct inbox *inbox = world_inbox(world, user_id);
    struct sync_params params = {.shard = home->machine->options.shard,
                                 .user_id = user_id,
                                 .sync_key = sync_key,
                                 .head = inbox->head,
                                 .answer = inbox_judge(home->machine, inbox, sync_key, NULL),
                                 .limit = limit,
                                 .in_large_rooms = inbox->large_count > 0};
    struct read_job *job = page_begin(home, sync_read, &params, sizeof params);
    struct sync_params *read = (void *)job->params;
    if (read->open != NULL) {
        page_ask(world, read->open);
        cr_assert(sync_fill(read->open, WORLD_PAGE_COST_MAX, read, &job->reply));
        owner_read_destroy(read->open);
    }
    sync_end(read, &job->reply);
    return page_end(job, &ringpost__v1__sync_response__descriptor);
}

Ringpost__V1__HistoryResponse *world_history(struct world *world, uint64_t room_id, bool upwards, uint64_t seq, uint32_t limit)
{
    struct history_params params = {.room_id = room_id,
                                    .head_seq = world_room(world, room_id)->head_seq,
                                    .upwards = upwards,
                                    .before_seq = upwards ? 0 : seq,
                                    .after_seq = upwards ? seq : 0,
                                    .limit = limit};
    return page_read(world_home(world, room_id), history_read, &params, sizeof params,
                     &ringpost__v1__history_response__descriptor);
}

Ringpost__V1__ConversationsResponse *world_conversations(struct world *world, uint64_t user_id, uint64_t cursor,
                                                         uint32_t limit)
{
    struct conversations_params params = {.shard = id_partition(user_id),
                                          .user_id = user_id,
                                          .cursor = cursor,
                                          .head = world_inbox(world, user_id)->head,
                                          .limit = limit};
    struct read_job *job = page_begin(world_home(world, user_id), conversations_read, &params, sizeof params);
    struct conversations_params *read = (void *)job->params;
    if (read->open != NULL) {
        page_ask(world, read->open);
        cr_assert(conversations_fill(read->open, WORLD_PAGE_COST_MAX, read, &job->reply));
        owner_read_destroy(read->open);
    }
    conversations_end(read, &job->reply);
    return page_end(job, &ringpost__v1__conversations_response__descriptor);
}

Ringpost__V1__MembersResponse *world_members(struct world *world, uint64_t room_id, uint64_t cursor, uint32_t limit)
{
    struct members_params params = {.room_id = room_id, .cursor = cursor, .limit = limit};
    return page_read(world_home(world, room_id), members_read, &params, sizeof params,
                     &ringpost__v1__members_response__descriptor);
}

struct room *world_room(struct world *world, uint64_t room_id)
{
    return room_of(fixture_entity(world_home(world, room_id), ENTITY_ROOM, room_id, 0));
}

struct inbox *world_inbox(struct world *world, uint64_t user_id)
{
    return inbox_of(fixture_entity(world_home(world, user_id), ENTITY_INBOX, user_id, 0));
}

struct view *world_view(struct world *world, uint16_t shard, uint64_t room_id)
{
    return view_of(fixture_entity(world->shards[shard], ENTITY_VIEW, room_id, 0));
}
