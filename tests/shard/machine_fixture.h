/* tests/shard/machine_fixture.h - a shard's machine without a disk: commands in, effects out, puts kept in a sorted
 * array. A command is encoded as the log holds it, its missing entities are loaded from the array, it is checked and
 * applied; several may be proposed before the first is applied, as one batch of the log. Machines of several shards
 * pass on their relays. What was applied can be applied again to another machine: the same log has to give the same
 * puts. */
#ifndef TESTS_SHARD_MACHINE_FIXTURE_H
#define TESTS_SHARD_MACHINE_FIXTURE_H

#include "ringpost/v1/ringpost.pb-c.h"
#include "shard/domain/limits.h"
#include "shard/engine/machine.h"
#include "shard/domain/records.h"

struct fixture_row {
    uint8_t *key, *value;
    uint32_t key_len, value_len;
};

struct fixture_store { /* all rows, ascending by key */
    struct store_view view;
    struct fixture_row *rows;
    uint32_t count, capacity;
};

struct fixture_command { /* proposed: checked and pinned, not yet applied */
    struct fixture_command *next;
    struct needs needs;
    uint16_t type;
    uint32_t len;
    uint8_t body[];
};

struct fixture {
    struct machine *machine;
    struct effects effects;      /* of the last command applied; its puts are those of the batch */
    struct fixture_store store;
    struct fixture_command *first, *last;
    struct writer log;     /* what was applied: u16 type, bytes body; type 0 = end of a batch */
    uint32_t batch_count;
    struct writer journal; /* the puts and deletes of all batches, one after another; trims depend on what was resident */
    uint64_t now_ms;       /* time of the next command; each one takes a millisecond */
    uint64_t users;
    bool forgetful; /* drops every unpinned entity after each batch */
};

/* Options that suit tests; change what matters and create. */
struct machine_options fixture_options(uint16_t shard, uint16_t shard_count);
struct fixture *fixture_create(const struct machine_options *options);
void fixture_destroy(struct fixture *fixture);

/* A row that was there before, and is counted as such. */
void fixture_put(struct fixture *fixture, const struct key *key, struct slice value);
/* A user whose home is this shard, as registration leaves one behind. Display name = name. */
uint64_t fixture_add_user(struct fixture *fixture, const char *name);

/* Needs, check. NONE: the command waits in the batch. */
enum error fixture_propose(struct fixture *fixture, uint16_t type, uint64_t actor_id, struct slice record);
/* Applies the oldest command that waits; its outcome. */
enum error fixture_apply(struct fixture *fixture);
void fixture_end_batch(struct fixture *fixture); /* expects the rows of the store to sum up to what the machine has counted */
/* All of it: a batch of one. */
enum error fixture_run(struct fixture *fixture, uint16_t type, uint64_t actor_id, struct slice record);

/* FIXTURE_RUN(fixture, actor, SEND, send, &record), FIXTURE_PROPOSE likewise. */
#define FIXTURE_WITH(function, fixture, actor, TYPE, name, record_pointer)                                             \
    __extension__({                                                                                                    \
        struct writer w_;                                                                                              \
        writer_init(&w_, 0);                                                                                           \
        name##_record_write(&w_, record_pointer);                                                                      \
        enum error error_ = function(fixture, COMMAND_##TYPE, actor, writer_slice(&w_));                               \
        writer_deinit(&w_);                                                                                            \
        error_;                                                                                                        \
    })
#define FIXTURE_RUN(fixture, actor, TYPE, name, record_pointer)                                                        \
    FIXTURE_WITH(fixture_run, fixture, actor, TYPE, name, record_pointer)
#define FIXTURE_PROPOSE(fixture, actor, TYPE, name, record_pointer)                                                    \
    FIXTURE_WITH(fixture_propose, fixture, actor, TYPE, name, record_pointer)

/* A DUE command with all that is due at now_ms; none when nothing is. */
void fixture_due(struct fixture *fixture);

/* The reply of the last command, unpacked; the caller frees it. */
void *fixture_reply(struct fixture *fixture, const ProtobufCMessageDescriptor *descriptor);
#define FIXTURE_REPLY(fixture, name) fixture_reply(fixture, &ringpost__v1__##name##__descriptor) /* void * */

/* The entity, loaded when it is not resident; valid until the end of the next batch. */
struct entity *fixture_entity(struct fixture *fixture, uint32_t kind, uint64_t a, uint64_t b);
/* The value under `key`; false when there is none. Borrowed until the next batch ends. */
bool fixture_get(const struct fixture *fixture, const struct key *key, struct slice *value);
/* Changes rows behind the machine's back: the operations of a store batch. */
void fixture_write(struct fixture *fixture, struct slice operations);
/* Rows whose key begins with kind | a. */
uint32_t fixture_count(const struct fixture *fixture, uint8_t kind, uint64_t a);

/* Messages of a room and events of a user from `first_key` on, out of their blocks. */
uint32_t fixture_messages(struct fixture *fixture, uint64_t room_id);
uint32_t fixture_events(struct fixture *fixture, uint64_t user_id, uint64_t first_key);

/* Applies the log of `from` to `to`, with the same batches, or with `batch_len` commands in each. */
void fixture_replay(const struct fixture *from, struct fixture *to, uint32_t batch_len);

/* Carries stream entries between the shards until none is left; each becomes a RELAY command and a batch of its own. */
void fixture_settle(struct fixture *const *shards, uint16_t count);

/* Of the command applied last. */
uint32_t fixture_effects(const struct fixture *fixture, uint32_t kind);

#endif
