/* tests/shard/engine/request_test.c - requests on whole shards: waiting for the store, joining the log, refusals, and that everybody is
 * answered exactly once, whatever fails. */
#include "shard/shard_fixture.h"
#include "shard/engine/memory.h"
#include "shard/domain/records.h"
#include "shard/engine/shard_internal.h"
#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(request, .fini = rig_close);

static void ask_user(uint64_t actor_id, uint64_t user_id)
{
    Ringpost__V1__UserRequest in = RINGPOST__V1__USER_REQUEST__INIT;
    in.user_id = user_id;
    struct actor_record actor = rig_actor(actor_id, "phone");
    rig_send(&actor, 0, 0, "/v1/account/user", &in.base);
}

static void ask_sync(uint64_t actor_id)
{
    Ringpost__V1__SyncRequest in = RINGPOST__V1__SYNC_REQUEST__INIT;
    struct actor_record actor = rig_actor(actor_id, "phone");
    rig_send(&actor, 0, 0, "/v1/chat/sync", &in.base);
}

static enum error look_up(uint64_t actor_id, uint64_t user_id)
{
    Ringpost__V1__PresenceRequest in = RINGPOST__V1__PRESENCE_REQUEST__INIT;
    in.user_ids = &user_id;
    in.n_user_ids = 1;
    struct actor_record actor = rig_actor(actor_id, "phone");
    return rig_call(&actor, 0, 0, "/v1/presence/get", &in.base);
}

static enum error create_room(uint64_t actor_id, uint64_t member_id)
{
    Ringpost__V1__CreateRoomRequest in = RINGPOST__V1__CREATE_ROOM_REQUEST__INIT;
    char name[] = "room";
    in.name = name;
    in.member_ids = &member_id;
    in.n_member_ids = 1;
    struct actor_record actor = rig_actor(actor_id, "phone");
    return rig_call(&actor, 0, 0, "/v1/room/create", &in.base);
}

/* ---- waiting for the store ---- */

Test(request, an_id_asked_for_before_it_is_given_is_given_all_the_same)
{
    rig_begin(1);
    rig_open();
    uint64_t alice = rig_add_user(0, "alice"), next = alice + 1;
    cr_expect_eq(look_up(alice, next), ERROR_NONE, "nobody is told as nobody");
    cr_expect_eq(rig_say(alice, next, "1", "hello?"), ERROR_USER_NOT_FOUND);
    cr_expect_eq(rig_add_user(0, "bob"), next);
    cr_expect_eq(rig_say(alice, next, "1", "hello!"), ERROR_NONE);
}

static enum error say_in_room(uint64_t actor_id, uint64_t room_id, const char *client_msg_id, uint64_t *seq)
{
    Ringpost__V1__SendRequest in = RINGPOST__V1__SEND_REQUEST__INIT;
    char id[16];
    uint8_t body[] = "hello";
    in.room_id = room_id;
    in.client_msg_id = strcpy(id, client_msg_id);
    in.body = (ProtobufCBinaryData){5, body};
    struct actor_record actor = rig_actor(actor_id, "phone");
    enum error error = rig_call(&actor, 0, 0, "/v1/chat/send", &in.base);
    if (error != ERROR_NONE) return error;
    Ringpost__V1__SendResponse *sent = rig_replied(&ringpost__v1__send_response__descriptor);
    *seq = sent->seq;
    protobuf_c_message_free_unpacked(&sent->base, NULL);
    return ERROR_NONE;
}

