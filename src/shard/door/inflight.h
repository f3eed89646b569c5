/* shard/door/inflight.h - the requests of this worker's connections that have no answer yet: what comes back is known by number alone.
 * Owns:    one entry per request; of a request that has left for another worker the time until which it may stay without an answer.
 * Thread:  its worker.            Depends: shard/engine/letter.h, net/conn.h.   Start at: shard/door/door.h
 *
 *   FREE --take--> HERE (a shard of this worker has it, and answers for certain) --answered--> FREE
 *                  HERE --leave--> AWAY (a letter may be lost, the other side may hang) --answered, or overdue--> FREE
 *
 * A letter carries the origin and nothing else of a request: slot and generation. The generations of a table begin at random and none is given
 * twice, so an answer that is late, comes again, or was meant for an earlier life of this process finds nothing.
 * Limit: INFLIGHT_MAX entries of 64 bytes; beyond it inflight_take() refuses and the request is answered SERVER_BUSY. */
#ifndef SHARD_DOOR_INFLIGHT_H
#define SHARD_DOOR_INFLIGHT_H

#include "net/conn.h"
#include "shard/engine/letter.h"

#define INFLIGHT_MAX        (1u << 20)
#define INFLIGHT_TIMEOUT_NS UINT64_C(10000000000) /* as of calls between shards: CALL_TIMEOUT_MS */

struct inflight {
    /* What the door states. */
    struct conn_handle conn;
    uint64_t request_id; /* the client's own number, or the door's for what it asks itself */
    uint64_t started_ns;
    uint16_t method;
    uint8_t door; /* enum conn_door */
    bool json;
    uint8_t cors; /* HTTP from a page of allowed origin number cors - 1; 0: no such page */
    /* The table's own. */
    bool away;
    uint16_t away_shard;
    uint32_t next, before; /* of the free ones; of those that are away, in the order they left */
    uint64_t generation;   /* 0: free */
    uint64_t until_ns;     /* AWAY */
};
_Static_assert(sizeof(struct inflight) <= 64, "one cache line");

struct inflight_table;
/* `worker`: its number, of every origin. `first_generation`: random. */
struct inflight_table *inflight_create(uint16_t worker, uint16_t shard_count, uint64_t first_generation);
void inflight_destroy(struct inflight_table *table); /* may be NULL */

/* Copies `request`. False: the table is full. */
NODISCARD bool inflight_take(struct inflight_table *table, const struct inflight *request, struct origin *origin);
/* NULL: nothing waits for such an answer. Borrowed until the next take. */
const struct inflight *inflight_find(const struct inflight_table *table, const struct origin *origin);
/* It has left for a shard of another worker. Nothing happens when it is not known, or has left before. */
void inflight_leave(struct inflight_table *table, const struct origin *origin, uint16_t shard, uint64_t now_ns);
/* It is answered; false: it was not known, or asked for another method. */
NODISCARD bool inflight_end(struct inflight_table *table, const struct origin *origin, uint16_t method, struct inflight *out);
/* One that is away for too long, and ends with that; false: there is none. */
NODISCARD bool inflight_overdue(struct inflight_table *table, uint64_t now_ns, struct inflight *out);

/* Of sockets (not HTTP, which asks one thing at a time): how many are away at that shard. */
uint32_t inflight_asked(const struct inflight_table *table, uint16_t shard);
uint32_t inflight_count(const struct inflight_table *table);

#endif
