/* shard/domain/room/direct.c - the one conversation of two people, found by their ids on the home shard of the smaller one.
 * Happy path: the first send between the two makes the room; every later one finds it here.
 * Two first sends in one batch: both named only the pair, since there was no room yet. The second finds the one the
 * first has made, still resident because this entity holds it. */
#include "shard/domain/keys.h"
#include "shard/engine/memory.h"
#include "shard/domain/room/room.h"

static bool direct_read(struct entity *fresh, struct slice value)
{
    struct cursor c = cursor_of(value);
    direct_of(fresh)->room_id = cursor_u64(&c);
    return cursor_done(&c);
}

static void direct_drop(struct machine *machine, struct entity *entity)
{
    struct direct *direct = direct_of(entity);
    for (uint32_t i = 0; i < DIRECT_HELD; i++)
        if (direct->held[i] != NULL) entity_unpin(machine->entities, &direct->held[i]);
}

const struct entity_type direct_type = {.kind = ENTITY_DIRECT,
                                        .name = "direct",
                                        .size_bytes = sizeof(struct direct),
                                        .row_key = KEY_DIRECT,
                                        .row_of_two = true,
                                        .read = direct_read,
                                        .drop = direct_drop};

static void direct_hold(struct machine *machine, struct direct *direct, const struct person_record people[2])
{
    uint64_t room_id = direct->room_id;
    direct->held[0] = machine_entity(machine, ENTITY_ROOM, room_id, 0);
    direct->held[1] = machine_entity(machine, ENTITY_VIEW, room_id, 0);
    direct->held[2] = machine_entity(machine, ENTITY_MEMBER, room_id, people[0].user_id);
    direct->held[3] = machine_entity(machine, ENTITY_MEMBER, room_id, people[1].user_id);
    for (uint32_t i = 0; i < DIRECT_HELD; i++) entity_pin(direct->held[i]);
}

struct room *direct_create(struct machine *machine, const struct person_record people[2], uint64_t actor_id,
                           uint64_t time_ms, struct effects *effects)
{
    ASSERT(people[0].user_id < people[1].user_id);
    struct direct *direct = direct_of(machine_entity(machine, ENTITY_DIRECT, people[0].user_id, people[1].user_id));
    ASSERT(!direct->entity.exists);
    struct room_draft draft = {
        .type = TYPE_DIRECT, .actor_id = actor_id, .time_ms = time_ms, .people = people, .people_count = 2};
    struct room *room = room_create(machine, &draft, effects);
    direct->entity.exists = true;
    direct->room_id = room->entity.key.a;
    direct_hold(machine, direct, people);
    struct key key = key_two(KEY_DIRECT, people[0].user_id, people[1].user_id);
    effects_put_row(effects, &key, slice_of(&direct->room_id, sizeof direct->room_id), &direct->entity.row_hash);
    return room;
}