/* While the load goes on, what was made lives, changes and is evicted: what the load then brings must not be older than that. */
Test(request, an_id_asked_for_before_it_is_given_is_as_new_as_it_was_when_evicted)
{
    rig_begin(1);
    rig.machine.entities_max = 100;
    rig.setup.options.rooms_per_user_max = 1000;
    rig_open();
    uint64_t alice = rig_add_user(0, "alice"), bob = rig_add_user(0, "bob"), room_id = id_make(0, ID_ROOM, 1), seq = 0;
    rig_know(alice, "phone");
    rig.stores_held = true;
    struct actor_record actor = rig_actor(alice, "phone");
    Ringpost__V1__GetRoomRequest in = RINGPOST__V1__GET_ROOM_REQUEST__INIT;
    in.room_id = room_id;
    rig_send(&actor, 0, 0, "/v1/room/get", &in.base);
    uint32_t loads = fake_store_queued(rig.stores[0]);
    cr_assert_gt(loads, 0);
    cr_assert_eq(create_room(alice, bob), ERROR_NONE);
    for (uint32_t i = 0; i < loads; i++) fake_store_step(rig.stores[0]); /* too early, and perhaps asked again */
    while (fake_store_queued(rig.stores[0]) > 0) fake_store_run(rig.stores[0]); /* answers are on their way */
    cr_assert_eq(say_in_room(alice, room_id, "1", &seq), ERROR_NONE);
    cr_expect_eq(seq, 1);
    for (int i = 0; i < 100; i++) cr_assert_eq(create_room(alice, bob), ERROR_NONE); /* they push the first one out */
    while (fake_store_answer(rig.stores[0])) continue;
    rig.stores_held = false;
    cr_assert_eq(say_in_room(alice, room_id, "2", &seq), ERROR_NONE);
    cr_expect_eq(seq, 2);
}

Test(request, those_who_wait_for_one_entity_share_its_load)
{
    rig_begin(1);
    rig_open();
    uint64_t alice = rig_add_user(0, "alice");
    rig_know(alice, "phone");
    rig.stores_held = true;
    uint64_t reads = rig.metrics.store_reads;
    for (int i = 0; i < 5; i++) ask_user(alice, alice + 7);
    cr_expect_eq(rig.metrics.store_reads, reads + 1);
    cr_expect_eq(rig.metrics.requests_parked, 5);
    rig.stores_held = false;
    rig.reply_count = 0;
    rig_pump();
    cr_expect_eq(rig.reply_count, 5);
    cr_expect_eq(rig.reply->error, ERROR_USER_NOT_FOUND);
    cr_expect_eq(rig.metrics.requests_parked, 0);
}

Test(request, who_waits_for_the_store_is_counted_and_bounded)
{
    rig_begin(1);
    rig.limits.requests_parked_max = 2;
    rig_open();
    uint64_t alice = rig_add_user(0, "alice");
    rig_know(alice, "phone");
    rig.stores_held = true;
    ask_user(alice, alice + 7); /* a load */
    ask_sync(alice);            /* a read */
    cr_expect_eq(rig.reply_count, 0);
    cr_expect_eq(rig.metrics.requests_parked, 2);
    ask_user(alice, alice + 8);
    cr_expect_eq(rig.reply_count, 1);
    cr_expect_eq(rig.reply->error, ERROR_SERVER_BUSY, "one load more");
    cr_expect_gt(rig.reply->retry_after_ms, 0);
    ask_sync(alice);
    cr_expect_eq(rig.reply_count, 2);
    cr_expect_eq(rig.reply->error, ERROR_SERVER_BUSY, "one read more");
    rig.stores_held = false;
    rig_pump();
    cr_expect_eq(rig.reply_count, 4);
    cr_expect_eq(rig.metrics.requests_parked, 0);
    ask_sync(alice);
    rig_pump();
    cr_expect_eq(rig.reply->error, ERROR_NONE, "there is room again");
}

/* A store whose every read fails: each job is run against nothing and answered in its turn. */
static enum result fail_get(struct store_view *view, struct slice key, struct writer *value)
{
    (void)view, (void)key, (void)value;
    return RESULT_IO;
}
static enum result fail_scan(struct store_view *view, struct slice from, struct slice until,
                             bool (*each)(void *, struct slice, struct slice), void *context)
{
    (void)view, (void)from, (void)until, (void)each, (void)context;
    return RESULT_IO;
}
static enum result fail_last(struct store_view *view, struct slice from, struct slice until, struct writer *key,
                             struct writer *value)
{
    (void)view, (void)from, (void)until, (void)key, (void)value;
    return RESULT_IO;
}
static const struct store_view_ops fail_view_ops = {.get = fail_get, .scan = fail_scan, .last = fail_last};

