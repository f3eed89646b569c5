/* tests/shard/domain/room/replay_test.c - many random commands on several shards: what must hold afterwards, and the same log
 * again gives the same bytes, also on a machine that forgets every entity after each batch. */
#include "shard/room_world.h"
#include <criterion/criterion.h>
#include <stdio.h>

#define SHARDS    3
#define USERS     12
#define ROOMS_MAX 64
#define STEPS     600

struct play {
    struct world world;
    uint64_t state; /* of the generator */
    uint64_t users[USERS], rooms[ROOMS_MAX];
    uint32_t room_count, message_count;
};

static uint32_t draw(struct play *play, uint32_t below)
{
    play->state ^= play->state << 13;
    play->state ^= play->state >> 7;
    play->state ^= play->state << 17;
    return (uint32_t)(play->state >> 33) % below;
}

static struct machine_options play_options(uint16_t shard)
{
    struct machine_options options = fixture_options(shard, SHARDS);
    options.limits[LIMIT_FANOUT_THRESHOLD] = 5;
    options.limits[LIMIT_ROOM_MEMBERS_MAX] = 8;
    options.limits[LIMIT_INBOX_EVENTS_MAX] = 30;
    return options;
}

static void add_users(struct fixture *shard, uint64_t *users, uint16_t number)
{
    for (uint32_t i = 0; i < USERS; i++)
        if (i % SHARDS == number) users[i] = fixture_add_user(shard, "somebody");
}

static void propose_send(struct play *play, uint64_t actor, uint64_t room_id)
{
    char client_id[16];
    snprintf(client_id, sizeof client_id, "%u",
             play->message_count += draw(play, 4) > 0); /* now and then the same again */
    struct send_record record = world_draft(room_id, client_id, "a body");
    struct fixture *shard = world_home(&play->world, room_id);
    if (draw(play, 3) == 0) {
        uint64_t peer = play->users[draw(play, USERS)];
        if (peer == actor) return;
        record = world_draft_to(actor, peer, client_id, "a body");
        shard = world_home(&play->world, record.low_id);
        struct direct *direct = direct_of(fixture_entity(shard, ENTITY_DIRECT, record.low_id, record.high_id));
        if (direct->entity.exists) record.room_id = direct->room_id; /* as the handler does */
    }
    (void)FIXTURE_PROPOSE(shard, actor, SEND, send, &record);
}

static void propose_members(struct play *play, uint64_t actor, uint64_t room_id)
{
    struct fixture *shard = world_home(&play->world, room_id);
    uint32_t action = draw(play, 4), first = draw(play, USERS - 3), count = 1 + draw(play, 3);
    bool oneself = action < 2;
    struct slice people = oneself ? world_people(&actor, 1) : world_people(play->users + first, count);
    if (!oneself)
        for (uint32_t i = 0; i < count; i++)
            if (play->users[first + i] == actor) return;
    struct members_add_record add = {.room_id = room_id, .invited = !oneself, .people = people};
    struct members_remove_record remove = {.room_id = room_id, .people = people};
    if (action % 2 == 0 || draw(play, 2) == 0)
        (void)FIXTURE_PROPOSE(shard, actor, MEMBERS_ADD, members_add, &add);
    else
        (void)FIXTURE_PROPOSE(shard, actor, MEMBERS_REMOVE, members_remove, &remove);
}

static void propose_rare(struct play *play, uint64_t actor, uint64_t room_id)
{
    struct fixture *shard = world_home(&play->world, room_id);
    struct role_set_record set = {
        .room_id = room_id, .user_id = play->users[draw(play, USERS)], .role = (uint8_t)draw(play, 3)};
    struct room_update_record update = {.room_id = room_id,
                                        .name = draw(play, 2) ? SLICE_TEXT("one name") : SLICE_TEXT("another"),
                                        .joinable = draw(play, 4) > 0};
    struct room_dismiss_record dismiss = {.room_id = room_id};
    uint32_t action = draw(play, 20);
    if (action < 10)
        (void)FIXTURE_PROPOSE(shard, actor, ROLE_SET, role_set, &set);
    else if (action < 19)
        (void)FIXTURE_PROPOSE(shard, actor, ROOM_UPDATE, room_update, &update);
    else
        (void)FIXTURE_PROPOSE(shard, actor, ROOM_DISMISS, room_dismiss, &dismiss);
}

static void propose_one(struct play *play)
{
    uint64_t actor = play->users[draw(play, USERS)], room_id = play->rooms[draw(play, play->room_count)];
    uint32_t action = draw(play, 20);
    struct read_record read = {.user_id = actor, .room_id = room_id, .seq = 1 + draw(play, 50)};
    if (action < 10)
        propose_send(play, actor, room_id);
    else if (action < 16)
        propose_members(play, actor, room_id);
    else if (action < 18)
        propose_rare(play, actor, room_id);
    else
        (void)FIXTURE_PROPOSE(world_home(&play->world, actor), actor, READ, read, &read);
}

static struct play play_create(uint64_t seed)
{
    struct play play = {.world = world_create(play_options(0)), .state = seed * 0x9e3779b97f4a7c15ull + 1};
    for (uint16_t i = 0; i < SHARDS; i++) add_users(play.world.shards[i], play.users, i);
    return play;
}

