/* perf/envelope.c - see the header. Decoding is lenient about unknown fields and strict about broken ones: an envelope that
 * cannot be read ends the session, which every workload counts as a fault. */
#include "perf/envelope.h"
#include "perf/session.h"
#include <stdio.h>

enum { /* field numbers of schemas/ringpost/v1/ringpost.proto that are coded by hand */
    ENVELOPE_REQUEST = 1, ENVELOPE_RESPONSE = 2, ENVELOPE_PUSH = 3, ENVELOPE_HELLO = 4,
    REQUEST_ID = 1, RESPONSE_ID = 1, RESPONSE_ERROR = 2,
    METHOD_AUTH = 16, METHOD_SEND = 20,
    SEND_ROOM = 1, SEND_TO_USER = 2, SEND_CLIENT_ID = 3, SEND_KIND = 4, SEND_BODY = 5, KIND_CUSTOM = 6,
    AUTH_SYNC_KEY = 4,
    ERROR_REASON = 2, ERROR_RETRYABLE = 4, ERROR_RETRY_AFTER = 5,
    PUSH_EVENT = 1, PUSH_ROOM_MESSAGE = 2, PUSH_BEHIND = 5, PUSH_SESSION_END = 6,
    EVENT_SYNC_KEY = 1, EVENT_MESSAGE = 2,
    MESSAGE_ROOM = 2, MESSAGE_SEQ = 3, MESSAGE_SENDER = 4, MESSAGE_BODY = 8,
    SYNC_EVENT = 1, SYNC_KEY = 2, SYNC_HAS_MORE = 3, SYNC_RESET = 4,
};

#define AUTH_ID (CALL_ID_FIRST - 1)

static struct bytes scratch; /* the envelope written last; the program has one thread */

/* ---- out ---- */

struct slice envelope_send(const struct outgoing *message)
{
    uint32_t target_field = message->room_id != 0 ? SEND_ROOM : SEND_TO_USER;
    uint64_t target = message->room_id != 0 ? message->room_id : message->to_user_id;
    size_t send_size = wire_u64_size(target_field, target) + wire_bytes_size(SEND_CLIENT_ID, message->client_msg_id.len) +
                       wire_u64_size(SEND_KIND, KIND_CUSTOM) + wire_bytes_size(SEND_BODY, message->body.len);
    size_t request_size = wire_u64_size(REQUEST_ID, message->id) + wire_bytes_size(METHOD_SEND, send_size);
    scratch.len = 0;
    uint8_t *at = bytes_reserve(&scratch, wire_bytes_size(ENVELOPE_REQUEST, request_size));
    at = wire_put_head(at, ENVELOPE_REQUEST, request_size);
    at = wire_put_u64(at, REQUEST_ID, message->id);
    at = wire_put_head(at, METHOD_SEND, send_size);
    at = wire_put_u64(at, target_field, target);
    at = wire_put_bytes(at, SEND_CLIENT_ID, message->client_msg_id);
    at = wire_put_u64(at, SEND_KIND, KIND_CUSTOM);
    at = wire_put_bytes(at, SEND_BODY, message->body);
    return (struct slice){scratch.data, (size_t)(at - scratch.data)};
}

struct slice envelope_call(const Ringpost__V1__Request *request)
{
    size_t size = ringpost__v1__request__get_packed_size(request);
    scratch.len = 0;
    uint8_t *at = bytes_reserve(&scratch, wire_bytes_size(ENVELOPE_REQUEST, size));
    at = wire_put_head(at, ENVELOPE_REQUEST, size);
    at += ringpost__v1__request__pack(request, at);
    return (struct slice){scratch.data, (size_t)(at - scratch.data)};
}

/* ---- in ---- */

static bool read_message(struct slice in, struct incoming *message)
{
    struct wire_field field;
    *message = (struct incoming){0};
    while (wire_next(&in, &field)) {
        switch (field.number) {
        case MESSAGE_ROOM: message->room_id = field.value; break;
        case MESSAGE_SEQ: message->seq = field.value; break;
        case MESSAGE_SENDER: message->sender_id = field.value; break;
        case MESSAGE_BODY: message->body = field.bytes; break;
        default: break;
        }
    }
    return in.len == 0;
}

