/* shard/engine/method.h - a method of the contract: what a client may ask for, and which shard works on it.
 * Thread: read-only.              Depends: shard/engine/request.h.  Start at: shard/engine/shard.h
 * The rows are the domain's: shard/domain/methods.c. */
#ifndef SHARD_METHOD_H
#define SHARD_METHOD_H

#include "shard/engine/request.h"

enum method_access { ACCESS_OPEN, ACCESS_USER, ACCESS_SOCKET }; /* without token; with; with and only on a socket */
enum method_rate { RATE_NONE, RATE_REQUEST, RATE_MESSAGE };

struct method {
    uint16_t number;    /* field number in Request.method */
    const char *name;
    const char *path;   /* HTTP */
    /* Where a request goes. BAD_REQUEST when the routing field cannot be read. */
    enum error (*route)(const struct method *method, struct slice payload, uint64_t actor_id, uint16_t shard_count, uint16_t *shard);
    uint8_t owner_field, other_field; /* of the request message: who owns its subject, for `route`; 0: not asked */
    enum method_access access;
    bool is_read;       /* GET too; not refused on a full disk */
    enum method_rate rate;
    request_run_f handle;
};
/* NULL when there is none. */
const struct method *method_by_number(const struct domain *domain, uint32_t number);
const struct method *method_by_path(const struct domain *domain, struct slice path);

#endif
