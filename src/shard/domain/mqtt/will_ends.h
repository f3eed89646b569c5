/* shard/domain/mqtt/will_ends.h - how connections that had a will ended, from the moment the door says so until that is durable: what the log had
 * no room for is said again.
 * Owns:    a table of such ends by the epoch of the connection, in memory alone.
 * Thread:  the shard's worker (the user's home shard).  Depends: shard/engine/request.h.  Start at: shard/domain/mqtt/wills.h
 *
 *   MQTT_WILL (released, dropped) -> KEPT ------ durable, or its will is held no more -----> forgotten
 *                                       \__ refused (the disk is full, no room for long): again WILL_END_AGAIN_MS later
 *
 * A client that comes again meanwhile has its end made durable first, or its will would be taken for that of a connection that broke.
 * Limit: WILL_ENDS_MAX of a shard. An end beyond it is said once: refused, its will is held until the client comes again or the server
 * starts, and is then that of a connection that broke. So it is with all that is kept when the process ends. */
#ifndef SHARD_MQTT_WILL_ENDS_H
#define SHARD_MQTT_WILL_ENDS_H

#include "shard/domain/areas.h"
#include "shard/domain/records.h"
#include "shard/engine/machine.h"

struct shard;
struct request;

#define WILL_ENDS_MAX     65536u /* 3 MiB */
#define WILL_END_AGAIN_MS 10000u
#define WILL_ENDS_AT_ONCE 256u /* said again in one tick, and what shares a place with the last of them */

struct will_end {
    struct will_end *hash_next;
    uint64_t user_id, epoch;
    uint64_t again_ms; /* of the clock that never steps */
    uint32_t expiry_s;
    uint8_t word; /* WILL_RELEASED, WILL_DROPPED */
};

struct will_ends;
NODISCARD enum result will_ends_open(struct machine *machine, void **state);
void will_ends_close(struct machine *machine, void *state);
static inline struct will_ends *will_ends_of(const struct machine *machine) { return machine->states[AREA_MQTT]; }

/* Copies `end`. False: there are too many. One that is kept stays as it is. */
bool will_ends_keep(struct will_ends *ends, const struct will_end *end);
/* NULL: there is none. Borrowed until it is forgotten. */
const struct will_end *will_ends_find(const struct will_ends *ends, uint64_t epoch);
void will_ends_forget(struct will_ends *ends, uint64_t epoch);
uint32_t will_ends_count(const struct will_ends *ends);

/* The command that says it. */
struct will_record will_end_record(const struct will_end *end);
/* What the door says: WILL_RELEASED or WILL_DROPPED. */
void will_end_run(struct shard *shard, struct request *request, const struct will_record *in);
/* Says those again whose time has come. */
void will_ends_tick(struct shard *shard);

#endif
