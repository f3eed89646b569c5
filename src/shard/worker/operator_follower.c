/* shard/worker/operator_follower.c - `ringpost follower`: status, rebuild, remove. Each is one question to every shard, rebuild two: a name that no
 * shard knows is not made by mistake. */
#include "shard/engine/memory.h"
#include "shard/worker/operator_internal.h"
#include <stdlib.h>
#include <string.h>

static struct follower_ask named(const struct connection *c, int kind)
{
    struct follower_ask ask = {0};
    ask.kind = kind;
    memcpy(ask.name, c->name, sizeof ask.name);
    return ask;
}

/* False: refused. */
static bool take_name(struct connection *c, const char *name, bool or_temporary)
{
    bool is_temporary = name[0] == '.' && strlen(name) <= FOLLOWER_NAME_MAX && strspn(name + 1, "0123456789") == strlen(name + 1);
    if (!follower_name_valid(slice_text(name)) && !(or_temporary && is_temporary)) {
        connection_refuse(c, "bad_request", "name: 1 to 32 of a-z 0-9 _ - . and no point first");
        return false;
    }
    if (operator_in_use(c->op, name)) {
        connection_refuse(c, "follower_in_use", "somebody reads it now: end that first");
        return false;
    }
    strcpy(c->name, name); /* its length was looked at */
    return true;
}

/* ---- status ---- */

static int by_name(const void *a, const void *b)
{
    const Ringpost__V1__Follower *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static Ringpost__V1__Follower *follower_named(Ringpost__V1__FollowerStatus *status, const struct connection *c, const char *name)
{
    for (size_t i = 0; i < status->n_followers; i++)
        if (strcmp(status->followers[i]->name, name) == 0) return status->followers[i];
    Ringpost__V1__Follower *f = memory_alloc(sizeof *f);
    ringpost__v1__follower__init(f);
    f->name = memory_text(slice_text(name));
    f->connected = operator_in_use(c->op, name);
    status->followers = memory_resize(status->followers, (status->n_followers + 1) * sizeof(Ringpost__V1__Follower *));
    status->followers[status->n_followers++] = f;
    return f;
}

static void add_shard(Ringpost__V1__Follower *f, uint16_t shard, const struct follower_seen *seen, uint64_t newest)
{
    Ringpost__V1__FollowerShard *s = memory_alloc(sizeof *s);
    ringpost__v1__follower_shard__init(s);
    s->shard = shard;
    s->state = memory_text(slice_text(seen->lost ? "lost" : seen->place.rebuilding ? "rebuilding" : "following"));
    s->number = seen->place.number;
    s->newest = newest;
    s->backlog = seen->backlog;
    f->shards = memory_resize(f->shards, (f->n_shards + 1) * sizeof(Ringpost__V1__FollowerShard *));
    f->shards[f->n_shards++] = s;
}

static void status_known(struct connection *c)
{
    Ringpost__V1__FollowerStatus *status = memory_alloc(sizeof *status);
    ringpost__v1__follower_status__init(status);
    for (uint16_t i = 0; i < c->op->options.shard_count; i++) {
        const struct follower_ask *ask = &c->channels[i].command.ask;
        for (uint32_t k = 0; k < ask->status_count && ask->outcome == FOLLOWER_OUTCOME_OK; k++)
            add_shard(follower_named(status, c, ask->status[k].name), i, &ask->status[k], ask->newest);
    }
    if (status->n_followers > 0) qsort(status->followers, status->n_followers, sizeof(Ringpost__V1__Follower *), by_name);
    Ringpost__V1__OperatorResponse response;
    ringpost__v1__operator_response__init(&response);
    response.answer_case = RINGPOST__V1__OPERATOR_RESPONSE__ANSWER_STATUS;
    response.status = status;
    connection_answer(c, &response);
    c->state = OPERATOR_IDLE;
    ringpost__v1__follower_status__free_unpacked(status, NULL);
}

void follower_serve_status(struct connection *c)
{
    struct follower_ask ask = named(c, FOLLOWER_ASK_STATUS);
    connection_ask_all(c, &ask, status_known);
}

/* ---- rebuild, remove ---- */

/* The first that is not done. */
static bool all_done(struct connection *c)
{
    for (uint16_t i = 0; i < c->op->options.shard_count; i++) {
        enum follower_outcome outcome = c->channels[i].command.ask.outcome;
        if (outcome == FOLLOWER_OUTCOME_OK) continue;
        connection_refuse_outcome(c, i, outcome);
        return false;
    }
    return true;
}

static void rebuilt(struct connection *c)
{
    if (all_done(c)) connection_done(c);
}

static bool is_known(const struct connection *c)
{
    for (uint16_t i = 0; i < c->op->options.shard_count; i++) {
        const struct follower_ask *ask = &c->channels[i].command.ask;
        for (uint32_t k = 0; k < ask->status_count; k++)
            if (strcmp(ask->status[k].name, c->name) == 0) return true;
    }
    return false;
}

static void rebuild_known(struct connection *c)
{
    if (!all_done(c)) return;
    if (!is_known(c)) {
        connection_refuse(c, "unknown_follower", follower_outcome_text(FOLLOWER_OUTCOME_UNKNOWN));
        return;
    }
    struct follower_ask ask = named(c, FOLLOWER_ASK_BEGIN);
    ask.start = FOLLOWER_REBUILD;
    connection_ask_all(c, &ask, rebuilt);
}

void follower_serve_rebuild(struct connection *c, const char *name)
{
    if (!take_name(c, name, false)) return;
    struct follower_ask ask = named(c, FOLLOWER_ASK_STATUS);
    connection_ask_all(c, &ask, rebuild_known);
}

/* A start that a crash cut short may have made it in some shards only. */
static void removed(struct connection *c)
{
    bool any = false;
    for (uint16_t i = 0; i < c->op->options.shard_count; i++) {
        enum follower_outcome outcome = c->channels[i].command.ask.outcome;
        any |= outcome == FOLLOWER_OUTCOME_OK;
        if (outcome == FOLLOWER_OUTCOME_OK || outcome == FOLLOWER_OUTCOME_UNKNOWN) continue;
        connection_refuse_outcome(c, i, outcome);
        return;
    }
    if (any) connection_done(c);
    else connection_refuse_outcome(c, 0, FOLLOWER_OUTCOME_UNKNOWN);
}

void follower_serve_remove(struct connection *c, const char *name)
{
    if (!take_name(c, name, true)) return;
    struct follower_ask ask = named(c, FOLLOWER_ASK_END);
    connection_ask_all(c, &ask, removed);
}
