/* client/calls.c - requests, their answers, and sending again what was not answered.
 * Happy path: client_calls_add() packs the request once; client_calls_turn() puts it on the wire when the client is READY; the response with its id
 * ends it.
 * Failure modes: a lost connection makes repeatable calls wait for the next one, byte for byte the same, and ends the rest with CLOSED. A refusal
 * that says "retryable" did nothing, so any call may be repeated after it; when that would pass the deadline the refusal is the answer. */
#include "client/client_internal.h"
#include "core/check.h"
#include "core/clock.h"
#include <stdlib.h>
#include <string.h>

#define CALL_RETRY_MS 250 /* when the refusal names no time */

/* What is harmless to do twice. Everything not named here ends with its connection. */
static bool request_is_repeatable(const Ringpost__V1__Request *request)
{
    switch ((int)request->method_case) {
    case RINGPOST__V1__REQUEST__METHOD_DEVICES:
    case RINGPOST__V1__REQUEST__METHOD_USER:
    case RINGPOST__V1__REQUEST__METHOD_HISTORY:
    case RINGPOST__V1__REQUEST__METHOD_SYNC:
    case RINGPOST__V1__REQUEST__METHOD_CONVERSATIONS:
    case RINGPOST__V1__REQUEST__METHOD_MARK_READ:
    case RINGPOST__V1__REQUEST__METHOD_SET_DISPLAY_NAME:
    case RINGPOST__V1__REQUEST__METHOD_GET_ROOM:
    case RINGPOST__V1__REQUEST__METHOD_MEMBERS:
    case RINGPOST__V1__REQUEST__METHOD_PRESENCE:
    case RINGPOST__V1__REQUEST__METHOD_SUBSCRIBE:
        return true;
    case RINGPOST__V1__REQUEST__METHOD_SEND:
        return request->send->client_msg_id[0] != '\0';
    case RINGPOST__V1__REQUEST__METHOD_CREATE_ROOM:
        return request->create_room->client_room_id[0] != '\0';
    default:
        return false;
    }
}

static enum result call_pack(struct call *call, Ringpost__V1__Request *request)
{
    Ringpost__V1__Envelope envelope = RINGPOST__V1__ENVELOPE__INIT;
    envelope.body_case = RINGPOST__V1__ENVELOPE__BODY_REQUEST;
    envelope.request = request;
    size_t len = ringpost__v1__envelope__get_packed_size(&envelope);
    if (len > WIRE_OUT_SIZE_MAX / 2) return RESULT_TOO_LARGE;
    call->frame = malloc(len);
    if (call->frame == NULL) return RESULT_NOMEM;
    call->frame_len = (uint32_t)ringpost__v1__envelope__pack(&envelope, call->frame);
    return RESULT_OK;
}

enum result client_calls_add(struct client *client, Ringpost__V1__Request *request, uint64_t timeout_ms, bool internal, client_reply_f reply,
                      void *context)
{
    ASSERT(request->method_case != RINGPOST__V1__REQUEST__METHOD__NOT_SET && reply != NULL);
    if (client->call_count == CLIENT_CALLS_MAX) return RESULT_BUSY;
    uint64_t now_ns = clock_monotonic_ns();
    struct call call = {.state = CALL_WAITING, .internal = internal, .id = client->next_id, .due_ns = now_ns,
                        .deadline_ns = after_ms(now_ns, timeout_ms), .reply = reply, .context = context,
                        .repeatable = request_is_repeatable(request),
                        .is_send = request->method_case == RINGPOST__V1__REQUEST__METHOD_SEND};
    request->id = call.id;
    enum result res = call_pack(&call, request);
    if (res != RESULT_OK) return res;
    client->calls[client->call_count++] = call;
    client->next_id++;
    return RESULT_OK;
}

enum result client_call(struct client *client, Ringpost__V1__Request *request, uint32_t timeout_ms, client_reply_f reply, void *context)
{
    return client_calls_add(client, request, timeout_ms != 0 ? timeout_ms : CLIENT_TIMEOUT_MS, false, reply, context);
}

/* Takes the call out of the table first: its reply may make new calls. */
static void call_end(struct client *client, uint32_t index, enum result result, const Ringpost__V1__Response *response)
{
    ASSERT(index < client->call_count && (result == RESULT_OK) == (response != NULL));
    struct call call = client->calls[index];
    client->call_count--;
    memmove(&client->calls[index], &client->calls[index + 1], (client->call_count - index) * sizeof call);
    free(call.frame);
    call.reply(call.context, result, response);
}

static bool call_may_wait(const struct call *call, const Ringpost__V1__Error *error, uint64_t now_ns, uint64_t *due_ns)
{
    *due_ns = after_ms(now_ns, error->retry_after_ms > 0 ? error->retry_after_ms : CALL_RETRY_MS);
    return error->retryable && *due_ns < call->deadline_ns;
}

