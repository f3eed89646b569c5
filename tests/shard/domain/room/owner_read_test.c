/* tests/shard/domain/room/owner_read_test.c - messages and heads asked of the shards that own them: the right ones, in order, as many as a page
 * takes, and nothing that another shard would not say. */
#include "shard/domain/room/owner_read.h"
#include "shard/room_world.h"
#include <criterion/criterion.h>

#define COST_MAX (64u << 10)

static struct world world;
static uint64_t ada, bob, room_id; /* ada and the room are at home on shard 0, bob on shard 1 */

static void begin(void)
{
    world = world_create(fixture_options(0, 2));
    ada = world_user(&world, 0, "ada");
    bob = world_user(&world, 1, "bob");
    room_id = world_create_room(&world, ada, &bob, 1, true);
    world_settle(&world);
}

static void say(uint64_t who, const char *id, const char *body)
{
    cr_assert_eq(world_send(&world, who, room_id, id, body), ERROR_NONE);
    world_settle(&world);
}

/* Of the owner, with so much room. */
static enum result ask(struct owner_read *read, uint32_t cost_max)
{
    struct writer question, answer;
    writer_init(&question, 0);
    writer_init(&answer, 0);
    cr_assert(owner_read_ask(read, 0, &question));
    enum result result = owner_read_rows(&world.shards[0]->store.view, writer_slice(&question), cost_max, &answer);
    if (result == RESULT_OK) cr_assert(owner_read_take(read, 0, writer_slice(&answer)));
    writer_deinit(&question);
    writer_deinit(&answer);
    return result;
}

static bool body_is(const struct owner_read *read, uint32_t index, const char *body)
{
    struct owner_message message;
    if (!owner_read_message_of(read, index, &message)) return false;
    struct message_record record = RECORD_OF(message, message.record);
    return slice_equal(record.body, slice_text(body));
}

Test(owner_read, messages_come_in_the_order_asked_as_far_as_a_page_goes)
{
    begin();
    say(ada, "1", "one");
    say(bob, "2", "two");
    say(ada, "3", "three");
    static const struct { uint32_t cost_max, count; } cases[] = {{1, 1}, {1100, 1}, {1600, 2}, {COST_MAX, 3}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct owner_read *read = owner_read_create(1, bob, false);
        struct owner_message message;
        owner_read_message(read, room_id, 3);
        owner_read_message(read, room_id, 1);
        owner_read_message(read, room_id, 2);
        cr_assert_eq(ask(read, cases[i].cost_max), RESULT_OK);
        uint32_t count = 0;
        for (uint32_t n = 0; n < 3; n++) count += owner_read_message_of(read, n, &message);
        cr_expect_eq(count, cases[i].count, "%u of 3 for %u", count, cases[i].cost_max);
        cr_expect(body_is(read, 0, "three") && (count < 2 || body_is(read, 1, "one")) && (count < 3 || body_is(read, 2, "two")));
        owner_read_destroy(read);
    }
    struct owner_read *none = owner_read_create(1, bob, false);
    owner_read_message(none, room_id, 4);
    cr_expect_eq(ask(none, COST_MAX), RESULT_MISSING);
    owner_read_destroy(none);
    world_destroy(&world);
}

