/* tests/shard/shard_fixture.h - whole shards with nothing real around them: disks and stores in memory, letters in a list, a clock the
 * test moves, passwords hashed when the test pumps. One rig per test (Criterion forks): rig_begin(), change what matters, rig_open(),
 * … rig_close().
 *
 *   rig_send / rig_call -> shard_receive -> … -> rig.reply          pushes -> rig.frames          rig_pump(): until nothing moves */
#ifndef TESTS_SHARD_FIXTURE_H
#define TESTS_SHARD_FIXTURE_H

#include "api/api.h"
#include "core/metrics.h"
#include "shard/domain/limits.h"
#include "shard/domain/methods.h"
#include "shard/domain/account/hashing.h"
#include "shard/domain/delivery/session.h"
#include "storage/fake_disk.h"
#include "storage/fake_store.h"

#define RIG_SHARDS_MAX 4
#define RIG_FRAMES_MAX 64

struct rig_frame { /* what session_send was given */
    struct session *session;
    struct writer bytes;
};

struct shard_rig {
    /* Set before rig_open(); rig_begin() gives what suits most tests. */
    uint16_t shard_count;
    struct machine_options machine;
    struct shard_limits limits;
    struct domain_setup setup; /* may be changed at any time */
    uint32_t pool_size_bytes, segments_max;
    uint64_t log_pending_max_bytes;
    void (*change_ports)(struct shard_ports *ports); /* NULL: the rig's own */

    /* May be changed at any time. */
    uint64_t now_ms;
    int64_t clock_error_ms; /* of the trusted clock; the monotonic one has none */
    uint32_t look_ms; /* every look at the clock moves it so far */
    bool letters_held, stores_held, disks_held, passwords_held; /* what rig_pump() leaves alone */
    bool passwords_busy, connection_gone;
    enum result send_result; /* of session_send */
    bool above_soft;

    struct shard *shards[RIG_SHARDS_MAX];
    struct fake_disk *disks[RIG_SHARDS_MAX];
    struct fake_store *stores[RIG_SHARDS_MAX];
    struct buf_pool *pool;
    struct token_keys *keys;
    struct metrics metrics;
    uint8_t random;
    struct letter *posted_first, **posted_last;
    struct password_job *hashing;

    struct letter *reply; /* the last one */
    uint32_t reply_count, hash_count;
    uint32_t frames_before_reply; /* pushed before the last one */
    struct rig_frame frames[RIG_FRAMES_MAX];
    uint32_t frame_count;
    struct session *bound, *ended; /* the last ones */
    uint32_t end_count;
    uint16_t close_code;
};
extern struct shard_rig rig;

void rig_begin(uint16_t shard_count);
void rig_open(void);
/* Closes every session, expects the shards to come to rest, frees everything. */
void rig_close(void);
/* One shard alone, over the disk and the store it had. Closing expects it idle. */
void rig_open_shard(uint16_t number);
void rig_close_shard(uint16_t number);

/* One turn of every shard; false when nothing moved. */
bool rig_turn(void);
void rig_pump(void);
/* The oldest letter under way goes to its shard; false when there is none. */
bool rig_deliver(void);
struct letter *rig_take_letter(void); /* or to the test, whose it is then */

/* A user as registration leaves one behind; display name = name. Pumps. */
uint64_t rig_add_user(uint16_t shard, const char *name);
/* With a token as a backend mints them. The first that a shard sees of a device makes it write: where that would be in the way,
 * rig_know() has it known. */
struct actor_record rig_actor(uint64_t user_id, const char *device_id);
void rig_know(uint64_t user_id, const char *device_id);

/* As the doors do it: a letter to the actor's home shard, or (NULL) to `shard`; with a session (not 0) through that. Does not pump. */
void rig_send(const struct actor_record *actor, uint16_t shard, uint64_t session_id, const char *path,
              const ProtobufCMessage *message);
/* Sends and pumps; the outcome, or ERROR_COUNT when no answer came. Expects at most one. */
enum error rig_call(const struct actor_record *actor, uint16_t shard, uint64_t session_id, const char *path,
                    const ProtobufCMessage *message);
enum error rig_call_packed(const struct actor_record *actor, uint16_t shard, uint64_t session_id, const char *path,
                           struct slice packed);
/* The last reply, a success, unpacked; the caller frees it. */
void *rig_replied(const ProtobufCMessageDescriptor *descriptor);
/* A bound session of the user, by AUTH. */
struct session *rig_come(uint64_t user_id, const char *device_id);
/* A message to a person; the outcome. */
enum error rig_say(uint64_t from, uint64_t to, const char *client_msg_id, const char *text);

/* The n-th frame since rig_forget_frames(), unpacked (binary sessions); the caller frees it. */
Ringpost__V1__Envelope *rig_frame(uint32_t n);
void rig_forget_frames(void);

#endif
