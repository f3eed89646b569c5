/* shard/account/auth.c - a socket becomes a session of its user and device; shown a newer token, it lives longer.
 * The door has verified the token. Happy path: account and inbox resident -> a device seen for the first time is listed by
 * DEVICE_PUT -> session opened and bound to the connection -> answered with the head of the user's stream. From the moment
 * of that answer on events are pushed, so a client that syncs up to it misses nothing. */
#include "shard/account/account_internal.h"
#include "shard/records.h"
#include "shard/session.h"

#define MS_PER_SECOND 1000u

static struct account *auth_account(struct shard *shard, struct request *request)
{
    return account_of(machine_entity(request_machine(shard), ENTITY_ACCOUNT, request->actor.user_id, 0));
}

static void auth_reply(struct shard *shard, struct request *request, const struct session *session)
{
    const struct inbox *inbox = session->inbox;
    Ringpost__V1__AuthResponse response;
    ringpost__v1__auth_response__init(&response);
    response.user_id = inbox->entity.key.a;
    response.name = inbox->name;
    response.display_name = inbox->display_name;
    response.sync_key = inbox->head;
    response.expires_ms = session->expires_s * MS_PER_SECOND;
    request_reply(shard, request, &response.base);
}

/* Tells the connection about its session, new or with newer times. False: the connection is gone, nobody waits for an answer. */
static bool auth_bind(struct shard *shard, struct request *request, struct session *session)
{
    const struct shard_ports *ports = shard_ports(shard);
    bool bound = ports->session_bind(ports->context, &request->letter->origin, session);
    if (bound) auth_reply(shard, request, session);
    else request_end(shard, request);
    return bound;
}

static void auth_open(struct shard *shard, struct request *request)
{
    struct inbox *inbox = inbox_of(machine_entity(request_machine(shard), ENTITY_INBOX, request->actor.user_id, 0));
    struct session *session = NULL;
    if (session_open(&session, shard, inbox, &request->actor, request->letter->origin.json != 0) != RESULT_OK) {
        request_refuse(shard, request, ERROR_TOO_MANY_DEVICES);
        return;
    }
    if (!auth_bind(shard, request, session)) session_close(session);
}

/* The connection is bound already: only the same user and device may extend it, and an older token never shortens it. */
static void auth_extend(struct shard *shard, struct request *request)
{
    struct session *session = session_find(shard, request->letter->number);
    if (session == NULL || session->inbox->entity.key.a != request->actor.user_id ||
        !slice_equal(slice_text(session->device_id), request->actor.device_id)) {
        request_refuse(shard, request, ERROR_OTHER_USER);
        return;
    }
    if (session->expires_s < request->actor.expires_s) {
        session->issued_s = request->actor.issued_s;
        session->expires_s = request->actor.expires_s;
    }
    (void)auth_bind(shard, request, session); /* a session whose connection is gone is closed by its door */
}

/* The device is listed; while that became durable it may have been revoked. */
static void auth_on_listed(struct shard *shard, struct request *request, enum error error)
{
    if (error == ERROR_NONE)
        error = account_admits(auth_account(shard, request), request->actor.device_id, request->actor.issued_s);
    if (error != ERROR_NONE) {
        request_refuse(shard, request, error);
        return;
    }
    auth_open(shard, request);
}

static void auth_list_device(struct shard *shard, struct request *request)
{
    struct device_put_record record = {.user_id = request->actor.user_id,
                                       .device_id = request->actor.device_id,
                                       .platform = request->actor.platform};
    struct writer bytes;
    writer_init(&bytes, 0);
    device_put_record_write(&bytes, &record);
    request_propose_then(shard, request, COMMAND_DEVICE_PUT, writer_slice(&bytes), auth_on_listed);
    writer_deinit(&bytes);
}

void handle_auth(struct shard *shard, struct request *request)
{
    struct entity *account = request_entity(shard, request, ENTITY_ACCOUNT, request->actor.user_id, 0);
    (void)request_entity(shard, request, ENTITY_INBOX, request->actor.user_id, 0);
    if (request_waits(request)) return;
    enum error error = account_admits(account_of(account), request->actor.device_id, request->actor.issued_s);
    if (error != ERROR_NONE) {
        request_refuse(shard, request, error);
        return;
    }
    if (request->letter->number != 0) {
        auth_extend(shard, request);
        return;
    }
    const struct device *device = account_device(account_of(account), request->actor.device_id);
    if (device == NULL || device->revoked) {
        auth_list_device(shard, request);
        return;
    }
    auth_open(shard, request);
}
