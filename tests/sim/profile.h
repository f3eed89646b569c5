/* tests/sim/profile.h - what kind of world a seed gets: how many shards and people, which limits, how slow, how unlucky.
 * Thread: one.  Depends: shard/engine/shard.h, sim/dice.h.  Start at: sim/world.h */
#ifndef TESTS_SIM_PROFILE_H
#define TESTS_SIM_PROFILE_H

#include "shard/domain/setup.h"
#include "shard/engine/shard.h"
#include "sim/dice.h"
#include "sim/plant.h"

#define SHARDS_MAX 4
#define USERS_MAX 12
#define CLOCK_SKEW_MS 5000u
#define DEVICES_MAX 3 /* per user */

/* What may happen in one step. Weights are relative. */
#define ACTION_LIST(X)                                                                                                 \
    X(DELIVER)      /* letters arrive at their shard */                                                                \
    X(PUBLISH)      /* turn stage: what a shard has posted is seen by the others */                                    \
    X(DISK)         /* a log write completes */                                                                        \
    X(STORE_RUN)    /* the storage thread runs a batch or a job */                                                     \
    X(STORE_ANSWER) /* the worker collects an answer */                                                                \
    X(STORE_FLUSH)  /* what was written becomes durable: a flush begins, or ends */                                    \
    X(COMPACT)      /* a store lets go of what was trimmed */                                                          \
    X(APPLY)        /* turn stage */                                                                                   \
    X(FLUSH)        /* turn stage */                                                                                   \
    X(TICK)         /* the second's work */                                                                            \
    X(MAINTAIN)     /* the log's segments */                                                                           \
    X(PASSWORD)     /* a password job is done */                                                                       \
    X(CLIENT)       /* a device does something */                                                                      \
    X(READ)         /* a device reads a frame */                                                                       \
    X(FULL)         /* a disk fills up, or has room again */                                                           \
    X(STALL)        /* a store takes no writes for a while */                                                          \
    X(BREAK)        /* the next write to a log will fail */                                                            \
    X(DAMAGE)       /* a block of a store is not what was written, or will not be */                                   \
    X(DOOR)         /* a worker's sockets, timers and queues have a turn */                                            \
    X(ALARM)        /* a timer is set, moved or cancelled */                                                           \
    X(CRASH)        /* the process dies */                                                                             \
    X(RESTART)      /* the process stops in good order */                                                              \
    X(REST)         /* everything settles and is looked at */

#define ACTION_AS_ENUM(NAME) ACTION_##NAME,
enum action { ACTION_LIST(ACTION_AS_ENUM) ACTION_COUNT };
#undef ACTION_AS_ENUM

struct profile {
    uint32_t users, devices; /* devices: per user */
    uint32_t block_size_bytes, segment_blocks;
    uint32_t log_pending_max_bytes, password_queue_max, letters_max;
    struct machine_options machine;
    struct shard_limits limits;
    struct domain_options options;
    uint32_t outbound_soft_bytes, outbound_hard_bytes;
    size_t pool_size_bytes;
    uint32_t weights[ACTION_COUNT];
    uint32_t talk_percent;    /* of a device's doings: sends */
    uint32_t length;          /* times the usual number of steps: long enough for the time of repeated sends to be over */
    uint32_t token_ttl_s;
    uint32_t letters_lost, letters_again, letters_late; /* of a thousand between two shards; all 0: a mailbox, which is neither */
    bool clock_steps_back;    /* by so little that it is followed */
    bool clock_leaps;         /* by hours, for a moment or for long */
    bool no_battery;          /* it leaps to 1970, too, when power is lost, and back when something has set it */
    uint32_t clock_hold_ms;   /* how long a leap must hold to be believed */
    bool limits_change;       /* from life to life */
    bool has_babbler;         /* one person does most of what is done */
    /* Of all lives so far. */
    uint32_t room_members_max_ever, devices_max_ever, inbox_events_min_ever;
    uint32_t repeats_kept_ever, repeat_window_ms_ever; /* least: what the window of repeats promises everybody, whatever the others do */
    bool slow_flushes;        /* which end some steps after they began */
    bool rests_with_crash;    /* a rest may be ended by a crash, to compare what was recovered */
    bool begins_old;          /* its first lives are of a version before any record grew */
    uint32_t outsiders;       /* those who follow the whole server */
    uint32_t guests;          /* those who use the doors; above 0: nobody else uses the server */
    bool restored;            /* a copy of the whole server is made, and some time later it falls back to that */
};

/* `plant`: it is a world in which that bug can show. */
struct profile profile_roll(struct dice *dice, enum plant plant);
/* Other limits for the next life, when this world changes them. */
void profile_change_limits(struct profile *profile, struct dice *dice);

#endif
