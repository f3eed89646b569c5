/* shard/domain/account/auth.c - who may come in; a socket becomes a session of its user and device, and lives longer when shown a newer token.
 * The door has verified the token. Happy path: account and inbox resident -> a device seen for the first time is put on the list by
 * DEVICE_PUT -> session opened and bound to the connection -> answered with the head of the user's stream. From the moment
 * of that answer on events are pushed, so a client that syncs up to it misses nothing. */
#include "shard/domain/account/account_internal.h"
#include "shard/domain/records.h"
#include "shard/domain/delivery/session.h"
#include "shard/domain/setup.h"

#define MS_PER_SECOND 1000u

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
    char epoch[EPOCH_TEXT_SIZE];
    epoch_write(epoch, epoch_now(request_machine(shard)));
    response.stream_epoch = epoch;
    request_reply(shard, request, &response.base);
}

void account_refuse_token(struct shard *shard, struct request *request, enum error error)
{
    bool peer = error == ERROR_DEVICE_REVOKED || error == ERROR_TOKEN_EXPIRED || error == ERROR_OTHER_USER || error == ERROR_USER_NOT_FOUND;
    if (peer) request_refuse_peer(shard, request, error, NULL, REFUSAL_TOKEN, request->actor.user_id);
    else request_refuse(shard, request, error);
}

/* Tells the connection about its session, new or with newer times. False: the connection is gone, nobody waits for an answer. */
static bool auth_bind(struct shard *shard, struct request *request, struct session *session)
{
    const struct domain_ports *ports = domain_ports(shard);
    bool bound = ports->session_bind(ports->context, &request->letter->origin, session);
    if (bound) auth_reply(shard, request, session);
    else request_end(shard, request);
    return bound;
}

static void auth_open(struct shard *shard, struct request *request)
{
    struct inbox *inbox = inbox_of(machine_entity(request_machine(shard), ENTITY_INBOX, request->actor.user_id, 0));
    struct session *session = NULL;
    if (session_open(&session, shard, inbox, &request->actor) != RESULT_OK) {
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
        account_refuse_token(shard, request, ERROR_OTHER_USER);
        return;
    }
    if (session->expires_s < request->actor.expires_s) session_set_times(session, request->actor.issued_s, request->actor.expires_s);
    (void)auth_bind(shard, request, session); /* a session whose connection is gone is closed by its door */
}

static void auth_on_let_in(struct shard *shard, struct request *request, enum error error)
{
    const struct shard_ports *ports = shard_ports(shard);
    bool over = request->actor.expires_s <= ports->now_ms(ports->context) / MS_PER_SECOND; /* leeway would not let it stay */
    if (error == ERROR_NONE && over) error = ERROR_TOKEN_EXPIRED;
    if (error != ERROR_NONE) account_refuse_token(shard, request, error);
    else if (request->letter->number != 0) auth_extend(shard, request);
    else auth_open(shard, request);
}

void handle_auth(struct shard *shard, struct request *request)
{
    struct entity *account = request_entity(shard, request, ENTITY_ACCOUNT, request->actor.user_id, 0);
    (void)request_entity(shard, request, ENTITY_INBOX, request->actor.user_id, 0);
    if (request_waits(request)) return;
    account_let_in(shard, request, account_of(account), auth_on_let_in);
}

/* ---- who may come in ---------------------------------------------------------------------------------------------------- */

static void list_device(struct shard *shard, struct request *request, const struct account *account,
                        void (*then)(struct shard *shard, struct request *request, enum error error))
{
    struct device_put_record record = {.user_id = request->actor.user_id,
                                       .device_id = request->actor.device_id,
                                       .platform = request->actor.platform,
                                       .issued_s = request->actor.issued_s};
    if (!account_find_place(shard, request, account, request->actor.device_id, &record.frees)) return;
    REQUEST_PROPOSE_THEN(shard, request, device_put, DEVICE_PUT, &record, then);
}

void account_let_in(struct shard *shard, struct request *request, struct account *account,
                    void (*then)(struct shard *shard, struct request *request, enum error error))
{
    enum error error = account_admits(account, &request->actor);
    const struct device *device = account_device(account, request->actor.device_id);
    if (error == ERROR_DEVICE_REVOKED) account_correct_revocation(shard, account, &request->actor);
    if (error == ERROR_NONE && (device == NULL || device->revoked)) list_device(shard, request, account, then);
    else then(shard, request, error);
}
