/* shard/engine/limits.c - the LIMITS command: configured limits enter the state through the log. */
#include "shard/engine/limits.h"
#include "core/check.h"
#include "shard/engine/records.h"

static struct limits_record limits_of(const struct machine_options *options)
{
    return (struct limits_record){.room_members_max = options->room_members_max,
                                  .fanout_threshold = options->fanout_threshold,
                                  .inbox_events_max = options->inbox_events_max,
                                  .devices_per_user_max = options->devices_per_user_max,
                                  .dedup_entries = options->dedup_entries,
                                  .repeat_window_ms = options->repeat_window_ms,
                                  .repeats_per_sender = options->repeats_per_sender};
}

static void limits_set(struct machine *machine, const struct limits_record *limits)
{
    machine->options.room_members_max = limits->room_members_max;
    machine->options.fanout_threshold = limits->fanout_threshold;
    machine->options.inbox_events_max = limits->inbox_events_max;
    machine->options.devices_per_user_max = limits->devices_per_user_max;
    machine->options.dedup_entries = limits->dedup_entries;
    machine->options.repeat_window_ms = limits->repeat_window_ms;
    machine->options.repeats_per_sender = limits->repeats_per_sender;
    machine->limits_known = true;
    dedup_set_limits(machine->dedup, &(struct dedup_limits){.capacity = limits->dedup_entries,
                                                            .window_ms = limits->repeat_window_ms,
                                                            .per_sender = limits->repeats_per_sender},
                     machine->time_ms);
}

enum result limits_load(struct machine *machine, struct store_view *view)
{
    struct writer value;
    writer_init(&value, 0);
    struct key key = key_make(KEY_LIMITS);
    enum result result = store_get(view, key_slice(&key), &value);
    struct cursor c = cursor_of(writer_slice(&value));
    struct limits_record limits;
    machine->limits_hash = result == RESULT_OK ? state_hash_row(key_slice(&key), writer_slice(&value)) : 0;
    if (result == RESULT_OK && limits_record_read(&limits, &c) && cursor_done(&c)) limits_set(machine, &limits);
    else if (result == RESULT_OK) result = RESULT_CORRUPT;
    else if (result == RESULT_MISSING) result = RESULT_OK;
    writer_deinit(&value);
    return result;
}

bool limits_differ(const struct machine *machine, const struct machine_options *configured, struct writer *record)
{
    struct limits_record wanted = limits_of(configured), have = limits_of(&machine->options);
    limits_record_write(record, &wanted);
    return !machine->limits_known || memcmp(&wanted, &have, sizeof wanted) != 0;
}

static void needs_limits(struct needs *needs, const struct command *command)
{
    (void)needs;
    (void)command;
}

static enum error check_limits(struct machine *machine, const struct command *command)
{
    (void)machine;
    struct limits_record limits = COMMAND_RECORD(limits, command);
    ASSERT(limits.dedup_entries >= DEDUP_CAPACITY_MIN && limits.room_members_max > 0 && limits.inbox_events_max > 0);
    return ERROR_NONE;
}

static void apply_limits(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct limits_record limits = COMMAND_RECORD(limits, command);
    limits_set(machine, &limits);
    struct key key = key_make(KEY_LIMITS);
    EFFECTS_PUT_ROW(effects, &key, limits, &limits, &machine->limits_hash);
}

static uint32_t size_max_limits(const struct domain *domain, uint32_t body_size_max)
{
    (void)domain;
    (void)body_size_max;
    return limits_record_size(&(struct limits_record){0});
}

const struct command_row limits_command = {.type = COMMAND_LIMITS,
                                           .record_version = limits_record_version,
                                           .name = "LIMITS",
                                           .needs = needs_limits,
                                           .check = check_limits,
                                           .apply = apply_limits,
                                           .size_max = size_max_limits};
