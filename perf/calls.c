/* perf/calls.c - see the header. A refusal that time cures is asked again after the time the server names. */
#include "perf/calls.h"
#include "perf/session.h"
#include <stdio.h>
#include <time.h>

#define CALL_TIMEOUT_S     30.0
#define CALL_TRIES_MAX     200
#define RETRY_AFTER_MS_MIN 10
#define ROOM_MEMBERS_MAX   100 /* of one create_room or invite, by the schema */

bool call_on_answer(struct session *session, const struct answer *answer)
{
    struct call *call = session->call;
    if (answer->id != call->id) return false;
    call->answered = true;
    if (answer->refused) {
        snprintf(call->refusal, sizeof call->refusal, "%.*s", (int)answer->reason.len, (const char *)answer->reason.data);
        call->retry_after_ms = answer->retryable ? answer->retry_after_ms + RETRY_AFTER_MS_MIN : 0;
    } else {
        call->response = ringpost__v1__response__unpack(NULL, answer->packed.len, answer->packed.data);
        if (call->response == NULL) perf_die("a response that protobuf-c cannot decode");
    }
    return true;
}

static bool call_done(void *context)
{
    const struct session *session = context;
    if (session->state == SESSION_CLOSED) perf_die("the server closed a connection during set-up");
    return session->call->answered;
}

static void pause_ms(uint32_t milliseconds)
{
    struct timespec pause = {.tv_sec = milliseconds / 1000, .tv_nsec = (long)(milliseconds % 1000) * 1000000};
    (void)nanosleep(&pause, NULL);
}

Ringpost__V1__Response *call_wait(struct session *session, Ringpost__V1__Request *request)
{
    static uint64_t id = CALL_ID_FIRST;
    for (uint32_t tries = 0; tries < CALL_TRIES_MAX; tries++) {
        struct call call = {.id = id++};
        request->id = call.id;
        session->call = &call;
        session->driver->call(session, request);
        if (!loop_until(session->loop, call_done, session, CALL_TIMEOUT_S)) perf_die("no answer in %.0f s", CALL_TIMEOUT_S);
        session->call = NULL;
        if (call.response != NULL) return call.response;
        if (call.retry_after_ms == 0) perf_die("method %d was refused: %s", (int)request->method_case, call.refusal);
        pause_ms(call.retry_after_ms);
    }
    perf_die("method %d was refused %d times", (int)request->method_case, CALL_TRIES_MAX);
}

static void invite(struct session *session, uint64_t room_id, uint64_t *user_ids, uint32_t count)
{
    Ringpost__V1__InviteRequest in = RINGPOST__V1__INVITE_REQUEST__INIT;
    Ringpost__V1__Request request = RINGPOST__V1__REQUEST__INIT;
    in.room_id = room_id;
    in.user_ids = user_ids;
    in.n_user_ids = count;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_INVITE;
    request.invite = &in;
    ringpost__v1__response__free_unpacked(call_wait(session, &request), NULL);
}

uint64_t call_create_room(struct session *session, const char *name, uint64_t *user_ids, uint32_t count)
{
    Ringpost__V1__CreateRoomRequest in = RINGPOST__V1__CREATE_ROOM_REQUEST__INIT;
    Ringpost__V1__Request request = RINGPOST__V1__REQUEST__INIT;
    char text[64];
    snprintf(text, sizeof text, "%s", name);
    in.name = in.client_room_id = text;
    in.member_ids = user_ids;
    in.n_member_ids = count < ROOM_MEMBERS_MAX ? count : ROOM_MEMBERS_MAX;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_CREATE_ROOM;
    request.create_room = &in;
    Ringpost__V1__Response *response = call_wait(session, &request);
    uint64_t room_id = response->create_room->room->room_id;
    ringpost__v1__response__free_unpacked(response, NULL);
    for (uint32_t done = ROOM_MEMBERS_MAX; done < count; done += ROOM_MEMBERS_MAX)
        invite(session, room_id, user_ids + done, count - done < ROOM_MEMBERS_MAX ? count - done : ROOM_MEMBERS_MAX);
    return room_id;
}
