/* tests/shard/domain/presence/watch_test.c - two shards that look at each other's users: subscriptions, pushes, and nothing left behind.
 * Each shard is a real one without a log: handlers, calls, sessions and letters are the engine's, the store is the fixture's rows, read
 * at once and answered when the test pumps. */
#include "shard/domain/setup.h"
#include "shard/domain/delivery/delivery.h"
#include "shard/domain/methods.h"
#include "shard/domain/presence/watch.h"
#include "shard/machine_fixture.h"
#include "shard/engine/memory.h"
#include "shard/engine/shard_internal.h"
#include <criterion/criterion.h>

#define NOW_MS UINT64_C(1700000000000)
#define SHARDS 2
#define FRAMES_MAX 16

struct client { /* the other end of one session */
    struct session *session;
    Ringpost__V1__Envelope *frames[FRAMES_MAX];
    uint32_t frame_count;
};

struct node {
    struct shard shard;
    struct domain_setup setup;
    struct fixture *fixture;
    struct store store;
    struct metrics metrics;
    struct store_job *read_first, **read_last; /* ran, not answered */
    bool holds_reads;
};

static struct node nodes[SHARDS];
static struct letter *posted_first, **posted_last = &posted_first;
static struct letter *reply; /* of the last request */

/* ---- the outside of the shards ---- */

static uint64_t port_now(void *context)
{
    (void)context;
    return NOW_MS;
}

static void port_post(void *context, struct letter *letter)
{
    (void)context;
    letter->next = NULL;
    *posted_last = letter;
    posted_last = &letter->next;
}

static void port_reply(void *context, const struct letter *letter)
{
    (void)context;
    letter_free(reply);
    reply = letter_copy(letter);
}

static enum result port_send(void *context, struct session *session, struct slice head, struct buf *body, bool *above_soft)
{
    (void)context;
    *above_soft = false;
    struct client *client = session->connection;
    cr_assert_lt(client->frame_count, FRAMES_MAX);
    cr_assert_eq(head.len, 0);
    Ringpost__V1__Envelope *frame = ringpost__v1__envelope__unpack(NULL, body->len, body->data);
    cr_assert_not_null(frame);
    client->frames[client->frame_count++] = frame;
    return RESULT_OK;
}

static void store_submit_now(struct store *store, struct store_job *job)
{
    struct node *node = CONTAINER_OF(store, struct node, store);
    job->run(job, &node->fixture->store.view);
    job->next = NULL;
    *node->read_last = job;
    node->read_last = &job->next;
}

static const struct store_ops store_ops = {.submit = store_submit_now};

static bool answer_read(struct node *node)
{
    struct store_job *job = node->read_first;
    if (job == NULL || node->holds_reads) return false;
    node->read_first = job->next;
    if (node->read_first == NULL) node->read_last = &node->read_first;
    job->done(job);
    return true;
}

static bool deliver_letter(void)
{
    struct letter *letter = posted_first;
    if (letter == NULL) return false;
    posted_first = letter->next;
    if (posted_first == NULL) posted_last = &posted_first;
    letter->next = NULL;
    shard_receive(&nodes[letter->to_shard].shard, letter);
    return true;
}

static void pump(void)
{
    for (bool moved = true; moved;) {
        moved = deliver_letter();
        for (uint32_t i = 0; i < SHARDS; i++) moved = answer_read(&nodes[i]) || moved;
    }
}

/* ---- life ---- */

static void node_init(struct node *node, uint16_t number)
{
    struct machine_options options = fixture_options(number, SHARDS);
    node->fixture = fixture_create(&options);
    node->store.ops = &store_ops;
    node->read_last = &node->read_first;
    struct shard *s = &node->shard;
    s->options.machine = options;
    node->setup.options.sessions_per_user_max = 10;
    node->setup.ports.session_send = port_send;
    s->options.setup = &node->setup;
    s->options.limits.requests_parked_max = 100;
    s->options.store = &node->store;
    s->options.metrics = &node->metrics;
    s->options.ports = (struct shard_ports){
        .now_ms = port_now, .now_ns = port_now, .post = port_post, .reply = port_reply};
    s->machine = node->fixture->machine;
    s->next_call = 1;
    s->closing = true; /* there is no log: what wants to be written (last seen) is dropped */
    cr_assert_eq(buf_pool_create(&s->options.pool, 1 << 20), RESULT_OK);
    cr_assert_eq(envelope_arena_create(&s->arena, 1 << 20), RESULT_OK);
    cr_assert_eq(requests_init(s), RESULT_OK);
}

