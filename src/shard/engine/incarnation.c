/* shard/engine/incarnation.c - the INCARNATION command, what is remembered of it, and an epoch as text. */
#include "shard/engine/incarnation.h"
#include "core/check.h"
#include "shard/engine/machine.h"
#include <inttypes.h>
#include <stdio.h>

static uint32_t *random_of(struct incarnations *incarnations, uint32_t ordinal)
{
    return &incarnations->randoms[ordinal % INCARNATIONS_KEPT];
}

struct load {
    struct incarnations *incarnations;
    enum result result;
};

static bool load_one(void *context, struct slice key, struct slice value)
{
    struct load *load = context;
    struct incarnation_record record;
    struct cursor c = cursor_of(value);
    bool good = key.len == 9 && incarnation_record_read(&record, &c) && cursor_done(&c) && record.ordinal == key_u64_at(key, 1) &&
                record.ordinal > load->incarnations->newest;
    if (!good) load->result = RESULT_CORRUPT;
    else *random_of(load->incarnations, load->incarnations->newest = record.ordinal) = record.random;
    return good;
}

enum result incarnations_load(struct machine *machine, struct store_view *view)
{
    struct load load = {.incarnations = &machine->incarnations};
    struct key from = key_make(KEY_INCARNATION), until = key_make((uint8_t)(KEY_INCARNATION + 1));
    enum result result = store_scan(view, key_slice(&from), key_slice(&until), load_one, &load);
    return result == RESULT_OK ? load.result : result;
}

struct incarnation_record incarnation_next(const struct machine *machine, uint32_t random)
{
    ASSERT(machine->incarnations.newest < UINT32_MAX);
    return (struct incarnation_record){.ordinal = machine->incarnations.newest + 1, .random = random};
}

/* ---- the command ---- */

static enum error check_incarnation(struct machine *machine, const struct command *command)
{
    struct incarnation_record record = COMMAND_RECORD(incarnation, command);
    ASSERT(record.ordinal == machine->incarnations.newest + 1);
    return ERROR_NONE;
}

static void forget(struct machine *machine, uint32_t ordinal, struct effects *effects)
{
    struct incarnation_record record = {.ordinal = ordinal, .random = *random_of(&machine->incarnations, ordinal)};
    struct key key = key_one(KEY_INCARNATION, ordinal);
    writer_reset(&effects->scratch);
    incarnation_record_write(&effects->scratch, &record);
    uint64_t row_hash = state_hash_row(key_slice(&key), writer_slice(&effects->scratch));
    effects_delete_row(effects, &key, &row_hash);
}

static void apply_incarnation(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct incarnation_record record = COMMAND_RECORD(incarnation, command);
    if (record.ordinal > INCARNATIONS_KEPT) forget(machine, record.ordinal - INCARNATIONS_KEPT, effects); /* the new one takes its place */
    machine->incarnations.newest = record.ordinal;
    timers_on_start(machine);
    *random_of(&machine->incarnations, record.ordinal) = record.random;
    follower_forget_temporary(machine);
    struct key key = key_one(KEY_INCARNATION, record.ordinal);
    uint64_t row_hash = 0;
    EFFECTS_PUT_ROW(effects, &key, incarnation, &record, &row_hash);
}

COMMAND_SIZE_MAX(incarnation, 0)
COMMAND_ROW(incarnation, INCARNATION, .check = check_incarnation);

/* ---- epochs ---- */

struct epoch epoch_now(const struct machine *machine)
{
    uint32_t newest = machine->incarnations.newest;
    return (struct epoch){.ordinal = newest, .random = newest == 0 ? 0 : machine->incarnations.randoms[newest % INCARNATIONS_KEPT]};
}

bool epoch_is_known(const struct machine *machine, struct epoch epoch)
{
    const struct incarnations *known = &machine->incarnations;
    if (epoch.ordinal == 0) return epoch.random == 0; /* before the first */
    if (epoch.ordinal > known->newest || known->newest - epoch.ordinal >= INCARNATIONS_KEPT) return false;
    return known->randoms[epoch.ordinal % INCARNATIONS_KEPT] == epoch.random;
}

void epoch_write(char text[EPOCH_TEXT_SIZE], struct epoch epoch)
{
    snprintf(text, EPOCH_TEXT_SIZE, "%" PRIu32 "-%08" PRIx32, epoch.ordinal, epoch.random);
}

/* Only what epoch_write() makes. */
bool epoch_read(struct epoch *epoch, struct slice text)
{
    char given[EPOCH_TEXT_SIZE], again[EPOCH_TEXT_SIZE];
    if (text.len >= sizeof given) return false;
    if (text.len > 0) memcpy(given, text.data, text.len);
    given[text.len] = '\0';
    if (sscanf(given, "%" SCNu32 "-%" SCNx32, &epoch->ordinal, &epoch->random) != 2) return false;
    epoch_write(again, *epoch);
    return strcmp(given, again) == 0;
}
