/* shard/domain/limits.h - the numbers of the limits that apply reads, for ever; what each is called is in its area's area.c.
 * Thread: any.  Depends: shard/engine/machine.h (machine_limit).  Start at: shard/engine/limits.h
 * A new one gets the next number and a row in its area. The configured value comes from shard/worker/settings.c. */
#ifndef SHARD_DOMAIN_LIMITS_H
#define SHARD_DOMAIN_LIMITS_H

enum domain_limit {
    LIMIT_ROOM_MEMBERS_MAX = 0,
    LIMIT_FANOUT_THRESHOLD = 1,  /* members; above it a room is large, for ever */
    LIMIT_INBOX_EVENTS_MAX = 2,  /* events kept per user */
    LIMIT_DEVICES_PER_USER_MAX = 3,
    /* 4, 5, 6: the engine's (enum engine_limit) */
    LIMIT_LARGE_TOLD = 7, /* 1: of a large room's messages other shards are told (room/large.h); 0: as before format 5 they are entries of streams.
                             No option: logs of before must be applied as they were, and this version's first LIMITS says from where on not */
};

#endif