struct failed_job {
    struct store_job job;
    struct store_job *original;
};
static const struct store_ops *good_ops;

static void do_nothing(struct store_job *job, struct store_view *view) { (void)job, (void)view; }
static void answer_original(struct store_job *job)
{
    struct failed_job *failed = CONTAINER_OF(job, struct failed_job, job);
    failed->original->done(failed->original);
    free(failed);
}
static void fail_submit(struct store *store, struct store_job *job)
{
    struct store_view view = {.ops = &fail_view_ops};
    job->run(job, &view);
    struct failed_job *failed = memory_alloc(sizeof *failed);
    *failed = (struct failed_job){.job = {.run = do_nothing, .done = answer_original}, .original = job};
    good_ops->submit(store, &failed->job);
}

static void break_store(uint16_t shard)
{
    static struct store_ops ops;
    struct store *store = fake_store_base(rig.stores[shard]);
    good_ops = store->ops;
    ops = *good_ops;
    ops.submit = fail_submit;
    store->ops = &ops;
}

Test(request, a_store_that_cannot_be_read_refuses_each_once)
{
    rig_begin(2);
    rig_open();
    uint64_t alice = rig_add_user(0, "alice"), nobody = id_make(1, ID_USER, 99);
    break_store(0);
    ask_user(alice, alice + 7);
    rig_pump();
    cr_expect_eq(rig.reply_count, 1);
    cr_expect_eq(rig.reply->error, ERROR_INTERNAL, "a load");
    ask_sync(alice);
    rig_pump();
    cr_expect_eq(rig.reply_count, 2);
    cr_expect_eq(rig.reply->error, ERROR_INTERNAL, "a read");
    fake_store_base(rig.stores[0])->ops = good_ops;

    break_store(1); /* whose answer the other shard waits for */
    cr_expect_eq(create_room(alice, nobody), ERROR_INTERNAL, "a question about people");
    cr_expect_eq(look_up(alice, nobody), ERROR_INTERNAL, "a question about presence");
    fake_store_base(rig.stores[1])->ops = good_ops;
    cr_expect_eq(create_room(alice, nobody), ERROR_USER_NOT_FOUND);
    cr_expect_eq(rig.metrics.requests_parked, 0);
}

/* ---- joining the log ---- */

Test(request, nothing_is_answered_before_it_is_durable)
{
    rig_begin(1);
    rig_open();
    uint64_t alice = rig_add_user(0, "alice"), bob = rig_add_user(0, "bob");
    rig.disks_held = true;
    cr_expect_eq(rig_say(alice, bob, "1", "one"), ERROR_COUNT);
    cr_expect_eq(rig.metrics.messages_stored, 0);
    rig.disks_held = false;
    rig_pump();
    cr_expect_eq(rig.reply_count, 1);
    cr_expect_eq(rig.reply->error, ERROR_NONE);
    cr_expect_eq(rig.metrics.messages_stored, 1);
}

Test(request, what_an_earlier_command_of_the_batch_took_is_refused_at_apply)
{
    rig_begin(1);
    rig_open();
    rig.disks_held = true;
    Ringpost__V1__RegisterRequest in = RINGPOST__V1__REGISTER_REQUEST__INIT;
    char name[] = "alice", password[] = "correct horse";
    in.name = name;
    in.password = password;
    for (int i = 0; i < 2; i++) {
        rig_send(NULL, 0, 0, "/v1/account/register", &in.base);
        rig_pump(); /* hashed, in the log */
    }
    cr_expect_eq(rig.reply_count, 0);
    rig.disks_held = false;
    rig_pump();
    cr_expect_eq(rig.reply_count, 2);
    cr_expect_eq(rig.reply->error, ERROR_NAME_TAKEN);
}

