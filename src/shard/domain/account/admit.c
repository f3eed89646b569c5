/* shard/domain/account/admit.c - the actor's home shard lets a request pass: device known and not revoked, rate limits, then on to the owner.
 * A session's requests skip the device check: a session of a revoked device is ended when the device is. */
#include "shard/domain/account/account_internal.h"
#include "shard/engine/rate_limit.h"
#include "shard/domain/delivery/session.h"
#include "shard/domain/methods.h"
#include "shard/domain/setup.h"

static enum error admit_rate(const struct shard *s, const struct method *method, struct inbox *inbox, uint32_t *retry_after_ms)
{
    const struct domain_options *limits = domain_options(s);
    uint64_t now = shard_now_ns(s) / 1000000; /* steps of no clock give or take anything */
    bool fits = true;
    if (method->rate != RATE_NONE)
        fits = rate_limit_take(&inbox->requests_bucket, now, limits->requests_per_second, limits->requests_burst, retry_after_ms);
    if (fits && method->rate == RATE_MESSAGE)
        fits = rate_limit_take(&inbox->messages_bucket, now, limits->messages_per_second, limits->messages_burst, retry_after_ms);
    return fits ? ERROR_NONE : ERROR_RATE_LIMITED;
}

static void refuse(struct shard *s, const struct origin *origin, uint16_t method, enum error error, uint32_t retry_after_ms)
{
    if (error == ERROR_RATE_LIMITED) metrics_add(&shard_metrics(s)->rate_limited, 1);
    request_answer(s, &(struct answer){.origin = origin, .method = method, .error = error, .retry_after_ms = retry_after_ms});
}

/* An admitted request goes to the shard that owns its subject; this one, when it is this one, without a detour. Returns it. */
static uint16_t forward(struct shard *s, const struct method *method, const struct actor_record *actor, struct slice payload,
                    const struct origin *origin, uint64_t session_id)
{
    uint16_t here = shard_number(s), owner = 0;
    enum error error = method->route(method, payload, actor->user_id, shard_machine(s)->options.shard_count, &owner);
    if (error != ERROR_NONE) {
        refuse(s, origin, method->number, error, 0);
        return here;
    }
    if (owner == here) {
        request_start_here(s, method, actor, payload, origin, session_id);
    } else {
        struct letter *letter = letter_make(LETTER_REQUEST, here, owner, actor, payload);
        letter->origin = *origin;
        letter->method = method->number;
        letter->number = session_id;
        letter->admitted = true;
        shard_post(s, letter);
    }
    return owner;
}

static void admit_on_let_in(struct shard *s, struct request *r, enum error error)
{
    if (error != ERROR_NONE) {
        account_refuse_token(s, r, error);
        return;
    }
    const struct method *method = method_by_number(shard_machine(s)->options.domain, r->letter->method);
    struct inbox *inbox = inbox_of(machine_entity(shard_machine(s), ENTITY_INBOX, r->actor.user_id, 0)); /* pinned */
    uint32_t retry_after_ms = 0;
    error = admit_rate(s, method, inbox, &retry_after_ms);
    struct origin origin = r->letter->origin;
    if (error != ERROR_NONE) {
        refuse(s, &origin, method->number, error, retry_after_ms);
        request_end(s, r);
        return;
    }
    struct actor_record actor = r->actor;
    actor.name = slice_text(inbox->display_name);
    request_set_aside(s, r); /* the onward request reads its bytes */
    (void)forward(s, method, &actor, letter_payload(r->letter), &origin, 0);
    request_end(s, r);
}

void admit_run(struct shard *s, struct request *r)
{
    (void)request_entity(s, r, ENTITY_INBOX, r->actor.user_id, 0);
    struct entity *account = request_entity(s, r, ENTITY_ACCOUNT, r->actor.user_id, 0);
    if (request_waits(r)) return;
    account_let_in(s, r, account_of(account), admit_on_let_in);
}

enum error session_take(struct session *session, const struct method *method, uint32_t *retry_after_ms)
{
    struct shard *s = session->shard;
    if (session_expired(session, shard_now_ms(s) / 1000)) return ERROR_TOKEN_EXPIRED;
    return admit_rate(s, method, session->inbox, retry_after_ms);
}

uint16_t session_forward(struct session *session, const struct method *method, struct slice payload, const struct origin *origin)
{
    struct actor_record actor = session_actor(session);
    return forward(session->shard, method, &actor, payload, origin, session->id);
}

uint16_t session_request(struct session *session, const struct method *method, struct slice payload, const struct origin *origin)
{
    struct shard *s = session->shard;
    uint32_t retry_after_ms = 0;
    enum error error = session_take(session, method, &retry_after_ms);
    if (error == ERROR_NONE) return session_forward(session, method, payload, origin);
    refuse(s, origin, method->number, error, retry_after_ms);
    return shard_number(s);
}
