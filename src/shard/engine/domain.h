/* shard/engine/domain.h - what the engine is given of the product: its areas, each with tables of what it can do.
 * Owns:    nothing: rows are constant.  Thread: read-only once it is built.
 * Depends: shard/engine/command.h, shard/engine/entity.h.  Start at: shard/engine/shard.h
 * The engine knows accounts, rooms and messages only as rows found by number. An area (a folder of shard/domain) has one `struct area`,
 * in its area.c: what it adds to the product is written there and nowhere else. */
#ifndef SHARD_ENGINE_DOMAIN_H
#define SHARD_ENGINE_DOMAIN_H

#include "shard/engine/command.h"
#include "shard/engine/entity.h"
#include "shard/engine/letter.h"
#include "shard/engine/relay.h"
#include "shard/engine/timers.h"

struct effects;
struct follower_row;
struct method;
struct request;
struct session;
struct shard;

struct limit_row { /* a number that apply reads: part of the state, see limits.h */
    uint8_t number;   /* its place in the LIMITS record, for ever */
    const char *name; /* of the option that sets it */
    uint32_t least;
};

struct area {
    const char *name;
    const struct command_row *const *commands;
    uint32_t command_count;
    const struct entity_type *const *entities;
    uint32_t entity_count;
    const struct relay_row *const *relays;
    uint32_t relay_count;
    const struct follower_row *const *followed; /* what it tells followers */
    uint32_t followed_count;
    const struct letter_row *letters; /* what it writes to itself on other shards */
    uint32_t letter_count;
    const struct timer_row *const *timers;
    uint32_t timer_count;
    const struct limit_row *limits;
    uint32_t limit_count;
    /* What it keeps in memory beside the state: made with the machine and put at machine->states[slot], gone before it. NULL: nothing. */
    uint32_t slot;
    enum result (*open)(struct machine *machine, void **state);
    void (*close)(struct machine *machine, void *state);
    /* Lets a client's request pass on its actor's home shard; one area has it. */
    void (*admit)(struct shard *shard, struct request *request);
    /* In the life of a shard; each may be NULL. */
    void (*perform)(struct shard *shard, const struct effects *effects); /* a command was applied and answered: its effects of this area */
    void (*tick)(struct shard *shard);                                   /* about once a second */
    void (*started)(struct shard *shard);                                /* this start is in the log and applied */
    void (*damaged)(struct shard *shard);                                /* it serves nothing from now on */
    void (*end)(struct shard *shard);                                    /* it is being closed; what is borrowed is given back */
    /* A connection is a session of its user from now on; is none any more, and no longer listed. */
    void (*session_opened)(struct session *session);
    void (*session_closed)(struct session *session);
};

/* In an area.c, each row is named once, in a list: `#define COMMANDS(X) X(send) X(read)`, then AREA_COMMANDS(COMMANDS) declares send_command and
 * read_command, which other files of the folder have, and makes `commands` of them. Entities are x_type, what followers are told followed_x,
 * relays x_relay, timers x_timer. */
#define AREA_COMMANDS(LIST) LIST(AREA_COMMAND_ROW) static const struct command_row *const commands[] = {LIST(AREA_COMMAND_PLACE)};
#define AREA_COMMAND_ROW(name)   extern const struct command_row name##_command;
#define AREA_COMMAND_PLACE(name) &name##_command,
#define AREA_ENTITIES(LIST) LIST(AREA_ENTITY_ROW) static const struct entity_type *const entities[] = {LIST(AREA_ENTITY_PLACE)};
#define AREA_ENTITY_ROW(name)   extern const struct entity_type name##_type;
#define AREA_ENTITY_PLACE(name) &name##_type,
#define AREA_RELAYS(LIST) LIST(AREA_RELAY_ROW) static const struct relay_row *const relays[] = {LIST(AREA_RELAY_PLACE)};
#define AREA_RELAY_ROW(name)   extern const struct relay_row name##_relay;
#define AREA_RELAY_PLACE(name) &name##_relay,
#define AREA_FOLLOWED(LIST) LIST(AREA_FOLLOWED_ROW) static const struct follower_row *const followed[] = {LIST(AREA_FOLLOWED_PLACE)};
#define AREA_FOLLOWED_ROW(name)   extern const struct follower_row followed_##name;
#define AREA_FOLLOWED_PLACE(name) &followed_##name,
#define AREA_TIMERS(LIST) LIST(AREA_TIMER_ROW) static const struct timer_row *const timers[] = {LIST(AREA_TIMER_PLACE)};
#define AREA_TIMER_ROW(name)   extern const struct timer_row name##_timer;
#define AREA_TIMER_PLACE(name) &name##_timer,
/* In its initializer: AREA_ROWS(command, commands). */
#define AREA_ROWS(kind, rows) .rows = rows, .kind##_count = COUNT_OF(rows)

