/* shard/domain/mqtt/area.c - what outlives an MQTT connection: all that this folder adds to the product. */
#include "core/check.h"
#include "shard/domain/mqtt/state.h"
#include "shard/domain/letters.h"
#include "shard/domain/mqtt/will_ends.h"
#include "shard/domain/mqtt/wills.h"
#include "shard/engine/domain.h"

#define COMMANDS(X) X(mqtt_session) X(retained_clear) X(will) X(will_sent) X(will_back)
#define ENTITIES(X) X(mqtt_state) X(wills)
#define TIMERS(X) X(will) X(will_held)
AREA_COMMANDS(COMMANDS)
AREA_ENTITIES(ENTITIES)
AREA_TIMERS(TIMERS)
static const struct letter_row letters[] = {
    {LETTER_MQTT, mqtt_state_receive, 0},
};

const struct area mqtt_area = {.name = "mqtt",
                               AREA_ROWS(command, commands),
                               AREA_ROWS(entity, entities),
                               AREA_ROWS(timer, timers),
                               .slot = AREA_MQTT,
                               .open = will_ends_open,
                               .close = will_ends_close,
                               .perform = mqtt_perform,
                               .tick = will_ends_tick,
                               AREA_ROWS(letter, letters)};
