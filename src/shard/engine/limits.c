/* shard/engine/limits.c - the LIMITS command: configured limits enter the state through the log. */
#include "shard/engine/limits.h"
#include "core/check.h"
#include "core/record.h"

#define FIRST_FORM_COUNT 5u

static uint32_t limits_count(uint8_t form) { return form == 1 ? FIRST_FORM_COUNT : form + 5u; }

static uint32_t limits_size(uint32_t count) { return 1 + count * (uint32_t)sizeof(uint32_t); }

static void limits_write(struct writer *out, const uint32_t *limits, uint32_t count)
{
    if (!RECORD_WRITES_GROWN) count = FIRST_FORM_COUNT;
    writer_u8(out, limits_form(count));
    for (uint32_t i = 0; i < count; i++) writer_u32(out, limits[i]);
}

/* How many were there; 0: these are not limits, or there are more than this version has. */
static uint32_t limits_read(uint32_t limits[LIMITS_MAX], const struct domain *domain, struct slice bytes)
{
    struct cursor c = cursor_of(bytes);
    uint8_t form = cursor_u8(&c);
    uint32_t count = limits_count(form);
    if (form == 0 || count > domain->limit_count || bytes.len != limits_size(count)) return 0;
    for (uint32_t i = 0; i < LIMITS_MAX; i++) limits[i] = i < count ? cursor_u32(&c) : 0;
    return count;
}

static void limits_set(struct machine *machine, const uint32_t limits[LIMITS_MAX])
{
    memcpy(machine->options.limits, limits, sizeof machine->options.limits);
    machine->limits_known = true;
    dedup_set_limits(machine->dedup, &(struct dedup_limits){.capacity = limits[LIMIT_DEDUP_ENTRIES],
                                                            .window_ms = limits[LIMIT_REPEAT_WINDOW_MS],
                                                            .per_sender = limits[LIMIT_REPEATS_PER_SENDER]},
                     machine->time_ms);
}

enum result limits_load(struct machine *machine, struct store_view *view)
{
    struct writer value;
    writer_init(&value, 0);
    struct key key = key_make(KEY_LIMITS);
    enum result result = store_get(view, key_slice(&key), &value);
    uint32_t limits[LIMITS_MAX];
    machine->limits_hash = result == RESULT_OK ? state_hash_row(key_slice(&key), writer_slice(&value)) : 0;
    if (result == RESULT_OK && limits_read(limits, machine->options.domain, writer_slice(&value)) > 0) limits_set(machine, limits);
    else if (result == RESULT_OK) result = RESULT_CORRUPT;
    else if (result == RESULT_MISSING) result = RESULT_OK;
    writer_deinit(&value);
    return result;
}

bool limits_differ(const struct machine *machine, const struct machine_options *configured, struct writer *record)
{
    uint32_t count = machine->options.domain->limit_count;
    limits_write(record, configured->limits, count);
    return !machine->limits_known || memcmp(configured->limits, machine->options.limits, count * sizeof *configured->limits) != 0;
}

static enum error check_limits(struct machine *machine, const struct command *command)
{
    const struct domain *domain = machine->options.domain;
    uint32_t limits[LIMITS_MAX], count = limits_read(limits, domain, command->body);
    ASSERT(count > 0);
    for (uint32_t i = 0; i < count; i++) ASSERT(limits[i] >= domain->limits[i]->least);
    return ERROR_NONE;
}

static void apply_limits(struct machine *machine, const struct command *command, struct effects *effects)
{
    const struct domain *domain = machine->options.domain;
    uint32_t limits[LIMITS_MAX], count = limits_read(limits, domain, command->body);
    ASSERT(count > 0);
    limits_set(machine, limits);
    struct key key = key_make(KEY_LIMITS);
    writer_reset(&effects->scratch);
    limits_write(&effects->scratch, limits, domain->limit_count);
    effects_put_row(effects, &key, writer_slice(&effects->scratch), &machine->limits_hash);
}

static uint32_t size_max_limits(const struct domain *domain, uint32_t body_size_max)
{
    (void)body_size_max;
    return limits_size(domain->limit_count);
}

const struct command_row limits_command = {.type = COMMAND_LIMITS,
                                           .record_version = 1, /* the newest depends on how many there are: limits_form() */
                                           .name = "LIMITS",
                                           .check = check_limits,
                                           .apply = apply_limits,
                                           .size_max = size_max_limits};