static void setup(void)
{
    api_init();
    for (uint16_t i = 0; i < SHARDS; i++) node_init(&nodes[i], i);
}

static void teardown(void)
{
    pump();
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard *s = &nodes[i].shard;
        cr_expect_eq(s->requests_open, 0);
        calls_deinit(s);
        sessions_each(s, watch_forget);
        sessions_end(s);
        requests_deinit(s);
        envelope_arena_destroy(s->arena);
        buf_pool_destroy(s->options.pool);
        fixture_destroy(nodes[i].fixture); /* asserts that nothing is pinned */
    }
    letter_free(reply);
}

TestSuite(presence_watch, .init = setup, .fini = teardown);

/* ---- people ---- */

static struct inbox *inbox_at(uint64_t user_id)
{
    return inbox_of(fixture_entity(nodes[id_partition(user_id)].fixture, ENTITY_INBOX, user_id, 0));
}

static void come(struct client *client, uint64_t user_id, const char *platform)
{
    struct shard *s = &nodes[id_partition(user_id)].shard;
    struct actor_record actor = {.user_id = user_id,
                                 .expires_s = UINT32_MAX,
                                 .device_id = slice_text(platform),
                                 .platform = slice_text(platform)};
    cr_assert_eq(session_open(&client->session, s, inbox_at(user_id), &actor), RESULT_OK);
    client->session->connection = client;
    pump();
}

static void forget_frames(struct client *client)
{
    for (uint32_t i = 0; i < client->frame_count; i++) ringpost__v1__envelope__free_unpacked(client->frames[i], NULL);
    client->frame_count = 0;
}

static void go(struct client *client)
{
    forget_frames(client);
    session_close(client->session);
    client->session = NULL;
}

static void ask(uint64_t user_id, uint64_t session_id, uint16_t method, request_run_f handle, const ProtobufCMessage *message,
                uint16_t shard)
{
    struct writer packed;
    writer_init(&packed, 0);
    envelope_pack(&packed, message);
    struct actor_record actor = {.user_id = user_id};
    struct letter *letter = letter_make(LETTER_REQUEST, shard, shard, &actor, writer_slice(&packed));
    letter->method = method;
    letter->number = session_id;
    letter_free(reply);
    reply = NULL;
    request_start(&nodes[shard].shard, letter, handle);
    writer_deinit(&packed);
}

static void subscribe(struct client *client, uint64_t *users, size_t user_count, uint64_t *rooms, size_t room_count)
{
    Ringpost__V1__SubscribeRequest in = RINGPOST__V1__SUBSCRIBE_REQUEST__INIT;
    in.user_ids = users;
    in.n_user_ids = user_count;
    in.room_ids = rooms;
    in.n_room_ids = room_count;
    uint64_t user_id = client->session->inbox->entity.key.a;
    ask(user_id, client->session->id, 50, handle_subscribe, &in.base, id_partition(user_id));
}

static enum error replied_error(void)
{
    cr_assert_not_null(reply);
    return (enum error)reply->error;
}

static Ringpost__V1__SubscribeResponse *replied(void)
{
    cr_assert_eq(replied_error(), ERROR_NONE);
    struct slice payload = letter_payload(reply);
    Ringpost__V1__SubscribeResponse *out = ringpost__v1__subscribe_response__unpack(NULL, payload.len, payload.data);
    cr_assert_not_null(out);
    return out;
}

static void type_in(uint64_t room_id, uint64_t user_id)
{
    Ringpost__V1__TypingRequest in = RINGPOST__V1__TYPING_REQUEST__INIT;
    in.room_id = room_id;
    ask(user_id, 0, 25, handle_typing, &in.base, id_partition(room_id));
    pump();
}

