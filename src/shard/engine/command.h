/* shard/engine/command.h - commands: all that can change a shard, and the only way to change it.
 * Thread: the shard's worker.  Depends: api/error.h, shard/engine/entity.h.  Start at: shard/engine/shard.h
 * A command's number is its type in the log, for ever. The domain's are in shard/domain/commands.h. */
#ifndef SHARD_COMMAND_H
#define SHARD_COMMAND_H

#include "api/error.h"
#include "core/record.h"
#include "shard/engine/entity.h"

struct domain;
struct effects;

enum engine_command_type {
    COMMAND_RELAY = 1,       /* relay.c */
    COMMAND_LIMITS = 2,      /* limits.c */
    COMMAND_INCARNATION = 3, /* incarnation.c */
    COMMAND_STREAM_ACK = 4,  /* acknowledge.c */
    COMMAND_DUE = 5,         /* timers.c */
    COMMAND_FOLLOWER_BEGIN = 6, /* follower.c */
    COMMAND_FOLLOWER_ACK = 7,   /* follower.c */
    COMMAND_FOLLOWER_END = 8,   /* follower.c */
};

struct command {
    uint16_t type;
    uint64_t index;   /* in the log; 0 while it is only being checked */
    uint64_t time_ms; /* when it was proposed: the only clock apply has */
    uint64_t actor_id;
    struct slice body; /* the record of its type */
};

struct command_row { /* one COMMAND_ROW in the file that has its functions, named in the table of its area */
    uint16_t type;
    const char *name;
    uint8_t record_version; /* the newest that this version reads */
    /* Names every entity that check and apply read or write. Called again until none is missing; what it learns from a
     * resident entity may lead to more. Since that one is pinned from then on, only something that a command makes
     * (entity_create) may change the answer: then it is called once more before apply. NULL: none. */
    void (*needs)(struct needs *needs, const struct command *command);
    /* May it happen? Reads resident state only, changes nothing. Run before the log and again before apply. NULL: always. */
    enum error (*check)(struct machine *machine, const struct command *command);
    /* Makes it happen: changes entities and says the effects. Pure: no clock, no randomness, no I/O. */
    void (*apply)(struct machine *machine, const struct command *command, struct effects *effects);
    /* What whoever asked for it is told, once it was applied: of the state as it is then, and of effects->result. Not run when nobody waits: at
     * recovery, on a follower. Says effects_reply(). NULL: the answer has no fields. */
    void (*answer)(struct machine *machine, const struct command *command, struct effects *effects);
    /* Bytes of its largest record, where messages have at most `body_size_max`. */
    uint32_t (*size_max)(const struct domain *domain, uint32_t body_size_max);
    /* Counts one that was applied and not refused, while the shard serves; NULL: nobody counts them. */
    void (*count)(struct metrics *metrics);
};
static inline void command_needs(const struct command_row *row, struct needs *needs, const struct command *command)
{
    if (row->needs != NULL) row->needs(needs, command);
}
/* `asked`: somebody waits for the answer. */
static inline void command_apply(const struct command_row *row, struct machine *machine, const struct command *command, bool asked,
                                 struct effects *effects)
{
    row->apply(machine, command, effects);
    if (asked && row->answer != NULL) row->answer(machine, command, effects);
}
static inline enum error command_check(const struct command_row *row, struct machine *machine, const struct command *command)
{
    return row->check == NULL ? ERROR_NONE : row->check(machine, command);
}

/* The row of the command COMMAND_`TYPE` with the record `name_`, apply_`name_`() and size_max_`name_`(): COMMAND_ROW(seen, SEEN, .needs = needs_seen).
 * What is not said is NULL. */
#define COMMAND_ROW(name_, TYPE, ...)                                                                                  \
    const struct command_row name_##_command = {.type = COMMAND_##TYPE,                                                \
                                                .name = #TYPE,                                                         \
                                                .record_version = name_##_record_version,                              \
                                                .apply = apply_##name_,                                                \
                                                .size_max = size_max_##name_,                                          \
                                                __VA_ARGS__}
/* Its size_max(), of a record whose fields of bytes are as given at their longest: COMMAND_SIZE_MAX(seen, .device_id = slice_of_len(64)); 0: it has none. */
#define COMMAND_SIZE_MAX(name_, ...)                                                                                   \
    static uint32_t size_max_##name_(const struct domain *domain, uint32_t body_size_max)                              \
    {                                                                                                                  \
        (void)domain, (void)body_size_max;                                                                             \
        return name_##_record_size(&(struct name_##_record){__VA_ARGS__});                                             \
    }

/* The frame. OK; UNSUPPORTED: a newer version's; CORRUPT: the bytes have no command's frame (foreign or damaged log). Whether the rest is known:
 * domain_judge(). */
NODISCARD enum result command_decode(struct command *out, uint16_t type, uint64_t index, struct slice body);

#define COMMAND_RECORD(name, command) RECORD_OF(name, (command)->body)

#endif