Test(request, writes_are_refused_while_the_store_is_behind_and_reads_are_not)
{
    rig_begin(1);
    rig.limits.store_backlog_max_bytes = 1;
    rig_open();
    uint64_t alice = rig_add_user(0, "alice"), bob = rig_add_user(0, "bob");
    cr_assert_eq(rig_say(alice, bob, "1", "one"), ERROR_NONE);
    rig.stores_held = true;
    cr_assert_eq(rig_say(alice, bob, "2", "two"), ERROR_NONE);
    cr_expect_eq(rig_say(alice, bob, "3", "three"), ERROR_SERVER_BUSY);
    ask_user(alice, bob);
    cr_expect_eq(rig.reply->error, ERROR_NONE, "resident");
    rig.stores_held = false;
    rig_pump();
    cr_expect_eq(rig_say(alice, bob, "3", "three"), ERROR_NONE);
}

Test(request, a_full_log_refuses_and_recovers)
{
    rig_begin(1);
    rig.log_pending_max_bytes = 4096;
    rig_open();
    uint64_t alice = rig_add_user(0, "alice"), bob = rig_add_user(0, "bob");
    cr_assert_eq(rig_say(alice, bob, "0", "zero"), ERROR_NONE);
    rig.disks_held = true;
    enum error error = ERROR_COUNT;
    char id[16];
    for (int i = 1; i < 100 && error == ERROR_COUNT; i++) {
        snprintf(id, sizeof id, "%d", i);
        error = rig_say(alice, bob, id, "something that fills the log");
    }
    cr_expect_eq(error, ERROR_SERVER_BUSY);
    rig.disks_held = false;
    rig_pump();
    cr_expect_eq(rig_say(alice, bob, id, "something that fills the log"), ERROR_NONE);
}

static void say_by_session(const struct session *session, uint64_t to, const char *client_msg_id)
{
    Ringpost__V1__SendRequest in = RINGPOST__V1__SEND_REQUEST__INIT;
    char id[16];
    uint8_t body[] = "hello";
    in.to_user_id = to;
    in.client_msg_id = strcpy(id, client_msg_id);
    in.body = (ProtobufCBinaryData){5, body};
    struct actor_record actor = rig_actor(session->inbox->entity.key.a, "phone");
    rig_send(&actor, 0, session->id, "/v1/chat/send", &in.base);
    rig_pump();
}

static uint64_t last_seq(void)
{
    Ringpost__V1__SendResponse *sent = rig_replied(&ringpost__v1__send_response__descriptor);
    uint64_t seq = sent->seq;
    protobuf_c_message_free_unpacked(&sent->base, NULL);
    return seq;
}

/* Messages "2", "3", "4" of alice's session stand in line behind a store that is held; "1" is what it has to write. */
static struct session *fill_line(uint64_t *alice, uint64_t *bob)
{
    rig_begin(1);
    rig.limits.store_backlog_max_bytes = 1;
    rig_open();
    *alice = rig_add_user(0, "alice"), *bob = rig_add_user(0, "bob");
    struct session *session = rig_come(*alice, "phone");
    cr_assert_eq(rig_say(*alice, *bob, "0", "makes the room"), ERROR_NONE);
    rig.stores_held = true;
    cr_assert_eq(rig_say(*alice, *bob, "1", "one"), ERROR_NONE);
    cr_expect_not(shard_is_full(rig.shards[0]));
    rig.reply_count = 0;
    static const char *const ids[] = {"2", "3", "4"};
    for (size_t i = 0; i < COUNT_OF(ids); i++) say_by_session(session, *bob, ids[i]);
    cr_expect_eq(rig.reply_count, 0);
    cr_expect_eq(rig.metrics.requests_parked, 3);
    cr_expect(shard_is_full(rig.shards[0]) && shard_is_stalled(rig.shards[0]));
    return session;
}

