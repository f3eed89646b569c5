/* shard/domain/delivery/roster.h - which users of this shard are online in which large rooms.
 * Owns:    the index; borrows the inboxes (a listed inbox is pinned by its sessions).
 * Thread:  the shard's worker.    Depends: core/ only.           Start at: shard/engine/machine.h
 * Small rooms need no such index: their view lists all local members. Not part of the machine's state. */
#ifndef SHARD_ROSTER_H
#define SHARD_ROSTER_H

#include "core/result.h"
#include <stdbool.h>
#include <stdint.h>

struct roster;
struct inbox;
NODISCARD enum result roster_create(struct roster **out);
void roster_destroy(struct roster *roster);
void roster_add(struct roster *roster, uint64_t room_id, struct inbox *inbox); /* again: no effect */
void roster_remove(struct roster *roster, uint64_t room_id, struct inbox *inbox);
/* The user's last session went. */
void roster_remove_all(struct roster *roster, struct inbox *inbox);
/* Borrowed until the next change. */
struct inbox *const *roster_online(const struct roster *roster, uint64_t room_id, uint32_t *count);

#endif
