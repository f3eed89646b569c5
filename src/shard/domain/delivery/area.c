/* shard/domain/delivery/area.c - the streams of users and the sessions that listen to them: all that this folder adds to the product. */
#include "shard/domain/delivery/lookup.h"
#include "shard/domain/delivery/names.h"
#include "shard/domain/letters.h"
#include "shard/domain/limits.h"
#include "shard/domain/delivery/delivery.h"
#include "shard/engine/memory.h"

#define ENTITIES(X) X(inbox)
AREA_ENTITIES(ENTITIES)

static enum result delivery_open(struct machine *machine, void **state)
{
    (void)machine;
    struct delivery *delivery = memory_alloc(sizeof *delivery);
    *state = delivery;
    delivery->sessions.first_free = UINT32_MAX;
    return roster_create(&delivery->roster);
}

static void delivery_close(struct machine *machine, void *state)
{
    (void)machine;
    struct delivery *delivery = state;
    roster_destroy(delivery->roster);
    free(delivery->sessions.slots);
    free(delivery);
}

static const struct letter_row letters[] = {
    {LETTER_ASK_USERS, lookup_receive, LETTER_TELL_USERS},
    {LETTER_TELL_USERS, request_call_answer, 0},
    {LETTER_ASK_NAMES, names_receive, LETTER_TELL_NAMES},
    {LETTER_TELL_NAMES, request_call_answer, 0},
};
static const struct limit_row limits[] = {{LIMIT_INBOX_EVENTS_MAX, "inbox_events_max", 1}};

const struct area delivery_area = {.name = "delivery",
                                   AREA_ROWS(entity, entities),
                                   AREA_ROWS(limit, limits),
                                   .slot = AREA_DELIVERY,
                                   .open = delivery_open,
                                   .close = delivery_close,
                                   .perform = delivery_perform,
                                   .tick = sessions_sweep,
                                   .started = sessions_must_sync,
                                   .damaged = sessions_kick_damaged,
                                   .end = sessions_end,
                                   AREA_ROWS(letter, letters)};
