/* shard/engine/batch.h - what one applied batch changes and writes once, at its end: open blocks and changed rows.
 * Owns:    the records of the open blocks (block.h) and a list of the entities concerned, which it pins until the end.
 * Thread:  the shard's worker; recovery before it serves.
 * Depends: shard/engine/entity.h, shard/engine/effects.h, shard/engine/block.h.  Start at: shard/engine/machine.h
 *
 * A batch is all commands between two machine_end_batch(). The ten messages that a room received in it become one value, and so do
 * the events of each user; a read mark that moved ten times is one row. An entity knows its place in the list by one number,
 * entity.touched, so the batch needs no look-up.
 * Limit: what the commands of one batch bring (the budget of shard_apply(), RECOVERY_BATCH_MAX at a start); BATCH_SPARE_BYTES of it stay allocated. */
#ifndef SHARD_BATCH_H
#define SHARD_BATCH_H

#include "shard/engine/effects.h"
#include "shard/engine/entity.h"

#define BATCH_SPARE_BYTES (4u << 20)

struct batch;
struct batch *batch_create(const struct machine *machine);
/* Forgets what was not written. */
void batch_destroy(struct batch *batch, struct entity_table *entities);

/* The entity's row has changed: entity_type.write puts or deletes it at the end of the batch. */
void batch_row(struct batch *batch, struct entity *entity);

/* Apply: `len` bytes for record `number` of the entity's open block, for the caller to fill now. They stay where they are until the
 * batch ends. Where the block goes says the entity's type: block_key | key.a | a number of its records. `content`: a hash of what is in it
 * (state_hash.h). */
uint8_t *batch_record(struct batch *batch, struct entity *entity, uint64_t number, uint32_t len, uint64_t content, struct effects *effects);

/* Puts the open blocks and the changed rows, in the order in which their entities were touched first. */
void batch_end(struct batch *batch, struct entity_table *entities, struct effects *effects);

#endif
