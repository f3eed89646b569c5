/* shard/engine/domain.c - the rows of all areas, found by number. */
#include "shard/engine/domain.h"
#include "core/check.h"
#include "shard/engine/follower.h"
#include "shard/engine/limits.h"
#include <stdio.h>

static void add_relay(struct domain *domain, const struct relay_row *row, uint16_t kind)
{
    ASSERT(kind < RELAY_KINDS_MAX && domain->relays[kind] == NULL);
    domain->relays[kind] = row;
}

static void add_area(struct domain *domain, const struct area *area)
{
    if (area->admit != NULL) domain->admit = area->admit;
    for (uint32_t i = 0; i < area->command_count; i++) {
        const struct command_row *row = area->commands[i];
        ASSERT(row->type < COMMAND_TYPES_MAX && domain->commands[row->type] == NULL && row->record_version > 0);
        domain->commands[row->type] = row;
    }
    for (uint32_t i = 0; i < area->entity_count; i++) {
        const struct entity_type *type = area->entities[i];
        ASSERT(type->kind < ENTITY_KINDS_MAX && domain->entities[type->kind] == NULL);
        domain->entities[type->kind] = type;
    }
    for (uint32_t i = 0; i < area->relay_count; i++) {
        const struct relay_row *row = area->relays[i];
        add_relay(domain, row, row->kind);
        if (row->stored_kind != 0) add_relay(domain, row, row->stored_kind);
        if (row->logged_kind != 0) add_relay(domain, row, row->logged_kind);
    }
    for (uint32_t i = 0; i < area->followed_count; i++) {
        const struct follower_row *row = area->followed[i];
        ASSERT(row->kind < FOLLOWER_KINDS_MAX && domain->followed[row->kind] == NULL);
        domain->followed[row->kind] = row;
    }
    for (uint32_t i = 0; i < area->letter_count; i++) {
        const struct letter_row *row = &area->letters[i];
        ASSERT(row->kind >= LETTER_DOMAIN && row->kind < LETTER_KIND_COUNT && domain->letters[row->kind] == NULL);
        domain->letters[row->kind] = row;
    }
    for (uint32_t i = 0; i < area->timer_count; i++) {
        const struct timer_row *row = area->timers[i];
        ASSERT(row->kind < TIMER_KINDS_MAX && domain->timers[row->kind] == NULL);
        domain->timers[row->kind] = row;
    }
    for (uint32_t i = 0; i < area->limit_count; i++) {
        const struct limit_row *row = &area->limits[i];
        ASSERT(row->number < LIMITS_MAX && domain->limits[row->number] == NULL);
        domain->limits[row->number] = row;
        if (row->number >= domain->limit_count) domain->limit_count = row->number + 1u;
    }
}

void domain_build(struct domain *out, const struct area *const *areas, uint32_t area_count)
{
    ASSERT(area_count <= AREAS_MAX);
    *out = (struct domain){.areas = areas, .area_count = area_count};
    for (uint32_t i = 0; i < area_count; i++) add_area(out, areas[i]);
    for (uint32_t i = 0; i < out->limit_count; i++) ASSERT(out->limits[i] != NULL);
}

const char *domain_command_name(const struct domain *domain, uint16_t type)
{
    const struct command_row *row = domain_command(domain, type);
    return row == NULL ? "?" : row->name;
}

/* The newest form of the row's record. */
static uint8_t newest_form(const struct domain *domain, const struct command_row *row)
{
    return row->type == COMMAND_LIMITS ? limits_form(domain->limit_count) : row->record_version;
}

enum result domain_judge(const struct domain *domain, const struct command *command)
{
    const struct command_row *row = domain_command(domain, command->type);
    if (row == NULL) return RESULT_UNSUPPORTED;
    if (command->body.len == 0) return RESULT_CORRUPT;
    return command->body.data[0] <= newest_form(domain, row) ? RESULT_OK : RESULT_UNSUPPORTED;
}

void domain_tell_novelty(const struct domain *domain, const struct command *command, char text[DOMAIN_NOVELTY_SIZE])
{
    const struct command_row *row = domain_command(domain, command->type);
    if (row == NULL) snprintf(text, DOMAIN_NOVELTY_SIZE, "command %u, which this version does not know", command->type);
    else snprintf(text, DOMAIN_NOVELTY_SIZE, "command %u (%s) in form %u, of which this version knows up to %u", command->type, row->name,
                  command->body.data[0], newest_form(domain, row));
}
