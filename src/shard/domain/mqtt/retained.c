/* shard/domain/mqtt/retained.c - what is retained of a room: its last message, unless a retained PUBLISH without a payload said that nothing is
 * from there on. The room remembers up to which seq; a later message is retained again. Nobody but subscribers to come notices: such
 * a PUBLISH is no message, it is neither stored nor handed on.
 * Happy path: MQTT_CLEAR_RETAINED -> a member? -> RETAINED_CLEAR durable -> the room's row -> reply. Failure: what a send would say. */
#include "shard/domain/mqtt/state.h"
#include "shard/engine/request.h"
#include "shard/domain/room/room.h"

/* ---- the command ------------------------------------------------------------------------------------------------------ */

static void needs_retained_clear(struct needs *needs, const struct command *command)
{
    struct retained_clear_record clear = COMMAND_RECORD(retained_clear, command);
    needs_entity(needs, ENTITY_ROOM, clear.room_id, 0);
    needs_entity(needs, ENTITY_MEMBER, clear.room_id, command->actor_id);
}

static enum error check_retained_clear(struct machine *machine, const struct command *command)
{
    struct retained_clear_record clear = COMMAND_RECORD(retained_clear, command);
    const struct room *room = room_of(machine_entity(machine, ENTITY_ROOM, clear.room_id, 0));
    bool is_member = machine_entity(machine, ENTITY_MEMBER, clear.room_id, command->actor_id)->exists;
    if (!room->entity.exists || !is_member) return ERROR_ROOM_NOT_FOUND;
    return room->dismissed ? ERROR_ROOM_DISMISSED : ERROR_NONE;
}

static void apply_retained_clear(struct machine *machine, const struct command *command, struct effects *effects)
{
    (void)effects; /* the answer is empty */
    struct retained_clear_record clear = COMMAND_RECORD(retained_clear, command);
    struct room *room = room_of(machine_entity(machine, ENTITY_ROOM, clear.room_id, 0));
    if (room->unretained_seq == room->head_seq) return;
    room->unretained_seq = room->head_seq;
    batch_row(machine->batch, &room->entity);
}

COMMAND_SIZE_MAX(retained_clear, 0)
COMMAND_ROW(retained_clear, RETAINED_CLEAR, .needs = needs_retained_clear, .check = check_retained_clear);

/* ---- the questions ---------------------------------------------------------------------------------------------------- */

static uint64_t room_asked(const struct request *request)
{
    struct cursor c = cursor_of(letter_payload(request->letter));
    return cursor_u64(&c);
}

void mqtt_clear_retained_run(struct shard *shard, struct request *request)
{
    struct retained_clear_record clear = {.room_id = room_asked(request)};
    REQUEST_PROPOSE(shard, request, retained_clear, RETAINED_CLEAR, &clear);
}

void mqtt_ask_retained_run(struct shard *shard, struct request *request)
{
    struct entity *room = request_entity(shard, request, ENTITY_ROOM, room_asked(request), 0);
    if (room == NULL) return;
    struct writer reply;
    writer_init(&reply, 0);
    writer_u64(&reply, room->exists ? room_of(room)->unretained_seq : 0);
    request_reply_packed(shard, request, writer_slice(&reply));
    writer_deinit(&reply);
}