static void play_steps(struct play *play)
{
    for (int step = 0; step < STEPS; step++) {
        if (play->room_count < 6 || (play->room_count < ROOMS_MAX && draw(play, 60) == 0)) {
            uint32_t first = draw(play, USERS - 4), owner = draw(play, USERS);
            if (owner >= first && owner < first + 4) continue;
            play->rooms[play->room_count++] =
                world_create_room(&play->world, play->users[owner], play->users + first, 1 + draw(play, 4), true);
        }
        for (uint32_t i = 1 + draw(play, 6); i > 0; i--) propose_one(play);
        for (uint16_t i = 0; i < SHARDS; i++) {
            if (play->world.shards[i]->first == NULL) continue;
            while (play->world.shards[i]->first != NULL) (void)fixture_apply(play->world.shards[i]);
            fixture_end_batch(play->world.shards[i]);
        }
        if (draw(play, 3) == 0) world_settle(&play->world);
    }
    world_settle(&play->world);
}

/* ---- what must hold ---- */

static void check_room(struct play *play, uint64_t room_id)
{
    struct fixture *home = world_home(&play->world, room_id);
    struct room *room = world_room(&play->world, room_id);
    cr_expect_eq(fixture_messages(home, room_id), room->head_seq, "seq without holes");
    cr_expect_eq(fixture_count(home, KEY_MEMBER, room_id), room->member_count);
    cr_expect_leq(room->member_count, 8);
    uint32_t owners = 0;
    for (uint16_t shard = 0; shard < SHARDS; shard++) {
        cr_expect_eq(fixture_count(play->world.shards[shard], KEY_LOCAL, room_id), room->shard_counts[shard]);
        struct view *view = world_view(&play->world, shard, room_id);
        if (room->shard_counts[shard] == 0) continue;
        if (id_partition(room_id) == shard) cr_expect_eq(view->head_seq, room->head_seq);
        else cr_expect_leq(view->head_seq, room->head_seq, "as of the last change");
        cr_expect_eq(view->large, room->large);
        cr_expect_eq(view->owner_id, room->owner_id);
        cr_expect_str_eq(view->name, room->name);
    }
    for (uint32_t i = 0; i < USERS; i++) {
        struct fixture *user_home = world_home(&play->world, play->users[i]);
        struct member *member = member_of(fixture_entity(home, ENTITY_MEMBER, room_id, play->users[i]));
        struct entity *conversation = fixture_entity(user_home, ENTITY_CONVERSATION, play->users[i], room_id);
        cr_expect_eq(member->entity.exists, conversation->exists, "both sides know who is a member");
        owners += member->entity.exists && member->role == ROLE_OWNER;
    }
    cr_expect_eq(owners,
                 room->member_count > 0 && room->type == TYPE_GROUP && !(room->dismissed && owners == 0) ? 1 : 0);
}

static void check_user(struct play *play, uint64_t user_id)
{
    struct fixture *home = world_home(&play->world, user_id);
    struct inbox *inbox = world_inbox(&play->world, user_id);
    uint64_t key = inbox->head > 30 ? inbox->head - 30 : 0;
    cr_expect_eq(fixture_events(home, user_id, key + 1), inbox->head - key, "a window without holes");
    cr_expect_leq(fixture_events(home, user_id, 0), 3 * 30, "old entries go");
    cr_expect_eq(fixture_count(home, KEY_CONVERSATION, user_id), inbox->room_count);
    Ringpost__V1__SyncResponse *sync = world_sync(&play->world, user_id, key, 100);
    for (size_t i = 0; i < sync->n_events; i++) cr_expect_eq(sync->events[i]->sync_key, key + i + 1);
    WORLD_FREE(sync);
    WORLD_FREE(world_conversations(&play->world, user_id, 0, 100));
}

static struct fixture *play_again(const struct play *play, uint16_t shard, bool forgetful, uint32_t batch_len)
{
    struct machine_options options = play_options(shard);
    if (forgetful) options.entities_max = 1;
    struct fixture *again = fixture_create(&options);
    again->forgetful = forgetful;
    uint64_t users[USERS];
    add_users(again, users, shard);
    fixture_replay(play->world.shards[shard], again, batch_len);
    return again;
}

static void check_again(const struct play *play, uint16_t shard, bool forgetful)
{
    const struct fixture *first = play->world.shards[shard];
    struct fixture *again = play_again(play, shard, forgetful, 0);
    cr_expect_eq(again->journal.len, first->journal.len, "shard %d, forgetful %d", shard, forgetful);
    cr_expect(slice_equal(writer_slice(&again->journal), writer_slice(&first->journal)), "shard %d, forgetful %d",
              shard, forgetful);
    fixture_destroy(again);
}

/* Where batches end is no part of the state, and neither is what was evicted. */
static void check_state(const struct play *play, uint16_t shard)
{
    static const uint32_t batch_lens[] = {1, 2, 7, 100000};
    uint64_t state = machine_state_hash(play->world.shards[shard]->machine);
    for (uint32_t i = 0; i < 2 * COUNT_OF(batch_lens); i++) {
        struct fixture *again = play_again(play, shard, i % 2 == 1, batch_lens[i / 2]);
        cr_expect_eq(machine_state_hash(again->machine), state, "shard %d, %u commands in a batch, forgetful %u", shard, batch_lens[i / 2], i % 2);
        fixture_destroy(again);
    }
}

Test(room_replay, random_commands_keep_the_rules_and_replay_to_the_same_bytes)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct play play = play_create(seed);
        play_steps(&play);
        for (uint32_t i = 0; i < play.room_count; i++) check_room(&play, play.rooms[i]);
        for (uint32_t i = 0; i < USERS; i++) check_user(&play, play.users[i]);
        for (uint16_t i = 0; i < SHARDS; i++) {
            check_again(&play, i, false);
            check_again(&play, i, true);
            check_state(&play, i);
        }
        world_destroy(&play.world);
    }
}