Test(request, writes_of_a_session_wait_for_room_in_the_order_they_came)
{
    uint64_t alice, bob;
    struct session *session = fill_line(&alice, &bob);
    cr_expect_eq(rig_say(alice, bob, "5", "has no session, could not be stopped"), ERROR_SERVER_BUSY);
    ask_user(alice, bob);
    cr_expect_eq(rig.reply->error, ERROR_NONE, "reads go on");
    rig.stores_held = false;
    rig.reply_count = 0;
    for (uint32_t turns = 0; turns < 100 && rig.reply_count < 3; turns++) rig_pump();
    cr_expect_eq(rig.reply_count, 3);
    cr_expect_not(shard_is_full(rig.shards[0]));
    static const struct {
        const char *id;
        uint64_t seq;
    } want[] = {{"2", 3}, {"3", 4}, {"4", 5}}; /* a repeated send is told what became of the first */
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        say_by_session(session, bob, want[i].id);
        cr_expect_eq(last_seq(), want[i].seq, "message %s", want[i].id);
    }
}

Test(request, writes_do_not_wait_for_ever)
{
    uint64_t alice, bob;
    (void)fill_line(&alice, &bob);
    rig.now_ms += 9000;
    rig_pump();
    cr_expect_eq(rig.reply_count, 0);
    rig.now_ms += 2000;
    rig_pump();
    cr_expect_eq(rig.reply_count, 3);
    cr_expect_eq(rig.reply->error, ERROR_SERVER_BUSY);
    cr_expect_eq(rig.metrics.requests_parked, 0);
}

/* The time of a message, as its sender is told. */
static uint64_t time_of_message(uint64_t from, uint64_t to, const char *id)
{
    cr_assert_eq(rig_say(from, to, id, "what time is it?"), ERROR_NONE);
    Ringpost__V1__SendResponse *sent = rig_replied(&ringpost__v1__send_response__descriptor);
    uint64_t time_ms = sent->time_ms;
    ringpost__v1__send_response__free_unpacked(sent, NULL);
    return time_ms;
}

Test(request, the_logs_time_goes_back_only_where_a_clock_was_wrong)
{
    static const struct {
        const char *name;
        int64_t error_ms, want_ms; /* of the clock; of the message's time */
        uint64_t want_set_back;
    } cases[] = {
        {"right", 0, 0, 0},
        {"a little ahead", 4000, 4000, 0},
        {"right again", 0, 4000, 0},
        {"a day ahead", 86400000, 86400000, 0},
        {"set right", 0, 0, 1},
        {"a little behind", -4000, 0, 1},
        {"an hour behind", -3600000, -3600000, 2},
        {"set right once more", 0, 0, 2},
    };
    rig_begin(1);
    rig_open();
    uint64_t alice = rig_add_user(0, "alice"), bob = rig_add_user(0, "bob"), now_ms = rig.now_ms;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char id[8];
        snprintf(id, sizeof id, "%zu", i);
        rig.clock_error_ms = cases[i].error_ms;
        cr_expect_eq(time_of_message(alice, bob, id), now_ms + (uint64_t)cases[i].want_ms, "%s", cases[i].name);
        cr_expect_eq(rig.metrics.log_time_set_back, cases[i].want_set_back, "%s", cases[i].name);
        if (i % 2 == 0) continue;
        rig_close_shard(0); /* it reads the newest time from its log */
        rig_open_shard(0);
    }
}

/* Also where it was that of a command that gave no id, and everything was applied when the shard ended. */
Test(request, no_command_is_older_than_the_newest_in_the_log)
{
    rig_begin(1);
    rig_open();
    uint64_t alice = rig_add_user(0, "alice"), bob = rig_add_user(0, "bob"), now_ms = rig.now_ms;
    cr_expect_eq(time_of_message(alice, bob, "1"), now_ms);
    Ringpost__V1__SendResponse *sent = rig_replied(&ringpost__v1__send_response__descriptor);
    Ringpost__V1__MarkReadRequest read = RINGPOST__V1__MARK_READ_REQUEST__INIT;
    read.room_id = sent->room_id;
    read.seq = 1;
    ringpost__v1__send_response__free_unpacked(sent, NULL);
    rig.clock_error_ms = 3000;
    struct actor_record actor = rig_actor(bob, "phone");
    rig_know(bob, "phone");
    cr_expect_eq(rig_call(&actor, 0, 0, "/v1/chat/mark_read", &read.base), ERROR_NONE);
    rig_close_shard(0);
    rig.clock_error_ms = 0;
    rig_open_shard(0);
    cr_expect_eq(time_of_message(alice, bob, "2"), now_ms + 3000);
    cr_expect_eq(rig.metrics.log_time_set_back, 0);
}

