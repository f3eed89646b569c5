/* client/client.c - the life of a client's connection; calls, login and stream stand in files beside it.
 * Happy path of a turn: due timers put frames on the wire, the wire moves bytes, each whole frame goes to calls (a response), stream (a
 * push) or login (the hello). A turn never waits; client_wait() does, and then turns.
 * Failure modes: whatever makes a connection useless (broken, silent for two heartbeat intervals, not READY in time, not speaking our
 * protocol) goes through client_lose(), the one way to OFFLINE. */
#include "client/client_internal.h"
#include "core/check.h"
#include "core/clock.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLIENT_LOGIN_TIMEOUT_MS 15000 /* from connecting to READY */
#define CLIENT_PROTOCOL 1u

uint32_t client_backoff_ms(uint32_t attempt, uint32_t min_ms, uint32_t max_ms, uint64_t random)
{
    ASSERT(min_ms > 0 && min_ms <= max_ms);
    uint64_t bound = attempt < 32 ? (uint64_t)min_ms << attempt : max_ms;
    if (bound > max_ms) bound = max_ms;
    uint64_t delay = random % bound;
    return delay == 0 ? 1 : (uint32_t)delay;
}

enum result client_create(struct client **out, const struct client_options *options)
{
    *out = NULL;
    struct client *client = calloc(1, sizeof *client);
    if (client == NULL) return RESULT_NOMEM;
    snprintf(client->host, sizeof client->host, "%s", options->host);
    snprintf(client->port, sizeof client->port, "%s", options->port);
    bool is_ipv6 = strchr(client->host, ':') != NULL;
    snprintf(client->name, sizeof client->name, is_ipv6 ? "%s[%s]:%s" : "%s%s:%s", options->trust != NULL ? "tls://" : "",
             client->host, client->port);
    client->identity = options->identity != NULL && identity_is_logged_in(options->identity) ? options->identity : NULL;
    client->backoff_min_ms = options->backoff_min_ms != 0 ? options->backoff_min_ms : CLIENT_BACKOFF_MIN_MS;
    client->backoff_max_ms = options->backoff_max_ms != 0 ? options->backoff_max_ms : CLIENT_BACKOFF_MAX_MS;
    client->next_id = 1;
    wire_init(&client->wire, options->trust);
    *out = client;
    return RESULT_OK;
}

void client_destroy(struct client *client)
{
    if (client == NULL) return;
    client_login_end(client);
    client_calls_drop_all(client);
    client_stream_drop_all(client);
    wire_deinit(&client->wire);
    free(client);
}

/* ---- states ---- */

enum client_state client_state(const struct client *client)
{
    return client->state;
}

bool client_is_final(const struct client *client)
{
    return client->state == CLIENT_REFUSED || client->state == CLIENT_UNREACHABLE;
}

const char *client_text(const struct client *client)
{
    return client->text;
}

uint32_t client_retry_ms(const struct client *client)
{
    uint64_t now_ns = clock_monotonic_ns();
    if (client->state != CLIENT_OFFLINE || client->retry_at_ns <= now_ns) return 0;
    return (uint32_t)((client->retry_at_ns - now_ns + 999999) / 1000000);
}

void client_become_ready(struct client *client)
{
    ASSERT(client->state != CLIENT_READY && !client_is_final(client));
    client->state = CLIENT_READY;
    client->was_ready = true;
    client->ready_at_ns = clock_monotonic_ns();
    client->text[0] = '\0';
    client_stream_note(client, CLIENT_EVENT_ONLINE);
}

static void client_disconnect(struct client *client, const char *why)
{
    snprintf(client->text, sizeof client->text, "%s: %s", client->name, why);
    bool was_online = client->state == CLIENT_READY;
    wire_close(&client->wire);
    client->greeted = false;
    client_login_end(client);
    client_calls_on_disconnect(client);
    if (was_online) client_stream_note(client, CLIENT_EVENT_OFFLINE);
}

void client_lose(struct client *client, const char *why)
{
    ASSERT(!client_is_final(client));
    bool was_ready = client->state == CLIENT_READY;
    client_disconnect(client, why);
    if (!client->was_ready) {
        client->state = CLIENT_UNREACHABLE;
        return;
    }
    uint64_t random, now_ns = clock_monotonic_ns();
    clock_random(&random, sizeof random);
    /* Only a connection that lasted starts the waiting times from the beginning. */
    if (was_ready && now_ns >= after_ms(client->ready_at_ns, client->backoff_max_ms)) client->attempt = 0;
    client->state = CLIENT_OFFLINE;
    client->retry_at_ns = after_ms(now_ns, client_backoff_ms(client->attempt++, client->backoff_min_ms, client->backoff_max_ms, random));
}

void client_refuse(struct client *client, const char *why)
{
    ASSERT(!client_is_final(client));
    client_disconnect(client, why);
    client->state = CLIENT_REFUSED;
}

static void client_connect(struct client *client, uint64_t now_ns)
{
    ASSERT(client->state == CLIENT_OFFLINE);
    client->state = CLIENT_CONNECTING;
    client->login_deadline_ns = after_ms(now_ns, CLIENT_LOGIN_TIMEOUT_MS);
    client->quiet_deadline_ns = CLIENT_NEVER;
    client->heartbeat_interval_ms = 0;
    client->heard_count = client->wire.heard_count;
    if (wire_open(&client->wire, client->host, client->port) != RESULT_OK) client_lose(client, client->wire.text);
}

/* ---- frames ---- */