#define AREAS_MAX         16u
#define COMMAND_TYPES_MAX 256u
#define ENTITY_KINDS_MAX  32u
#define RELAY_KINDS_MAX   32u
#define FOLLOWER_KINDS_MAX 64u
#define TIMER_KINDS_MAX   64u
#define LIMITS_MAX        64u

struct domain {
    const struct area *const *areas;
    uint32_t area_count;
    const struct method *methods; /* method.h; in the order of their numbers */
    uint32_t method_count;
    const struct command_row *commands[COMMAND_TYPES_MAX]; /* by type; NULL: none */
    const struct entity_type *entities[ENTITY_KINDS_MAX];  /* by kind */
    void (*admit)(struct shard *shard, struct request *request);
    const struct relay_row *relays[RELAY_KINDS_MAX];       /* by kind, stored_kind and logged_kind */
    const struct follower_row *followed[FOLLOWER_KINDS_MAX]; /* by kind */
    const struct letter_row *letters[LETTER_KIND_COUNT];     /* by kind */
    const struct timer_row *timers[TIMER_KINDS_MAX];       /* by kind */
    const struct limit_row *limits[LIMITS_MAX];            /* by number, without a gap */
    uint32_t limit_count;
};

/* The engine's own: streams and starts. */
extern const struct area engine_area;

/* Borrows the areas. Asserts that no number is used twice. */
void domain_build(struct domain *out, const struct area *const *areas, uint32_t area_count);
/* NULL when there is no such type. */
static inline const struct command_row *domain_command(const struct domain *domain, uint16_t type)
{
    return type < COMMAND_TYPES_MAX ? domain->commands[type] : NULL;
}
static inline const struct entity_type *domain_entity(const struct domain *domain, uint32_t kind)
{
    return kind < ENTITY_KINDS_MAX ? domain->entities[kind] : NULL;
}
static inline const struct relay_row *domain_relay(const struct domain *domain, uint16_t kind)
{
    return kind < RELAY_KINDS_MAX ? domain->relays[kind] : NULL;
}
static inline const struct follower_row *domain_followed(const struct domain *domain, uint32_t kind)
{
    return kind < FOLLOWER_KINDS_MAX ? domain->followed[kind] : NULL;
}
static inline const struct letter_row *domain_letter(const struct domain *domain, uint32_t kind)
{
    return kind < LETTER_KIND_COUNT ? domain->letters[kind] : NULL;
}
static inline const struct timer_row *domain_timer(const struct domain *domain, uint16_t kind)
{
    return kind < TIMER_KINDS_MAX ? domain->timers[kind] : NULL;
}
/* OK; UNSUPPORTED: a newer version's, whose type or record has come since: the log vouches for its bytes, so somebody wrote it so; CORRUPT. */
NODISCARD enum result domain_judge(const struct domain *domain, const struct command *command);
/* Of one that is UNSUPPORTED, for people: what is new about it. */
#define DOMAIN_NOVELTY_SIZE 96
void domain_tell_novelty(const struct domain *domain, const struct command *command, char text[DOMAIN_NOVELTY_SIZE]);
/* "SEND", or "?" */
const char *domain_command_name(const struct domain *domain, uint16_t type);

/* Calls `hook` (a name of struct area) of each area that has it: DOMAIN_EACH(domain, tick, shard). */
#define DOMAIN_EACH(domain_, hook, ...)                                                                                \
    do {                                                                                                               \
        for (uint32_t area_ = 0; area_ < (domain_)->area_count; area_++)                                               \
            if ((domain_)->areas[area_]->hook != NULL) (domain_)->areas[area_]->hook(__VA_ARGS__);                     \
    } while (0)

#endif
