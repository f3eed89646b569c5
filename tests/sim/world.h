/* tests/sim/world.h - a whole server and its people in one thread, driven by one seed.
 * Owns:    the shards (nodes), the letters between them, the clock, the people; decides what happens next.
 * Thread:  one.                   Depends: all of tests/sim and tests/storage's fakes.
 * Reading order of this folder: dice.h report.h profile.h plant.h | node.h states.h world.h letters.h place.h faults.h trial.h | facts.h oracle.h | people.h calls.h | outsiders.h | alarms.h | audit.h |
 *   wires.h doors.h guests.h | sim.c
 *
 * The code of the shards is the real one, from shard_receive() to the bytes of the log. Simulated are: the disk (writes take
 * their time, a crash keeps any of their sectors, any of its operations may fail), the store (batches, jobs and flushes take their time, a crash
 * takes back any number of batches that are not flushed; it stalls, compacts, is full, damaged), the mailbox (letters of a pair in order, at any time; a crash loses them), the password
 * threads, the clock, the connections and those who use them. A step is one of profile.h's actions; a run is a few thousand steps.
 * In some worlds there are guests instead of people: they use the real doors, from the bytes of simulated sockets on (doors.h).
 *
 * Not seen by it, and so the matter of other tests: TLS, most of HTTP, memory that runs short at the doors, threads that really run at the same time, io_uring and RocksDB themselves, a file system that keeps less than sector by sector, bytes that rot while the server runs
 * (at a stop they do: trial.h), a disk that fails for good (each error here is of one operation), password hashing, more than USERS_MAX people.
 *
 * Checked while it runs (oracle.h): what anybody has seen stays as it was. Checked at rest (audit.h): everything. */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "core/clock.h"
#include "sim/dice.h"
#include "sim/node.h"
#include "sim/plant.h"
#include "sim/profile.h"
#include "sim/report.h"

#define CLOCK_STEP_S_MAX 3

struct box { /* letters in order */
    struct letter *first, *last;
};

/* Planted bug repeats_applied: how the entries of one stream are numbered for a destination that is to take repeats for new ones. */
struct renumbering {
    uint64_t *source_index; /* of entry n of the destination, [n - 1] */
    uint32_t count, capacity;
};

struct people;
struct oracle;
struct outsiders;
struct mailbox;
struct doors;
struct guests;

struct world {
    struct dice dice;
    struct profile profile;
    enum plant plant;
    struct node nodes[SHARDS_MAX];
    struct mailbox *mailbox;
    struct box from_outside[SHARDS_MAX]; /* clients' letters, by the shard they are for */
    uint64_t deaf_until_step[SHARDS_MAX]; /* it takes no letters until then */
    struct late *late[SHARDS_MAX];        /* letters.c */
    struct renumbering renumberings[SHARDS_MAX][SHARDS_MAX];
    uint64_t newest_posted[SHARDS_MAX][SHARDS_MAX]; /* entry of a stream, in this life: for the planted bug never_asked_again */
    struct domain_setup setup; /* of all shards */
    struct password_job *passwords_first, *passwords_last;
    uint32_t passwords_waiting;
    uint64_t now_ns, wall_base_ms, wall_latest_ms; /* right time: base and now; latest: before it was last set back */
    struct trusted_clock clock;                    /* of the process */
    int64_t wall_error_ms;                         /* of the wall clock; 0: it is right */
    uint64_t error_changed_ns, error_until_ns;     /* when it last leapt; when it will be set right */
    bool clock_may_be_wrong;                       /* the trusted one: the wall clock was wrong for long, or at a start */
    uint64_t clock_last_ms;                        /* planted bug time_never_back */
    struct buf_pool *pool;
    struct token_keys *keys;
    struct people *people;
    struct oracle *oracle;
    struct outsiders *outsiders;
    struct doors *doors;   /* NULL: this world has none, and its people speak to the shards */
    struct guests *guests; /* NULL with it */
    struct place *place;
    struct node backup[SHARDS_MAX]; /* of some stop in order */
    bool has_backup;
    bool damaged;  /* some store is */
    bool was_full; /* some disk, at some time */
    bool shut;     /* this start could not be written down on a full disk: nothing is logged */
    bool mute;     /* the process is dying: nobody hears it any more */
    bool settling; /* people finish what they began and begin nothing */
    bool comparing; /* and nothing may change any more */
    bool ticking;   /* a shard is */
    uint64_t told_ms_max; /* the latest that the trusted clock has told */
    uint32_t crashes, restarts, rests, clock_steps;
    uint32_t clock_eras; /* grows when the trusted clock may begin or cease to be wrong */
    bool upgraded;                    /* from an older version */
    uint32_t lives;                   /* starts of the process */
    uint32_t copy_life, restore_life; /* the first one after a copy was made, and after it was restored */
};

struct world *world_create(uint64_t seed, enum plant plant);
void world_destroy(struct world *world);
/* A whole life: `steps` steps, then a rest with every check. Returns the hash of all that happened. */
uint64_t world_run(struct world *world, uint32_t steps);

/* What the process takes for the time, and what it is. */
uint64_t world_now_ms(const struct world *world);
static inline uint64_t world_right_ms(const struct world *world) { return world->wall_base_ms + world->now_ns / 1000000; }
static inline bool world_clock_is_right(const struct world *world) { return !world->clock_may_be_wrong; }
static inline uint64_t world_now_s(const struct world *world) { return world_now_ms(world) / 1000; }
static inline uint16_t world_shard_count(const struct world *world) { return world->profile.machine.shard_count; }
/* Takes the letter of a client. */
void world_post_from_outside(struct world *world, struct letter *letter);

#endif
