/* tests/client/client_test.c - a real client against a peer that drops, refuses, falls silent and skips. */
#include "client/client.h"
#include "client/fake_peer.h"
#include "core/check.h"
#include "core/clock.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#define DEADLINE_NS 20000000000ull

/* Turns the client until `condition` holds; a test that waits in vain fails here. */
#define TURN_UNTIL(client, condition)                                                                                  \
    do {                                                                                                               \
        uint64_t give_up_ns = clock_monotonic_ns() + DEADLINE_NS;                                                      \
        while (!(condition)) {                                                                                         \
            cr_assert_lt(clock_monotonic_ns(), give_up_ns, "waited in vain for: " #condition);                         \
            client_wait(client, 5);                                                                                    \
        }                                                                                                              \
    } while (0)

struct fixture {
    struct fake_peer peer;
    struct identity identity;
    struct client *client;
    char state_dir[64];
};

static void make_identity(struct fixture *f, const char *access_token)
{
    char text[256], server[32];
    snprintf(f->state_dir, sizeof f->state_dir, "/tmp/ringpost-client-test-XXXXXX");
    cr_assert_not_null(mkdtemp(f->state_dir));
    cr_assert_eq(setenv("XDG_STATE_HOME", f->state_dir, 1), 0);
    snprintf(server, sizeof server, "127.0.0.1:%s", f->peer.port);
    cr_assert_eq(identity_open(&f->identity, server, "", text, sizeof text), RESULT_OK, "%s", text);
    identity_set_user(&f->identity, 7, "alice", "Alice");
    cr_assert_eq(identity_set_tokens(&f->identity, access_token, UINT64_MAX / 2000000, "refresh-1", UINT64_MAX / 2000000), RESULT_OK);
    cr_assert_eq(identity_lock(&f->identity, true), RESULT_OK);
    cr_assert_eq(identity_save(&f->identity), RESULT_OK);
    identity_unlock(&f->identity);
}

static void make_client(struct fixture *f, bool anonymous)
{
    const struct client_options options = {.host = "127.0.0.1", .port = f->peer.port, .identity = anonymous ? NULL : &f->identity,
                                           .backoff_min_ms = 1, .backoff_max_ms = 4};
    cr_assert_eq(client_create(&f->client, &options), RESULT_OK);
}

/* The peer takes the token "good"; the identity has `access_token`. */
static void start(struct fixture *f, const char *access_token)
{
    snprintf(f->peer.access_token, sizeof f->peer.access_token, "good");
    snprintf(f->peer.refresh_token, sizeof f->peer.refresh_token, "refresh-1");
    fake_peer_start(&f->peer);
    make_identity(f, access_token);
    make_client(f, false);
}

static void stop(struct fixture *f)
{
    char path[128];
    client_destroy(f->client);
    fake_peer_stop(&f->peer);
    identity_close(&f->identity);
    snprintf(path, sizeof path, "rm -r '%s'", f->state_dir);
    if (f->state_dir[0] != '\0') cr_assert_eq(system(path), 0);
}

/* ---- requests the tests make ---- */

struct outcome {
    uint32_t replies;
    enum result result;
    char reason[32];
    uint64_t seq;
    uint32_t *order; /* where to note which reply came when, may be NULL */
    uint32_t place;
};

static void on_reply(void *context, enum result result, const Ringpost__V1__Response *response)
{
    struct outcome *outcome = context;
    outcome->replies++;
    outcome->result = result;
    if (outcome->order != NULL) outcome->place = (*outcome->order)++;
    if (response == NULL) return;
    if (response->error != NULL) snprintf(outcome->reason, sizeof outcome->reason, "%s", response->error->reason);
    if (response->result_case == RINGPOST__V1__RESPONSE__RESULT_SEND) outcome->seq = response->send->seq;
}

static void call_send(struct client *client, const char *client_msg_id, struct outcome *outcome)
{
    char id[32];
    snprintf(id, sizeof id, "%s", client_msg_id);
    Ringpost__V1__SendRequest send;
    Ringpost__V1__Request request;
    ringpost__v1__send_request__init(&send);
    ringpost__v1__request__init(&request);
    send.room_id = 1;
    send.client_msg_id = id;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_SEND;
    request.send = &send;
    cr_assert_eq(client_call(client, &request, 0, on_reply, outcome), RESULT_OK);
}

static enum result call_user(struct client *client, const char *user_name, uint32_t timeout_ms, struct outcome *outcome)
{
    char name[32];
    snprintf(name, sizeof name, "%s", user_name);
    Ringpost__V1__UserRequest user;
    Ringpost__V1__Request request;
    ringpost__v1__user_request__init(&user);
    ringpost__v1__request__init(&request);
    user.name = name;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_USER;
    request.user = &user;
    return client_call(client, &request, timeout_ms, on_reply, outcome);
}

static void call_leave(struct client *client, struct outcome *outcome)
{
    Ringpost__V1__LeaveRoomRequest leave;
    Ringpost__V1__Request request;
    ringpost__v1__leave_room_request__init(&leave);
    ringpost__v1__request__init(&request);
    request.method_case = RINGPOST__V1__REQUEST__METHOD_LEAVE_ROOM;
    request.leave_room = &leave;
    cr_assert_eq(client_call(client, &request, 0, on_reply, outcome), RESULT_OK);
}

/* ---- the time before the next attempt ---- */

Test(client, backoff_is_random_below_a_doubling_bound)
{
    static const struct { uint32_t attempt; uint64_t random; uint32_t want; } cases[] = {
        {0, 0, 1}, {0, 499, 499}, {0, 500, 1}, {1, 999, 999}, {5, 15999, 15999},
        {6, 19999, 19999}, {6, 20000, 1}, {31, 19999, 19999}, {4000000000u, 20001, 1},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        cr_expect_eq(client_backoff_ms(cases[i].attempt, 500, 20000, cases[i].random), cases[i].want, "row %zu", i);
}

/* ---- login ---- */

Test(client, an_anonymous_client_calls_after_the_hello)
{
    struct fixture f = {0};
    fake_peer_start(&f.peer);
    make_client(&f, true);
    struct outcome found = {0}, missing = {0};
    cr_assert_eq(call_user(f.client, "bob", 0, &found), RESULT_OK);
    cr_assert_eq(call_user(f.client, "nobody", 0, &missing), RESULT_OK);
    TURN_UNTIL(f.client, found.replies == 1 && missing.replies == 1);
    cr_expect_eq(found.result, RESULT_OK);
    cr_expect_str_eq(found.reason, "");
    cr_expect_eq(missing.result, RESULT_OK, "a refusal is an answer");
    cr_expect_str_eq(missing.reason, "user_not_found");
    cr_expect_eq(fake_peer_read(&f.peer, &f.peer.auths), 0);
    stop(&f);
}

Test(client, a_good_token_is_used_as_it_is)
{
    struct fixture f = {0};
    start(&f, "good");
    TURN_UNTIL(f.client, client_state(f.client) == CLIENT_READY);
    struct client_event event;
    cr_assert(client_next(f.client, &event));
    cr_expect_eq(event.kind, CLIENT_EVENT_ONLINE);
    cr_expect_eq(fake_peer_read(&f.peer, &f.peer.refreshes), 0);
    cr_expect_str_eq(client_text(f.client), "");
    stop(&f);
}

Test(client, a_refused_token_is_replaced_and_kept)
{
    struct fixture f = {0};
    start(&f, "old");
    TURN_UNTIL(f.client, client_state(f.client) == CLIENT_READY);
    cr_expect_eq(fake_peer_read(&f.peer, &f.peer.refreshes), 1);
    struct identity again;
    char text[256];
    cr_assert_eq(identity_open(&again, f.identity.server, "", text, sizeof text), RESULT_OK);
    cr_expect_str_eq(again.access_token, "good");
    cr_expect_str_eq(again.refresh_token, "refresh-next");
    cr_assert_eq(identity_lock(&again, false), RESULT_OK, "the lock must be free again");
    identity_close(&again);
    stop(&f);
}

Test(client, a_token_near_its_end_is_replaced_before_use)
{
    struct fixture f = {0};
    start(&f, "good");
    f.identity.access_expires_ms = clock_wall_ms() + 1000;
    cr_assert_eq(identity_lock(&f.identity, true), RESULT_OK);
    cr_assert_eq(identity_save(&f.identity), RESULT_OK);
    identity_unlock(&f.identity);
    TURN_UNTIL(f.client, client_state(f.client) == CLIENT_READY);
    cr_expect_eq(fake_peer_read(&f.peer, &f.peer.refreshes), 1);
    stop(&f);
}

Test(client, a_token_another_process_brought_saves_the_refresh)
{
    struct fixture f = {0};
    start(&f, "old");
    struct identity other = f.identity;
    cr_assert_eq(identity_lock(&other, true), RESULT_OK);
    struct outcome found = {0};
    cr_assert_eq(call_user(f.client, "bob", 0, &found), RESULT_OK);
    TURN_UNTIL(f.client, client_state(f.client) == CLIENT_REFRESHING); /* held back by the other's lock */
    cr_assert_eq(identity_set_tokens(&other, "good", UINT64_MAX / 2000000, "refresh-other", 1), RESULT_OK);
    cr_assert_eq(identity_save(&other), RESULT_OK);
    identity_unlock(&other);
    TURN_UNTIL(f.client, found.replies == 1);
    cr_expect_eq(found.result, RESULT_OK);
    cr_expect_eq(fake_peer_read(&f.peer, &f.peer.refreshes), 0);
    cr_expect_str_eq(f.identity.refresh_token, "refresh-other");
    stop(&f);
}

Test(client, a_refused_refresh_is_final)
{
    struct fixture f = {0};
    snprintf(f.peer.refresh_token, sizeof f.peer.refresh_token, "x");
    start(&f, "old");
    fake_peer_lock(&f.peer);
    snprintf(f.peer.refresh_token, sizeof f.peer.refresh_token, "spent");
    fake_peer_unlock(&f.peer);
    struct outcome found = {0};
    cr_assert_eq(call_user(f.client, "bob", 0, &found), RESULT_OK);
    TURN_UNTIL(f.client, found.replies == 1);
    cr_expect_eq(found.result, RESULT_DENIED);
    cr_expect_eq(client_state(f.client), CLIENT_REFUSED);
    cr_expect_eq(client_wait_ms(f.client), -1, "nothing is tried again");
    stop(&f);
}

Test(client, only_a_logout_is_final)
{
    static const struct { const char *reason; enum client_state want; } cases[] = {
        {"expired", CLIENT_READY}, {"replaced", CLIENT_READY}, {"something new", CLIENT_READY},
        {"revoked", CLIENT_REFUSED}, {"logged_out", CLIENT_REFUSED},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct fixture f = {0};
        start(&f, "good");
        TURN_UNTIL(f.client, client_state(f.client) == CLIENT_READY);
        fake_peer_push_session_end(&f.peer, cases[i].reason);
        TURN_UNTIL(f.client, client_state(f.client) != CLIENT_READY);
        if (cases[i].want == CLIENT_READY) TURN_UNTIL(f.client, client_state(f.client) == CLIENT_READY);
        cr_expect_eq(client_state(f.client), cases[i].want, "%s", cases[i].reason);
        cr_expect_eq(fake_peer_read(&f.peer, &f.peer.connections), cases[i].want == CLIENT_READY ? 2u : 1u, "%s", cases[i].reason);
        stop(&f);
    }
}

/* ---- reaching it ---- */

Test(client, a_server_that_is_not_there_is_said_at_once)
{
    struct fixture f = {0};
    start(&f, "good");
    client_destroy(f.client);
    const struct client_options options = {.host = "127.0.0.1", .port = "1", .identity = &f.identity};
    cr_assert_eq(client_create(&f.client, &options), RESULT_OK);
    struct outcome found = {0};
    cr_assert_eq(call_user(f.client, "bob", 0, &found), RESULT_OK);
    TURN_UNTIL(f.client, found.replies == 1);
    cr_expect_eq(found.result, RESULT_IO);
    cr_expect_eq(client_state(f.client), CLIENT_UNREACHABLE);
    cr_expect_not_null(strstr(client_text(f.client), "127.0.0.1:1: cannot connect: Connection refused"), "%s", client_text(f.client));
    stop(&f);
}

Test(client, a_peer_of_another_protocol_is_left)
{
    struct fixture f = {.peer.garbage = true};
    start(&f, "good");
    TURN_UNTIL(f.client, client_state(f.client) == CLIENT_UNREACHABLE);
    cr_expect_not_null(strstr(client_text(f.client), "protocol"), "%s", client_text(f.client));
    stop(&f);
}

Test(client, heartbeats_are_answered)
{
    struct fixture f = {0};
    start(&f, "good");
    TURN_UNTIL(f.client, client_state(f.client) == CLIENT_READY);
    for (int i = 0; i < 3; i++) fake_peer_heartbeat(&f.peer);
    TURN_UNTIL(f.client, fake_peer_read(&f.peer, &f.peer.heartbeats) == 3);
    stop(&f);
}

Test(client, silence_means_lost)
{
    struct fixture f = {.peer.heartbeat_interval_ms = 10};
    start(&f, "good");
    TURN_UNTIL(f.client, fake_peer_read(&f.peer, &f.peer.connections) >= 3);
    stop(&f);
}

/* ---- calls ---- */

Test(client, a_call_nobody_answers_times_out)
{
    struct fixture f = {.peer.mute = true};
    start(&f, "good");
    struct outcome outcome = {0};
    cr_assert_eq(call_user(f.client, "bob", 20, &outcome), RESULT_OK);
    TURN_UNTIL(f.client, outcome.replies == 1);
    cr_expect_eq(outcome.result, RESULT_TIMEOUT);
    stop(&f);
}

Test(client, calls_have_a_limit)
{
    struct fixture f = {.peer.mute = true};
    start(&f, "good");
    struct outcome outcome = {0};
    for (int i = 0; i < CLIENT_CALLS_MAX; i++) cr_assert_eq(call_user(f.client, "bob", 0, &outcome), RESULT_OK);
    cr_expect_eq(call_user(f.client, "bob", 0, &outcome), RESULT_BUSY);
    stop(&f);
}

Test(client, an_unanswered_send_goes_out_again_under_the_same_id_and_in_order)
{
    struct fixture f = {.peer.drops = 2};
    start(&f, "good");
    uint32_t order = 0;
    struct outcome outcomes[8];
    for (uint32_t i = 0; i < COUNT_OF(outcomes); i++) {
        char id[16];
        outcomes[i] = (struct outcome){.order = &order};
        snprintf(id, sizeof id, "m%u", i);
        call_send(f.client, id, &outcomes[i]);
    }
    TURN_UNTIL(f.client, order == COUNT_OF(outcomes));
    fake_peer_lock(&f.peer);
    cr_expect_eq(f.peer.send_count, COUNT_OF(outcomes));
    cr_expect_geq(f.peer.repeat_count, 1);
    cr_expect_eq(f.peer.connections, 3);
    for (uint32_t i = 0; i < COUNT_OF(outcomes); i++) {
        char id[16];
        snprintf(id, sizeof id, "m%u", i);
        cr_expect_str_eq(f.peer.sends[i], id);
        cr_expect(outcomes[i].replies == 1 && outcomes[i].result == RESULT_OK && outcomes[i].place == i, "send %u", i);
    }
    fake_peer_unlock(&f.peer);
    stop(&f);
}

Test(client, what_is_larger_than_a_frame_is_not_sent)
{
    struct fixture f = {0};
    start(&f, "good");
    static uint8_t body[65536];
    char id[] = "big";
    Ringpost__V1__SendRequest send;
    Ringpost__V1__Request request;
    Ringpost__V1__Response *response;
    ringpost__v1__send_request__init(&send);
    ringpost__v1__request__init(&request);
    send.client_msg_id = id;
    send.body = (ProtobufCBinaryData){sizeof body, body};
    request.method_case = RINGPOST__V1__REQUEST__METHOD_SEND;
    request.send = &send;
    cr_expect_eq(client_call_wait(f.client, &request, 0, &response), RESULT_TOO_LARGE);
    TURN_UNTIL(f.client, client_state(f.client) == CLIENT_READY);
    cr_expect_eq(fake_peer_read(&f.peer, &f.peer.calls), 0);
    stop(&f);
}

Test(client, what_might_be_done_twice_is_not_repeated)
{
    struct fixture f = {.peer.drops = 1};
    start(&f, "good");
    struct outcome outcome = {0};
    call_leave(f.client, &outcome);
    TURN_UNTIL(f.client, outcome.replies == 1);
    cr_expect_eq(outcome.result, RESULT_CLOSED);
    cr_expect_eq(fake_peer_read(&f.peer, &f.peer.calls), 1);
    stop(&f);
}

Test(client, a_retryable_refusal_is_waited_out_without_being_overtaken)
{
    struct fixture f = {.peer.busies = 3};
    start(&f, "good");
    struct outcome first = {0}, second = {0};
    call_send(f.client, "first", &first);
    call_send(f.client, "second", &second);
    TURN_UNTIL(f.client, first.replies == 1 && second.replies == 1);
    cr_expect_str_eq(first.reason, "");
    cr_expect_eq(fake_peer_read(&f.peer, &f.peer.busies), 0);
    fake_peer_lock(&f.peer);
    cr_expect_str_eq(f.peer.sends[0], "first");
    cr_expect_str_eq(f.peer.sends[1], "second");
    fake_peer_unlock(&f.peer);
    stop(&f);
}

Test(client, call_wait_hands_the_response_over)
{
    struct fixture f = {0};
    start(&f, "good");
    char name[] = "bob";
    Ringpost__V1__UserRequest user;
    Ringpost__V1__Request request;
    Ringpost__V1__Response *response;
    ringpost__v1__user_request__init(&user);
    ringpost__v1__request__init(&request);
    user.name = name;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_USER;
    request.user = &user;
    cr_assert_eq(client_call_wait(f.client, &request, 0, &response), RESULT_OK);
    cr_expect_str_eq(response->user->user->name, "bob");
    ringpost__v1__response__free_unpacked(response, NULL);
    stop(&f);
}

/* ---- the stream ---- */

struct seen {
    uint64_t last_key, key_after_reset;
    uint32_t entries, resets, heads;
    bool other_stream; /* the last reset */
};

static void take_events(struct client *client, struct seen *seen)
{
    struct client_event event;
    while (client_next(client, &event)) {
        if (event.kind == CLIENT_EVENT_PUSH) {
            cr_assert_eq(event.push->event->sync_key, seen->last_key + 1, "once, in order, without holes");
            seen->last_key++;
            seen->entries++;
            cr_assert_eq(client_taken_key(client), seen->last_key);
        }
        if (event.kind == CLIENT_EVENT_RESET) {
            seen->resets++;
            seen->other_stream = event.other_stream;
            seen->last_key = seen->key_after_reset;
        }
        if (event.kind == CLIENT_EVENT_HEAD) {
            cr_assert(event.head_room_id == 9 && event.head_seq == 77);
            seen->heads++;
        }
        client_event_release(&event);
    }
}

static void grow_stream(struct fake_peer *peer, uint64_t length)
{
    fake_peer_lock(peer);
    peer->stream_length = length;
    fake_peer_unlock(peer);
}

Test(client, the_stream_comes_whole_by_pages_pushes_and_after_gaps)
{
    struct fixture f = {.peer.stream_length = 250, .peer.heads = 1};
    start(&f, "good");
    struct seen seen = {0};
    client_follow(f.client, 0, "");
    TURN_UNTIL(f.client, (take_events(f.client, &seen), seen.last_key == 250 && seen.heads == 1));
    cr_expect_eq(fake_peer_read(&f.peer, &f.peer.syncs), 3);

    grow_stream(&f.peer, 251);
    fake_peer_push_event(&f.peer, 251);
    TURN_UNTIL(f.client, (take_events(f.client, &seen), seen.last_key == 251));
    cr_expect_eq(fake_peer_read(&f.peer, &f.peer.syncs), 3, "the next entry needs no sync");

    grow_stream(&f.peer, 254);
    fake_peer_push_event(&f.peer, 250); /* a repeat */
    fake_peer_push_event(&f.peer, 254); /* 252 and 253 are missing */
    TURN_UNTIL(f.client, (take_events(f.client, &seen), seen.last_key == 254));
    cr_expect_eq(seen.entries, 254);
    cr_expect_eq(client_newest_key(f.client), 254);
    stop(&f);
}

Test(client, from_now_begins_at_the_login)
{
    struct fixture f = {.peer.stream_length = 5};
    start(&f, "good");
    TURN_UNTIL(f.client, client_state(f.client) == CLIENT_READY);
    grow_stream(&f.peer, 6);
    fake_peer_push_event(&f.peer, 6); /* before anybody follows */
    fake_peer_heartbeat(&f.peer);
    TURN_UNTIL(f.client, fake_peer_read(&f.peer, &f.peer.heartbeats) == 1);
    cr_expect_eq(client_newest_key(f.client), 5);
    struct seen seen = {.last_key = 5};
    client_follow(f.client, client_newest_key(f.client), client_newest_epoch(f.client));
    TURN_UNTIL(f.client, (take_events(f.client, &seen), seen.last_key == 6));
    stop(&f);
}

Test(client, the_stream_goes_on_over_a_new_connection)
{
    struct fixture f = {.peer.stream_length = 5};
    start(&f, "good");
    struct seen seen = {0};
    client_follow(f.client, 0, "");
    TURN_UNTIL(f.client, (take_events(f.client, &seen), seen.last_key == 5));
    for (uint64_t round = 1; round <= 5; round++) {
        grow_stream(&f.peer, 5 + 30 * round);
        fake_peer_kick(&f.peer);
        TURN_UNTIL(f.client, (take_events(f.client, &seen), seen.last_key == 5 + 30 * round));
    }
    cr_expect_eq(seen.entries, 155);
    cr_expect_eq(fake_peer_read(&f.peer, &f.peer.connections), 6);
    stop(&f);
}

Test(client, a_key_that_is_no_longer_kept_is_a_reset)
{
    struct fixture f = {.peer.stream_length = 300, .peer.stream_kept_after = 290};
    start(&f, "good");
    struct seen seen = {.last_key = 3, .key_after_reset = 290};
    client_follow(f.client, 3, "");
    TURN_UNTIL(f.client, (take_events(f.client, &seen), client_taken_key(f.client) == 300));
    cr_expect_eq(seen.resets, 1);
    cr_expect_eq(seen.entries, 10, "what is still kept comes after the reset");
    stop(&f);
}

/* Its stream is longer than where we are, but it is another one. */
Test(client, a_server_that_was_restored_is_a_reset)
{
    struct fixture f = {.peer.stream_length = 16, .peer.epoch = "2-aa"};
    start(&f, "good");
    struct seen seen = {.key_after_reset = 19};
    client_follow(f.client, 0, "");
    TURN_UNTIL(f.client, (take_events(f.client, &seen), seen.last_key == 16));
    cr_expect_str_eq(client_taken_epoch(f.client), "2-aa");
    fake_peer_lock(&f.peer);
    f.peer.stream_length = 19;
    f.peer.epoch = "2-bb";
    fake_peer_unlock(&f.peer);
    fake_peer_kick(&f.peer);
    TURN_UNTIL(f.client, (take_events(f.client, &seen), seen.resets == 1));
    cr_expect(seen.other_stream);
    TURN_UNTIL(f.client, (take_events(f.client, &seen), client_taken_key(f.client) == 19));
    cr_expect_str_eq(client_taken_epoch(f.client), "2-bb");
    grow_stream(&f.peer, 20);
    fake_peer_push_event(&f.peer, 20);
    TURN_UNTIL(f.client, (take_events(f.client, &seen), seen.last_key == 20));
    cr_expect_eq(seen.entries, 17, "nothing between, and nothing twice");
    fake_peer_kick(&f.peer);
    grow_stream(&f.peer, 21);
    TURN_UNTIL(f.client, (take_events(f.client, &seen), seen.last_key == 21));
    cr_expect_eq(seen.resets, 1, "it is that stream from now on");
    stop(&f);
}

/* Shorter than where we are: what was known to exist does not any more. */
Test(client, a_restored_stream_that_is_shorter_comes_to_rest)
{
    struct fixture f = {.peer.stream_length = 50, .peer.epoch = "1-aa"};
    start(&f, "good");
    struct seen seen = {.key_after_reset = 6};
    client_follow(f.client, 40, "1-aa");
    seen.last_key = 40;
    TURN_UNTIL(f.client, (take_events(f.client, &seen), seen.last_key == 50));
    fake_peer_lock(&f.peer);
    f.peer.stream_length = 6;
    f.peer.epoch = "1-bb";
    fake_peer_unlock(&f.peer);
    fake_peer_kick(&f.peer);
    TURN_UNTIL(f.client, (take_events(f.client, &seen), client_taken_key(f.client) == 6));
    uint32_t syncs = fake_peer_read(&f.peer, &f.peer.syncs);
    fake_peer_heartbeat(&f.peer);
    TURN_UNTIL(f.client, fake_peer_read(&f.peer, &f.peer.heartbeats) > 0);
    cr_expect_eq(fake_peer_read(&f.peer, &f.peer.syncs), syncs, "nothing is missing any more");
    stop(&f);
}

Test(client, behind_is_answered_with_a_sync)
{
    struct fixture f = {.peer.stream_length = 5};
    start(&f, "good");
    struct seen seen = {0};
    client_follow(f.client, 0, "");
    TURN_UNTIL(f.client, (take_events(f.client, &seen), seen.last_key == 5));
    grow_stream(&f.peer, 40);
    fake_peer_push_behind(&f.peer, 40);
    TURN_UNTIL(f.client, (take_events(f.client, &seen), seen.last_key == 40));
    fake_peer_push_behind(&f.peer, 40); /* nothing new, but the server waits for a sync before it pushes again */
    uint32_t syncs = fake_peer_read(&f.peer, &f.peer.syncs);
    TURN_UNTIL(f.client, fake_peer_read(&f.peer, &f.peer.syncs) > syncs);
    stop(&f);
}

Test(client, events_nobody_takes_stop_the_reading)
{
    struct fixture f = {.peer.stream_length = 3 * CLIENT_EVENTS_MAX};
    start(&f, "good");
    client_follow(f.client, 0, "");
    uint64_t want = 3 * CLIENT_EVENTS_MAX;
    uint32_t syncs = CLIENT_EVENTS_MAX / 100 - 2;
    TURN_UNTIL(f.client, fake_peer_read(&f.peer, &f.peer.syncs) >= syncs);
    for (int i = 0; i < 50; i++) client_wait(f.client, 1); /* would go on if it did */
    cr_expect_leq(fake_peer_read(&f.peer, &f.peer.syncs), CLIENT_EVENTS_MAX / 100);
    struct seen seen = {0};
    TURN_UNTIL(f.client, (take_events(f.client, &seen), seen.last_key == want));
    stop(&f);
}