static uint64_t add_room(uint16_t shard, const uint64_t *members, uint32_t count)
{
    struct fixture *f = nodes[shard].fixture;
    uint64_t room_id = machine_next_id(f->machine, ID_ROOM);
    fixture_entity(f, ENTITY_ROOM, room_id, 0)->exists = true;
    for (uint32_t i = 0; i < count; i++) fixture_entity(f, ENTITY_MEMBER, room_id, members[i])->exists = true;
    return room_id;
}

/* ---- presence ---- */

Test(presence_watch, tells_who_is_there_and_who_comes_and_goes)
{
    uint64_t alice = fixture_add_user(nodes[0].fixture, "alice"), bob = fixture_add_user(nodes[1].fixture, "bob"),
             carol = fixture_add_user(nodes[0].fixture, "carol");
    struct client eyes = {0}, phone = {0}, laptop = {0}, third = {0};
    come(&eyes, alice, "web");
    come(&phone, carol, "ios");

    uint64_t users[] = {carol, id_make(7, ID_USER, 1), bob + 500, bob, carol}; /* no such shard; no such user; a repeat */
    subscribe(&eyes, users, COUNT_OF(users), NULL, 0);
    pump();
    Ringpost__V1__SubscribeResponse *now = replied();
    cr_assert_eq(now->n_presence, 2);
    cr_expect_eq(now->presence[0]->user_id, carol);
    cr_expect(now->presence[0]->online);
    cr_assert_eq(now->presence[0]->n_platforms, 1);
    cr_expect_str_eq(now->presence[0]->platforms[0], "ios");
    cr_expect_eq(now->presence[1]->user_id, bob);
    cr_expect(!now->presence[1]->online);
    cr_expect_eq(now->presence[1]->last_seen_ms, 0);
    ringpost__v1__subscribe_response__free_unpacked(now, NULL);
    cr_expect_eq(eyes.frame_count, 0);

    come(&laptop, bob, "desktop");
    cr_assert_eq(eyes.frame_count, 1);
    cr_assert_eq(eyes.frames[0]->push->kind_case, RINGPOST__V1__PUSH__KIND_PRESENCE);
    cr_expect_eq(eyes.frames[0]->push->presence->user_id, bob);
    cr_expect(eyes.frames[0]->push->presence->online);
    come(&third, bob, "android");
    cr_assert_eq(eyes.frame_count, 2);
    cr_expect_eq(eyes.frames[1]->push->presence->n_platforms, 2);
    go(&laptop);
    go(&third);
    pump();
    cr_assert_eq(eyes.frame_count, 4);
    cr_expect(eyes.frames[2]->push->presence->online);
    cr_expect(!eyes.frames[3]->push->presence->online);
    cr_expect_eq(eyes.frames[3]->push->presence->last_seen_ms, NOW_MS);

    go(&phone);
    go(&eyes);
    pump();
    cr_expect_null(inbox_at(bob)->watchers);
    cr_expect_null(inbox_at(carol)->watchers);
}

Test(presence_watch, a_new_subscription_replaces_the_old_one)
{
    uint64_t alice = fixture_add_user(nodes[0].fixture, "alice"), bob = fixture_add_user(nodes[1].fixture, "bob"),
             carol = fixture_add_user(nodes[0].fixture, "carol");
    struct client eyes = {0};
    come(&eyes, alice, "web");
    subscribe(&eyes, (uint64_t[]){bob, carol}, 2, NULL, 0);
    pump();
    cr_assert_not_null(inbox_at(bob)->watchers);
    subscribe(&eyes, (uint64_t[]){carol}, 1, NULL, 0);
    pump();
    cr_expect_null(inbox_at(bob)->watchers, "the shard that is not asked any more forgets");
    cr_assert_not_null(inbox_at(carol)->watchers);
    cr_expect_null(inbox_at(alice)->watchers);
    subscribe(&eyes, (uint64_t[]){alice}, 1, NULL, 0);
    pump();
    cr_expect_null(inbox_at(carol)->watchers, "the shard that is asked again replaces");
    cr_expect_not_null(inbox_at(alice)->watchers);
    subscribe(&eyes, NULL, 0, NULL, 0);
    pump();
    cr_expect_eq(replied_error(), ERROR_NONE);
    cr_expect_null(inbox_at(alice)->watchers);
    go(&eyes);
}