static bool read_event(struct session *session, struct slice in)
{
    struct wire_field field;
    struct incoming message;
    uint64_t sync_key = 0;
    bool is_message = false;
    while (wire_next(&in, &field)) {
        if (field.number == EVENT_SYNC_KEY) sync_key = field.value;
        if (field.number != EVENT_MESSAGE) continue;
        is_message = true;
        if (!read_message(field.bytes, &message)) return false;
    }
    if (in.len != 0) return false;
    session_on_event(session, sync_key, is_message ? &message : NULL);
    return true;
}

static void read_push(struct session *session, struct slice in)
{
    struct wire_field field;
    struct incoming message;
    bool whole = true;
    while (whole && session_listens(session) && wire_next(&in, &field)) {
        if (field.number == PUSH_EVENT) {
            whole = read_event(session, field.bytes);
        } else if (field.number == PUSH_ROOM_MESSAGE) {
            whole = read_message(field.bytes, &message);
            if (whole) session_on_message(session, &message);
        } else if (field.number == PUSH_BEHIND) {
            session->loop->counters.behind++;
        } else if (field.number == PUSH_SESSION_END) {
            session_fail(session, "session ended by the server");
        }
    }
    if (!whole || (in.len != 0 && session_listens(session))) session_fail(session, "a push that cannot be decoded");
}

static bool read_error(struct slice in, struct answer *answer)
{
    struct wire_field field;
    answer->refused = true;
    while (wire_next(&in, &field)) {
        if (field.number == ERROR_REASON) answer->reason = field.bytes;
        if (field.number == ERROR_RETRYABLE) answer->retryable = field.value != 0;
        if (field.number == ERROR_RETRY_AFTER) answer->retry_after_ms = (uint32_t)field.value;
    }
    return in.len == 0;
}

static void read_login(struct session *session, const struct answer *answer)
{
    struct wire_field field;
    struct slice in = answer->result;
    if (answer->refused) {
        char reason[64];
        snprintf(reason, sizeof reason, "login refused: %.*s", (int)answer->reason.len, (const char *)answer->reason.data);
        session_fail(session, reason);
        return;
    }
    while (wire_next(&in, &field))
        if (field.number == AUTH_SYNC_KEY) session->sync_key = field.value;
    session_on_ready(session);
}

static void read_response(struct session *session, struct slice in)
{
    struct answer answer = {.packed = in};
    struct wire_field field;
    bool whole = true;
    while (whole && wire_next(&in, &field)) {
        if (field.number == RESPONSE_ID) {
            answer.id = field.value;
        } else if (field.number == RESPONSE_ERROR) {
            whole = read_error(field.bytes, &answer);
        } else {
            answer.method = field.number;
            answer.result = field.bytes;
        }
    }
    if (!whole || in.len != 0) session_fail(session, "a response that cannot be decoded");
    else if (answer.id == AUTH_ID) read_login(session, &answer);
    else session_on_answer(session, &answer);
}

static void read_hello(struct session *session)
{
    if (session->login.user_id == 0) {
        session_on_ready(session);
        return;
    }
    char token[TOKEN_TEXT_MAX];
    (void)token_mint_write(&session->loop->tokens, session->login.user_id, token);
    Ringpost__V1__AuthRequest auth = RINGPOST__V1__AUTH_REQUEST__INIT;
    Ringpost__V1__Request request = RINGPOST__V1__REQUEST__INIT;
    auth.access_token = token;
    request.id = AUTH_ID;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_AUTH;
    request.auth = &auth;
    session->driver->call(session, &request);
}

void envelope_receive(struct session *session, struct slice envelope)
{
    struct wire_field field;
    while (session_listens(session) && wire_next(&envelope, &field)) {
        switch (field.number) {
        case ENVELOPE_RESPONSE: read_response(session, field.bytes); break;
        case ENVELOPE_PUSH: read_push(session, field.bytes); break;
        case ENVELOPE_HELLO: read_hello(session); break;
        default: break;
        }
    }
    if (envelope.len != 0 && session_listens(session)) session_fail(session, "an envelope that cannot be decoded");
}

bool envelope_sync_page(struct session *session, struct slice packed, struct sync_page *page)
{
    struct wire_field field;
    *page = (struct sync_page){0};
    while (wire_next(&packed, &field)) {
        if (field.number == SYNC_EVENT && !read_event(session, field.bytes)) return false;
        if (field.number == SYNC_KEY) page->sync_key = field.value;
        if (field.number == SYNC_HAS_MORE) page->has_more = field.value != 0;
        if (field.number == SYNC_RESET) page->reset = field.value != 0;
    }
    return packed.len == 0;
}