void client_calls_on_response(struct client *client, const Ringpost__V1__Response *response)
{
    for (uint32_t i = 0; i < client->call_count; i++) {
        struct call *call = &client->calls[i];
        if (call->id != response->id || call->state != CALL_SENT) continue;
        uint64_t due_ns;
        if (response->error != NULL && call_may_wait(call, response->error, clock_monotonic_ns(), &due_ns)) {
            call->state = CALL_WAITING;
            call->due_ns = due_ns;
        } else {
            call_end(client, i, RESULT_OK, response);
        }
        return;
    }
    /* The answer to a call that ended by its deadline. */
}

void client_calls_on_disconnect(struct client *client)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < client->call_count; i++) {
        struct call *call = &client->calls[i];
        if (call->internal) {
            free(call->frame);
            continue;
        }
        if (call->state == CALL_SENT) {
            call->state = call->repeatable ? CALL_WAITING : CALL_LOST;
            call->due_ns = 0;
        }
        client->calls[kept++] = *call;
    }
    client->call_count = kept;
}

void client_calls_drop_all(struct client *client)
{
    for (uint32_t i = 0; i < client->call_count; i++) free(client->calls[i].frame);
    client->call_count = 0;
}

/* Why this call is over without an answer; OK: it is not. */
static enum result call_verdict(const struct client *client, const struct call *call, uint64_t now_ns)
{
    if (client->state == CLIENT_REFUSED) return RESULT_DENIED;
    if (client->state == CLIENT_UNREACHABLE) return RESULT_IO;
    if (call->state == CALL_LOST) return RESULT_CLOSED;
    /* The server would close the connection over it, again and again. */
    if (client->greeted && client->frame_size_max > 0 && call->frame_len > client->frame_size_max) return RESULT_TOO_LARGE;
    return now_ns >= call->deadline_ns ? RESULT_TIMEOUT : RESULT_OK;
}

static bool call_may_go(const struct client *client, const struct call *call)
{
    return client->state == CLIENT_READY || (call->internal && client->greeted);
}

void client_calls_turn(struct client *client, uint64_t now_ns)
{
    bool sends_held = false; /* an earlier send has no answer yet: later ones must not overtake it */
    uint64_t made_before_id = client->next_id; /* replies may add calls: those are for the next turn */
    for (uint32_t i = 0; i < client->call_count && client->calls[i].id < made_before_id;) {
        struct call *call = &client->calls[i];
        enum result verdict = call_verdict(client, call, now_ns);
        if (verdict != RESULT_OK) {
            call_end(client, i, verdict, NULL);
            continue;
        }
        if (call->state == CALL_WAITING && call_may_go(client, call)) {
            bool is_due = call->due_ns <= now_ns && !(call->is_send && sends_held);
            if (is_due && wire_send(&client->wire, slice_of(call->frame, call->frame_len)) == RESULT_OK) call->state = CALL_SENT;
        }
        sends_held = sends_held || call->is_send;
        i++;
    }
}

uint64_t client_calls_due_ns(const struct client *client)
{
    uint64_t due_ns = CLIENT_NEVER;
    bool sends_held = false;
    for (uint32_t i = 0; i < client->call_count; i++) {
        const struct call *call = &client->calls[i];
        if (client_is_final(client) || call->state == CALL_LOST) return 0;
        uint64_t at_ns = call->deadline_ns;
        bool may_go = call->state == CALL_WAITING && call_may_go(client, call) && !(call->is_send && sends_held);
        if (may_go && call->due_ns < at_ns) at_ns = call->due_ns;
        sends_held = sends_held || call->is_send;
        if (at_ns < due_ns) due_ns = at_ns;
    }
    return due_ns;
}

/* ---- waiting for one ---- */

struct call_waiter {
    bool done;
    enum result result;
    Ringpost__V1__Response *response;
};

static void call_waiter_on_reply(void *context, enum result result, const Ringpost__V1__Response *response)
{
    struct call_waiter *waiter = context;
    waiter->done = true;
    waiter->result = result;
    if (response == NULL) return;
    size_t len = ringpost__v1__response__get_packed_size(response);
    uint8_t *packed = malloc(len);
    if (packed != NULL) {
        ringpost__v1__response__pack(response, packed);
        waiter->response = ringpost__v1__response__unpack(NULL, len, packed);
        free(packed);
    }
    if (waiter->response == NULL) waiter->result = RESULT_NOMEM;
}

enum result client_call_wait(struct client *client, Ringpost__V1__Request *request, uint32_t timeout_ms, Ringpost__V1__Response **response)
{
    *response = NULL;
    struct call_waiter waiter = {0};
    enum result res = client_call(client, request, timeout_ms, call_waiter_on_reply, &waiter);
    if (res != RESULT_OK) return res;
    while (!waiter.done) client_wait(client, -1);
    *response = waiter.response;
    return waiter.result;
}