Test(presence_watch, many_may_look_and_leave_in_any_order)
{
    uint64_t bob = fixture_add_user(nodes[1].fixture, "bob");
    struct client eyes[6] = {0}, laptop = {0};
    for (uint32_t i = 0; i < COUNT_OF(eyes); i++) {
        come(&eyes[i], fixture_add_user(nodes[i % SHARDS].fixture, "somebody"), "web");
        subscribe(&eyes[i], &bob, 1, NULL, 0);
        pump();
    }
    come(&laptop, bob, "desktop");
    for (uint32_t i = 0; i < COUNT_OF(eyes); i++) cr_expect_eq(eyes[i].frame_count, 1, "%u", i);
    static const uint32_t order[] = {3, 0, 5, 1, 4};
    for (uint32_t i = 0; i < COUNT_OF(order); i++) go(&eyes[order[i]]);
    pump();
    forget_frames(&eyes[2]);
    go(&laptop);
    pump();
    cr_expect_eq(eyes[2].frame_count, 1);
    go(&eyes[2]);
    pump();
    cr_expect_null(inbox_at(bob)->watchers);
}

Test(presence_watch, one_that_goes_while_its_subscription_loads_leaves_nothing)
{
    uint64_t alice = fixture_add_user(nodes[0].fixture, "alice"), bob = fixture_add_user(nodes[1].fixture, "bob");
    struct client eyes = {0};
    come(&eyes, alice, "web");
    nodes[1].holds_reads = true;
    subscribe(&eyes, &bob, 1, NULL, 0);
    pump();
    cr_assert_null(reply, "bob is still being loaded");
    go(&eyes);
    pump();
    nodes[1].holds_reads = false;
    pump();
    cr_expect_null(inbox_at(bob)->watchers);
}

Test(presence_watch, of_two_subscriptions_under_way_the_newer_counts)
{
    uint64_t alice = fixture_add_user(nodes[0].fixture, "alice"), bob = fixture_add_user(nodes[1].fixture, "bob"),
             dave = fixture_add_user(nodes[1].fixture, "dave");
    struct client eyes = {0};
    come(&eyes, alice, "web");
    cr_assert_null(inbox_at(dave)->watchers); /* dave is resident from here on, bob is not: the newer is done first */
    nodes[1].holds_reads = true;
    subscribe(&eyes, &bob, 1, NULL, 0);
    pump();
    subscribe(&eyes, &dave, 1, NULL, 0);
    pump();
    cr_expect_eq(replied_error(), ERROR_NONE);
    nodes[1].holds_reads = false;
    pump();
    cr_expect_null(inbox_at(bob)->watchers);
    cr_expect_not_null(inbox_at(dave)->watchers);
    go(&eyes);
}

Test(presence_watch, refuses_too_many)
{
    uint64_t alice = fixture_add_user(nodes[0].fixture, "alice"), ids[WATCH_USERS_MAX + 1];
    struct client eyes = {0};
    come(&eyes, alice, "web");
    for (uint32_t i = 0; i < COUNT_OF(ids); i++) ids[i] = id_make(i % SHARDS, ID_USER, 5000 + i);
    static const struct {
        size_t users, rooms;
        enum error want;
    } cases[] = {{WATCH_USERS_MAX, 0, ERROR_NONE},
                 {WATCH_USERS_MAX + 1, 0, ERROR_BAD_FIELD},
                 {0, WATCH_ROOMS_MAX + 1, ERROR_BAD_FIELD},
                 {0, 1, ERROR_ROOM_NOT_FOUND}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        subscribe(&eyes, ids, cases[i].users, ids, cases[i].rooms);
        pump();
        cr_expect_eq(replied_error(), cases[i].want, "case %zu", i);
    }
    go(&eyes);
}

