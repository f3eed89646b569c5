/* shard/domain/chat/mark_read.c - how far a user has read one room; on the user's home shard, told to all their devices
 * through the stream. Never goes back, never past the room's head: of a room of another shard the head is asked for, unless what was
 * heard of it reaches so far, before the command is made; of those that earlier versions have logged nobody looks again. */
#include "shard/domain/delivery/pushes.h"
#include "shard/domain/room/conversation.h"
#include "shard/domain/delivery/inbox.h"
#include "shard/domain/methods.h"
#include "shard/domain/room/owner_read.h"
#include "shard/domain/room/view.h"

static void needs_read(struct needs *needs, const struct command *command)
{
    struct read_record read = COMMAND_RECORD(read, command);
    needs_entity(needs, ENTITY_CONVERSATION, read.user_id, read.room_id);
    needs_entity(needs, ENTITY_INBOX, read.user_id, 0);
    needs_entity(needs, ENTITY_VIEW, read.room_id, 0);
}

static enum error check_read(struct machine *machine, const struct command *command)
{
    struct read_record read = COMMAND_RECORD(read, command);
    return machine_entity(machine, ENTITY_CONVERSATION, read.user_id, read.room_id)->exists ? ERROR_NONE
                                                                                            : ERROR_ROOM_NOT_FOUND;
}

static void read_tell(struct machine *machine, const struct conversation *conversation, struct effects *effects)
{
    uint64_t user_id = conversation->entity.key.a;
    struct event_read_record record = {.room_id = conversation->entity.key.b, .read_seq = conversation->read_seq};
    struct event_bytes event = push_event_begin(effects);
    event_pack_read(&effects->bytes, &record);
    push_event_end(effects, &event);
    writer_reset(&effects->scratch);
    writer_u8(&effects->scratch, EVENT_READ);
    event_read_record_write(&effects->scratch, &record);
    struct inbox *inbox = inbox_of(machine_entity(machine, ENTITY_INBOX, user_id, 0));
    struct slice value = writer_slice(&effects->scratch);
    inbox_append(machine, inbox, event, value, state_hash_bytes(value), effects);
}

static void apply_read(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct read_record read = COMMAND_RECORD(read, command);
    struct conversation *conversation =
        conversation_of(machine_entity(machine, ENTITY_CONVERSATION, read.user_id, read.room_id));
    const struct view *view = view_of(machine_entity(machine, ENTITY_VIEW, read.room_id, 0));
    ASSERT(view->entity.exists);
    bool beyond = machine_is_home(machine, read.room_id) && read.seq > view->head_seq;
    uint64_t seq = beyond ? view->head_seq : read.seq; /* of another shard's room the handler has asked */
    if (seq > conversation->read_seq) {
        conversation->read_seq = seq;
        batch_row(machine->batch, &conversation->entity);
        read_tell(machine, conversation, effects);
    }
}

static void answer_read(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct read_record read = COMMAND_RECORD(read, command);
    Ringpost__V1__MarkReadResponse response = RINGPOST__V1__MARK_READ_RESPONSE__INIT;
    response.read_seq = conversation_of(machine_entity(machine, ENTITY_CONVERSATION, read.user_id, read.room_id))->read_seq;
    effects_reply(effects, &response.base);
}

COMMAND_SIZE_MAX(read, 0)
COMMAND_ROW(read, READ, .needs = needs_read, .check = check_read, .answer = answer_read);

/* True: *seq is not beyond the head of the room, as far as that has to be looked at here. False: its shard is being asked. */
static bool read_bound(struct shard *shard, struct request *request, struct view *view, uint64_t *seq)
{
    uint64_t room_id = view->entity.key.a;
    struct owner_read *asked = request->lookup;
    struct owner_head head = {.room_id = room_id};
    if (machine_is_home(request_machine(shard), room_id)) return true;
    if (asked != NULL && owner_read_head_of(asked, 0, &head) && head.head_seq > view->heard_seq) view->heard_seq = head.head_seq;
    if (*seq <= view->heard_seq) return true;
    if (asked != NULL) {
        *seq = view->heard_seq;
        return true;
    }
    asked = owner_read_create(shard_number(shard), request->actor.user_id, false);
    owner_read_head(asked, &head);
    request->lookup = asked;
    request->free_lookup = owner_read_destroy;
    return owner_read_begin(shard, request, asked, request_run);
}

void handle_mark_read(struct shard *shard, struct request *request)
{
    Ringpost__V1__MarkReadRequest *in = REQUEST_UNPACK(shard, request, MarkReadRequest);
    if (in == NULL) return;
    if (in->seq == 0) {
        request_refuse_because(shard, request, ERROR_BAD_FIELD, "seq: must be 1 or more");
        return;
    }
    struct entity *conversation = request_entity(shard, request, ENTITY_CONVERSATION, request->actor.user_id, in->room_id);
    if (conversation == NULL) return;
    if (!conversation->exists && !request_catch_up(shard, request, id_partition(in->room_id))) return;
    struct entity *view = request_entity(shard, request, ENTITY_VIEW, in->room_id, 0);
    if (view == NULL) return;
    uint64_t seq = in->seq;
    if (conversation->exists && !read_bound(shard, request, view_of(view), &seq)) return;
    struct read_record record = {.user_id = request->actor.user_id, .room_id = in->room_id, .seq = seq};
    REQUEST_PROPOSE(shard, request, read, READ, &record);
}