static void client_on_hello(struct client *client, const Ringpost__V1__Hello *hello, uint64_t now_ns)
{
    if (client->greeted || hello->protocol != CLIENT_PROTOCOL) {
        client_lose(client, "the server speaks another version of the protocol");
        return;
    }
    client->greeted = true;
    client->heartbeat_interval_ms = hello->heartbeat_interval_ms;
    client->frame_size_max = hello->frame_size_max;
    client_login_start(client, now_ns);
}

static void client_on_push(struct client *client, Ringpost__V1__Push *push)
{
    if (push->kind_case != RINGPOST__V1__PUSH__KIND_SESSION_END) {
        client_stream_on_push(client, push);
        return;
    }
    const char *reason = push->session_end->reason;
    if (strcmp(reason, "revoked") == 0 || strcmp(reason, "logged_out") == 0)
        client_refuse(client, "this device was logged out");
    else if (strcmp(reason, "replaced") == 0) /* two that take turns do so ever more slowly: see client_lose() */
        client_lose(client, "another client with this login took over");
    else
        client_lose(client, "the server ended the session"); /* an old token, mostly: the next connection brings a new one */
    ringpost__v1__push__free_unpacked(push, NULL);
}

static void client_on_frame(struct client *client, struct slice frame, uint64_t now_ns)
{
    Ringpost__V1__Envelope *envelope = ringpost__v1__envelope__unpack(NULL, frame.len, frame.data);
    if (envelope == NULL) {
        client_lose(client, "the server sent something that is no envelope");
        return;
    }
    if (envelope->body_case == RINGPOST__V1__ENVELOPE__BODY_HELLO) {
        client_on_hello(client, envelope->hello, now_ns);
    } else if (!client->greeted) {
        client_lose(client, "the server did not begin with a hello");
    } else if (envelope->body_case == RINGPOST__V1__ENVELOPE__BODY_RESPONSE) {
        client_calls_on_response(client, envelope->response);
    } else if (envelope->body_case == RINGPOST__V1__ENVELOPE__BODY_PUSH) {
        Ringpost__V1__Push *push = envelope->push;
        envelope->push = NULL;
        envelope->body_case = RINGPOST__V1__ENVELOPE__BODY__NOT_SET;
        client_on_push(client, push);
    }
    /* Anything else is of a later version of the contract and not for us. */
    ringpost__v1__envelope__free_unpacked(envelope, NULL);
}

/* ---- turns ---- */

static void client_turn_wire(struct client *client, uint64_t now_ns)
{
    if (client->wire.state == WIRE_CLOSED) return;
    if (wire_turn(&client->wire) != RESULT_OK) {
        client_lose(client, client->wire.text);
        return;
    }
    bool heard = client->heard_count != client->wire.heard_count;
    client->heard_count = client->wire.heard_count;
    struct slice frame;
    while (client_stream_has_room(client) && wire_next(&client->wire, &frame)) client_on_frame(client, frame, now_ns);
    if (heard && client->heartbeat_interval_ms > 0)
        client->quiet_deadline_ns = after_ms(now_ns, 2ull * client->heartbeat_interval_ms);
}

static bool client_is_connected(const struct client *client)
{
    return client->state != CLIENT_OFFLINE && !client_is_final(client);
}

/* When this connection is given up unless something happens. */
static uint64_t client_deadline_ns(const struct client *client)
{
    if (!client_is_connected(client)) return CLIENT_NEVER;
    return client->state == CLIENT_READY ? client->quiet_deadline_ns : client->login_deadline_ns;
}

void client_turn(struct client *client)
{
    uint64_t now_ns = clock_monotonic_ns();
    if (now_ns >= client_deadline_ns(client))
        client_lose(client, client->state == CLIENT_READY ? "connection lost: nothing heard from the server"
                                                          : "the server did not answer in time");
    if (client->state == CLIENT_OFFLINE && now_ns >= client->retry_at_ns) client_connect(client, now_ns);
    client_login_turn(client, now_ns);
    client_stream_turn(client, now_ns);
    client_calls_turn(client, now_ns);
    client_turn_wire(client, now_ns);
}

int client_fd(const struct client *client)
{
    return client->wire.fd;
}

short client_poll_events(const struct client *client)
{
    return wire_poll_events(&client->wire);
}

int client_wait_ms(const struct client *client)
{
    uint64_t due_ns = client_calls_due_ns(client);
    if (client->state == CLIENT_OFFLINE && client->retry_at_ns < due_ns) due_ns = client->retry_at_ns;
    if (client_is_connected(client)) {
        uint64_t others[] = {client_deadline_ns(client), client_login_due_ns(client), client_stream_due_ns(client)};
        for (size_t i = 0; i < COUNT_OF(others); i++)
            if (others[i] < due_ns) due_ns = others[i];
        if (wire_has_frame(&client->wire) && client_stream_has_room(client)) return 0;
    }
    if (due_ns == CLIENT_NEVER) return -1;
    uint64_t now_ns = clock_monotonic_ns();
    if (due_ns <= now_ns) return 0;
    uint64_t wait_ms = (due_ns - now_ns + 999999) / 1000000;
    return wait_ms < 60000 ? (int)wait_ms : 60000;
}

void client_wait(struct client *client, int timeout_ms)
{
    int wait_ms = client_wait_ms(client);
    if (timeout_ms >= 0 && (wait_ms < 0 || timeout_ms < wait_ms)) wait_ms = timeout_ms;
    struct pollfd poll_fd = {.fd = client_fd(client), .events = client_poll_events(client)};
    /* A signal ends the wait early; the caller looks at what it means. */
    (void)poll(&poll_fd, 1, wait_ms);
    client_turn(client);
}