Test(presence_watch, presence_asks_without_looking)
{
    uint64_t alice = fixture_add_user(nodes[0].fixture, "alice"), bob = fixture_add_user(nodes[1].fixture, "bob");
    Ringpost__V1__PresenceRequest in = RINGPOST__V1__PRESENCE_REQUEST__INIT;
    in.user_ids = (uint64_t[]){bob, alice};
    in.n_user_ids = 2;
    ask(alice, 0, 51, handle_presence, &in.base, 0);
    pump();
    Ringpost__V1__SubscribeResponse *now = replied(); /* the same message under another name */
    cr_assert_eq(now->n_presence, 2);
    cr_expect_eq(now->presence[0]->user_id, bob);
    cr_expect_eq(now->presence[1]->user_id, alice);
    ringpost__v1__subscribe_response__free_unpacked(now, NULL);
    cr_expect_null(inbox_at(bob)->watchers);
    in.n_user_ids = 0;
    ask(alice, 0, 51, handle_presence, &in.base, 0);
    cr_expect_eq(replied_error(), ERROR_NONE, "nobody asked for, answered at once");
}

/* ---- typing ---- */

Test(presence_watch, typing_goes_to_members_who_look_and_not_to_who_types)
{
    uint64_t alice = fixture_add_user(nodes[0].fixture, "alice"), bob = fixture_add_user(nodes[1].fixture, "bob"),
             eve = fixture_add_user(nodes[1].fixture, "eve");
    uint64_t room = add_room(1, (uint64_t[]){alice, bob}, 2);
    struct client eyes = {0}, other = {0};
    come(&eyes, alice, "web");
    come(&other, bob, "web");
    subscribe(&eyes, NULL, 0, &room, 1);
    pump();
    cr_assert_eq(replied_error(), ERROR_NONE);
    subscribe(&other, NULL, 0, &room, 1);
    pump();

    type_in(room, bob);
    cr_expect_eq(replied_error(), ERROR_NONE);
    cr_assert_eq(eyes.frame_count, 1);
    cr_assert_eq(eyes.frames[0]->push->kind_case, RINGPOST__V1__PUSH__KIND_TYPING);
    cr_expect_eq(eyes.frames[0]->push->typing->room_id, room);
    cr_expect_eq(eyes.frames[0]->push->typing->user_id, bob);
    cr_expect_eq(other.frame_count, 0, "not to the one who types");

    type_in(room, eve);
    cr_expect_eq(replied_error(), ERROR_ROOM_NOT_FOUND);
    type_in(room + 1, bob);
    cr_expect_eq(replied_error(), ERROR_ROOM_NOT_FOUND);
    cr_expect_eq(eyes.frame_count, 1);

    fixture_entity(nodes[1].fixture, ENTITY_MEMBER, room, alice)->exists = false;
    type_in(room, bob);
    cr_expect_eq(eyes.frame_count, 1, "who left is told no more");
    go(&eyes);
    go(&other);
}

Test(presence_watch, a_room_of_others_refuses_the_whole_subscription)
{
    uint64_t bob = fixture_add_user(nodes[1].fixture, "bob"), eve = fixture_add_user(nodes[0].fixture, "eve");
    uint64_t room = add_room(1, &bob, 1), own = add_room(0, &eve, 1);
    struct client eyes = {0};
    come(&eyes, eve, "web");
    subscribe(&eyes, &bob, 1, (uint64_t[]){own, room}, 2);
    pump();
    cr_expect_eq(replied_error(), ERROR_ROOM_NOT_FOUND);
    cr_expect_null(inbox_at(bob)->watchers);
    cr_expect_eq(fixture_entity(nodes[0].fixture, ENTITY_MEMBER, own, eve)->pins, 0, "nor is the own room looked at");
    cr_expect_null(eyes.session->watching);
    go(&eyes);
}

Test(presence_watch, a_room_that_cannot_be_leaves_nothing_looked_at_either)
{
    uint64_t alice = fixture_add_user(nodes[0].fixture, "alice"), bob = fixture_add_user(nodes[1].fixture, "bob");
    uint64_t nowhere = id_make(SHARDS, ID_ROOM, 1);
    struct client eyes = {0};
    come(&eyes, alice, "web");
    subscribe(&eyes, &bob, 1, NULL, 0);
    pump();
    cr_assert_not_null(inbox_at(bob)->watchers);
    subscribe(&eyes, &bob, 1, &nowhere, 1);
    pump();
    cr_expect_eq(replied_error(), ERROR_ROOM_NOT_FOUND);
    cr_expect_null(inbox_at(bob)->watchers);
    go(&eyes);
}
