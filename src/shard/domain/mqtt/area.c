/* shard/domain/mqtt/area.c - what outlives an MQTT connection: all that this folder adds to the product. */
#include "core/check.h"
#include "shard/domain/mqtt/state.h"
#include "shard/domain/letters.h"
#include "shard/domain/mqtt/wills.h"
#include "shard/engine/domain.h"

extern const struct command_row mqtt_session_command, retained_clear_command, will_command, will_sent_command;
extern const struct entity_type mqtt_state_type, wills_type;
extern const struct timer_row will_timer, will_held_timer;

static const struct command_row *const commands[] = {&mqtt_session_command, &retained_clear_command, &will_command, &will_sent_command};
static const struct entity_type *const entities[] = {&mqtt_state_type, &wills_type};
static const struct timer_row *const timers[] = {&will_timer, &will_held_timer};
static const struct letter_row letters[] = {
    {LETTER_MQTT, mqtt_state_receive, 0},
};

const struct area mqtt_area = {.name = "mqtt",
                               .commands = commands,
                               .command_count = COUNT_OF(commands),
                               .entities = entities,
                               .entity_count = COUNT_OF(entities),
                               .timers = timers,
                               .timer_count = COUNT_OF(timers),
                               .perform = mqtt_perform,
                               .letters = letters,
                               .letter_count = COUNT_OF(letters)};