Test(request, a_shard_may_end_while_writes_wait)
{
    uint64_t alice, bob;
    (void)fill_line(&alice, &bob);
    shard_begin_close(rig.shards[0]);
    rig_pump();
    cr_expect_eq(rig.reply_count, 3);
    cr_expect_eq(rig.reply->error, ERROR_NOT_READY);
}

Test(request, what_a_session_asked_waits_beyond_the_limit_and_makes_the_shard_full_at_half_of_it)
{
    rig_begin(1);
    rig.limits.requests_parked_max = 4;
    rig_open();
    uint64_t alice = rig_add_user(0, "alice");
    struct session *session = rig_come(alice, "phone");
    struct actor_record actor = rig_actor(alice, "phone");
    Ringpost__V1__GetRoomRequest in = RINGPOST__V1__GET_ROOM_REQUEST__INIT;
    rig.stores_held = true;
    rig.reply_count = 0;
    for (uint64_t i = 1; i <= 6; i++) {
        in.room_id = id_make(0, ID_ROOM, 100 + i);
        rig_send(&actor, 0, session->id, "/v1/room/get", &in.base);
        cr_expect_eq(shard_is_full(rig.shards[0]), i >= 2, "%d requests wait", (int)i);
    }
    cr_expect_eq(rig.metrics.requests_parked, 6);
    in.room_id = id_make(0, ID_ROOM, 200);
    rig_send(&actor, 0, 0, "/v1/room/get", &in.base);
    cr_expect_eq(rig.reply_count, 1);
    cr_expect_eq(rig.reply->error, ERROR_SERVER_BUSY, "has no session");
    rig.stores_held = false;
    rig_pump();
    cr_expect_eq(rig.reply_count, 7);
    cr_expect_eq(rig.reply->error, ERROR_ROOM_NOT_FOUND);
    cr_expect_not(shard_is_full(rig.shards[0]));
}

/* The first message to somebody asks who the two are. */
Test(request, what_waits_for_another_shard_makes_the_shard_full_too)
{
    rig_begin(2);
    rig.limits.requests_parked_max = 4;
    rig_open();
    uint64_t alice = rig_add_user(0, "alice"), bob = rig_add_user(1, "bob");
    const struct session *session = rig_come(alice, "phone");
    say_by_session(session, alice + 1000, "0"); /* nobody; what it loads stays */
    rig.letters_held = true;
    rig.reply_count = 0;
    say_by_session(session, bob, "1");
    cr_expect_not(shard_is_full(rig.shards[0]));
    say_by_session(session, bob, "2");
    cr_expect(shard_is_full(rig.shards[0]));
    rig.letters_held = false;
    rig_pump();
    cr_expect_eq(rig.reply_count, 2);
    cr_expect_not(shard_is_full(rig.shards[0]));
}

/* ---- calls ---- */

Test(request, many_questions_are_under_way_at_once)
{
    rig_begin(2);
    rig_open();
    uint64_t alice = rig_add_user(0, "alice");
    uint64_t bob = rig_add_user(1, "bob");
    rig_know(alice, "phone");
    rig.letters_held = true;
    Ringpost__V1__PresenceRequest in = RINGPOST__V1__PRESENCE_REQUEST__INIT;
    uint64_t ids[2] = {alice, bob};
    in.user_ids = ids;
    in.n_user_ids = 2;
    struct actor_record actor = rig_actor(alice, "phone");
    for (int i = 0; i < 200; i++) rig_send(&actor, 0, 0, "/v1/presence/get", &in.base);
    cr_expect_eq(rig.reply_count, 0);
    cr_expect_eq(rig.shards[0]->call_count, 200);
    rig.letters_held = false;
    rig_pump();
    cr_expect_eq(rig.reply_count, 200);
    cr_expect_eq(rig.reply->error, ERROR_NONE);
    cr_expect_eq(rig.shards[0]->call_count, 0);
}