Test(owner_read, heads_are_for_members_and_what_follows_the_mark_by_oneself_is_read)
{
    begin();
    say(ada, "1", "one");
    say(bob, "2", "two");
    say(bob, "3", "three");
    say(ada, "4", "four");
    uint64_t eve = world_user(&world, 1, "eve");
    const struct { const char *name; uint64_t user, read, hidden; bool large, with_last; uint64_t head_seq, read_seq, last_seq; } cases[] = {
        {"a member", bob, 0, 0, false, true, 4, 0, 4},
        {"who wants no messages", bob, 0, 0, false, false, 4, 0, 0},
        {"who came in at the head", bob, 4, 4, false, true, 4, 4, 0},
        {"whose own follow", bob, 1, 0, true, true, 4, 3, 4},
        {"whose own follow in a small room: its shard heard of them", bob, 1, 0, false, true, 4, 1, 4},
        {"whose own do not follow", bob, 0, 0, true, true, 4, 0, 4},
        {"who has read all", bob, 4, 0, true, true, 4, 4, 4},
        {"who is no member", eve, 2, 0, true, true, 0, 2, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct owner_read *read = owner_read_create(1, cases[i].user, cases[i].with_last);
        struct owner_head head = {.room_id = room_id, .read_seq = cases[i].read, .hidden_seq = cases[i].hidden, .large = cases[i].large};
        owner_read_head(read, &head);
        cr_assert(!owner_read_head_of(read, 0, &head));
        cr_assert_eq(ask(read, COST_MAX), RESULT_OK);
        cr_assert(owner_read_head_of(read, 0, &head));
        uint64_t last_seq = head.last.len == 0 ? 0 : RECORD_OF(message, head.last).seq;
        cr_expect(head.head_seq == cases[i].head_seq && head.read_seq == cases[i].read_seq && last_seq == cases[i].last_seq,
                  "%s: head %d, read %d, last %d", cases[i].name, (int)head.head_seq, (int)head.read_seq, (int)last_seq);
        owner_read_destroy(read);
    }
    world_destroy(&world);
}

/* The mark is the member's home shard's, which may not have heard yet. */
Test(owner_read, the_last_message_is_for_who_may_read_it_now)
{
    begin();
    struct room_update_record update = {
        .room_id = room_id, .name = SLICE_TEXT("crew"), .joinable = 1, .history = RINGPOST__V1__ROOM_HISTORY__SINCE_JOIN};
    cr_assert_eq(FIXTURE_RUN(world.shards[0], ada, ROOM_UPDATE, room_update, &update), ERROR_NONE);
    cr_assert_eq(world_leave(&world, bob, room_id), ERROR_NONE);
    say(ada, "1", "while he was away");
    cr_assert_eq(world_join(&world, bob, room_id), ERROR_NONE);
    for (uint32_t said = 0; said < 2; said++) {
        struct owner_read *read = owner_read_create(1, bob, true);
        struct owner_head head = {.room_id = room_id};
        owner_read_head(read, &head);
        cr_assert_eq(ask(read, COST_MAX), RESULT_OK);
        cr_assert(owner_read_head_of(read, 0, &head));
        cr_expect_eq(head.head_seq, 1 + said);
        cr_expect_eq(head.last.len > 0, said == 1, "what came before him is not for him");
        owner_read_destroy(read);
        say(ada, "2", "now he is there");
    }
    world_destroy(&world);
}

static void put_message(struct writer *out, uint64_t room, uint64_t seq)
{
    struct writer record;
    writer_init(&record, 0);
    message_record_write(&record, &(struct message_record){.seq = seq});
    writer_u64(out, room);
    writer_bytes(out, writer_slice(&record));
    writer_deinit(&record);
}

Test(owner_read, what_no_owner_would_say_is_refused)
{
    static const struct { const char *name; uint64_t rooms[3], seqs[3]; uint32_t count, cut; bool good; } cases[] = {
        {"both", {7, 7}, {5, 6}, 2, 0, true},
        {"the first", {7}, {5}, 1, 0, true},
        {"nothing", {0}, {0}, 0, 0, true},
        {"another message", {7}, {6}, 1, 0, false},
        {"of another room", {8}, {5}, 1, 0, false},
        {"more than was asked", {7, 7, 7}, {5, 6, 7}, 3, 0, false},
        {"half a one", {7}, {5}, 1, 3, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct owner_read *read = owner_read_create(1, 1, false);
        struct writer messages, answer;
        writer_init(&messages, 0);
        writer_init(&answer, 0);
        owner_read_message(read, 7, 5);
        owner_read_message(read, 7, 6);
        for (uint32_t n = 0; n < cases[i].count; n++) put_message(&messages, cases[i].rooms[n], cases[i].seqs[n]);
        messages.len -= cases[i].cut;
        rooms_answer_record_write(&answer, &(struct rooms_answer_record){.messages = writer_slice(&messages)});
        cr_expect_eq(owner_read_take(read, 0, writer_slice(&answer)), cases[i].good, "%s", cases[i].name);
        writer_deinit(&messages);
        writer_deinit(&answer);
        owner_read_destroy(read);
    }
}

Test(owner_read, what_no_shard_would_ask_is_refused)
{
    begin();
    struct writer question, answer;
    writer_init(&question, 0);
    writer_init(&answer, 0);
    static const struct { const char *name; uint32_t names, marks; } cases[] = {{"half a name", 15, 0}, {"half a mark", 0, 24}};
    const uint8_t bytes[32] = {0};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        writer_reset(&question);
        struct rooms_question_record record = {.names = slice_of(bytes, cases[i].names), .marks = slice_of(bytes, cases[i].marks)};
        rooms_question_record_write(&question, &record);
        cr_expect_eq(owner_read_rows(&world.shards[0]->store.view, writer_slice(&question), COST_MAX, &answer), RESULT_MALFORMED, "%s", cases[i].name);
    }
    cr_expect_eq(owner_read_rows(&world.shards[0]->store.view, SLICE_EMPTY, COST_MAX, &answer), RESULT_MALFORMED);
    writer_deinit(&question);
    writer_deinit(&answer);
    world_destroy(&world);
}
