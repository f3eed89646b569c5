/* shard/domain/followed.h - what the areas tell followers: the kinds of entries, and the one call of each where it happens.
 * Thread:  apply: the shard's worker.     Depends: shard/engine/machine.h.  Start at: shard/engine/follower.h
 * Each call is made while machine->followed only, which the caller asks first: without followers that branch is all there is. */
#ifndef SHARD_DOMAIN_FOLLOWED_H
#define SHARD_DOMAIN_FOLLOWED_H

#include "ringpost/v1/operator.fields.h"
#include "shard/engine/machine.h"
#include "shard/domain/records.h"

/* In entries, for ever; a rebuilding tells of what is stored in this order. */
enum followed_kind {
    FOLLOWED_USER_CREATED = 1,
    FOLLOWED_DEVICE_ADDED = 2,
    FOLLOWED_DEVICE_REVOKED = 3,
    FOLLOWED_USER_UPDATED = 4,
    FOLLOWED_ROOM_CREATED = 10,
    FOLLOWED_ROOM_UPDATED = 11,
    FOLLOWED_ROOM_DISMISSED = 12,
    FOLLOWED_MEMBER_JOINED = 13,
    FOLLOWED_MEMBER_LEFT = 14,
    FOLLOWED_ROLE_CHANGED = 15,
    FOLLOWED_MESSAGE = 20,
};

/* The row of FOLLOWED_`KIND`, the field `name` of FollowerEntry. */
#define FOLLOWED_ROW(name_, KIND, write_, scan_)                                                                       \
    const struct follower_row followed_##name_ = {FOLLOWED_##KIND, #name_, FIELD_FOLLOWER_ENTRY_##KIND, write_, scan_}

/* account/followed.c */
void followed_user(struct machine *machine, enum followed_kind kind, uint64_t user_id, struct effects *effects);
void followed_device(struct machine *machine, enum followed_kind kind, uint64_t user_id, struct slice device_id, struct effects *effects);

/* room/followed.c */
void followed_room(struct machine *machine, enum followed_kind kind, uint64_t room_id, uint64_t actor_id, struct effects *effects);
void followed_member(struct machine *machine, enum followed_kind kind, const struct followed_member_record *member, struct effects *effects);
void followed_message(struct machine *machine, uint64_t room_id, uint64_t seq, struct effects *effects);

#endif
