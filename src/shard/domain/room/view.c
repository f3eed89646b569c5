/* shard/domain/room/view.c - delivering to the members of a room who live on this shard.
 * Happy path of a message: the event packed once, one inbox entry, which names it, and one push per local member. No allocation and no
 * look-up per member: the view holds their inboxes, pinned. A large room has no list: its messages go to whoever the roster finds
 * online, and the inboxes do not hear of them; on other shards than the room's own no command does either (large.c). */
#include "core/logger.h"
#include "shard/domain/delivery/delivery.h"
#include "shard/domain/delivery/pushes.h"
#include "shard/domain/room/view.h"
#include "shard/domain/room/conversation.h"
#include "shard/engine/memory.h"
#include "shard/engine/reading.h"
#include "shard/domain/room/room.h"
#include "shard/domain/room/timeline.h"

/* ---- the entity ---- */

bool view_value_read(struct slice value, struct view_value *out)
{
    struct cursor c = cursor_of(value);
    bool read = snapshot_record_read(&out->snapshot, &c);
    out->head_seq = cursor_u64(&c);
    out->opener_id = cursor_left(&c) > 0 ? cursor_u64(&c) : 0;
    return read && cursor_done(&c);
}

static void view_update(struct view *view, const struct snapshot_record *snapshot, uint64_t head_seq)
{
    view->type = snapshot->type;
    view->owner_id = snapshot->owner_id;
    view->member_count = snapshot->member_count;
    view->member_max = snapshot->member_max;
    view->created_ms = snapshot->created_ms;
    view->dismissed = snapshot->dismissed != 0;
    view->joinable = snapshot->joinable != 0;
    view->large = snapshot->large != 0;
    view->since_join = snapshot->since_join != 0;
    if (head_seq > view->head_seq) view->head_seq = head_seq;
    if (head_seq > view->heard_seq) view->heard_seq = head_seq;
    if (view->name != NULL && slice_equal(slice_text(view->name), snapshot->name)) return;
    free(view->name);
    view->name = memory_text(snapshot->name);
}

/* At once and not at the end of the batch: the head in it is that of the change or message, whatever comes behind. */
static void view_put(struct view *view, struct effects *effects)
{
    struct key key = key_one(KEY_VIEW, view->entity.key.a);
    struct snapshot_record snapshot = {.room_id = view->entity.key.a,
                                       .type = view->type,
                                       .name = slice_text(view->name),
                                       .owner_id = view->owner_id,
                                       .member_count = view->member_count,
                                       .member_max = view->member_max,
                                       .created_ms = view->created_ms,
                                       .dismissed = view->dismissed,
                                       .joinable = view->joinable,
                                       .large = view->large,
                                       .since_join = view->since_join};
    writer_reset(&effects->scratch);
    snapshot_record_write(&effects->scratch, &snapshot);
    writer_u64(&effects->scratch, view->head_seq);
    if (RECORD_WRITES_GROWN) writer_u64(&effects->scratch, view->opener_id); /* grown like a record */
    effects_put_row(effects, &key, writer_slice(&effects->scratch), &view->entity.row_hash);
}

struct local_scan {
    struct view *view;
    uint32_t capacity;
};

static bool take_local(void *context, struct slice key, struct slice value)
{
    struct local_scan *scan = context;
    struct view *view = scan->view;
    (void)value;
    if (view->cold_count == scan->capacity) {
        scan->capacity = scan->capacity == 0 ? 8 : scan->capacity * 2;
        view->cold_ids = memory_resize(view->cold_ids, scan->capacity * sizeof *view->cold_ids);
    }
    view->cold_ids[view->cold_count++] = key_u64_at(key, 9);
    return true;
}

static enum result view_load(struct entity *fresh, struct store_view *store)
{
    struct view *view = view_of(fresh);
    uint64_t room_id = fresh->key.a, newest = 0;
    struct key key = key_one(KEY_VIEW, room_id);
    struct view_value stored;
    struct writer value;
    writer_init(&value, 0);
    enum result result = entity_load_row(fresh, store, &key, &value);
    if (result == RESULT_OK && fresh->exists) {
        if (view_value_read(writer_slice(&value), &stored))
            result = timeline_newest(store, room_id, NULL, &newest);
        else
            result = RESULT_CORRUPT;
        if (result == RESULT_OK) {
            view_update(view, &stored.snapshot, stored.head_seq);
            view->heard_seq = newest > stored.head_seq ? newest : stored.head_seq;
            view->has_copies = newest > 0;
            view->opener_id = stored.opener_id;
        }
    }
    writer_deinit(&value);
    if (result != RESULT_OK || !fresh->exists || view->large) return result;
    struct local_scan scan = {.view = view};
    struct key from = key_one(KEY_LOCAL, room_id), until = key_after(KEY_LOCAL, room_id);
    return store_scan(store, key_slice(&from), key_slice(&until), take_local, &scan);
}

/* On the room's own shard what was found is its timeline. */
static void view_adopt(struct machine *machine, struct entity *fresh)
{
    struct view *view = view_of(fresh);
    if (!machine_is_home(machine, fresh->key.a)) return;
    view->head_seq = view->heard_seq;
    view->has_copies = false;
}

static void members_clear(struct machine *machine, struct view *view)
{
    for (uint32_t i = 0; i < view->local_count; i++) {
        struct entity *entity = &view->members[i]->entity;
        entity_unpin(machine->entities, &entity);
    }
    free(view->members);
    view->members = NULL;
    view->local_count = view->local_capacity = 0;
}

static void view_drop(struct machine *machine, struct entity *entity)
{
    struct view *view = view_of(entity);
    members_clear(machine, view);
    free(view->cold_ids);
    free(view->name);
}

const struct entity_type view_type = {.kind = ENTITY_VIEW,
                                      .name = "view",
                                      .size_bytes = sizeof(struct view),
                                      .load = view_load,
                                      .adopt = view_adopt,
                                      .drop = view_drop};

/* ---- local members of a small room ---- */

static uint32_t members_seek(const struct view *view, uint64_t user_id)
{
    uint32_t low = 0, high = view->local_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (view->members[middle]->entity.key.a < user_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void members_add(struct view *view, struct inbox *inbox)
{
    uint32_t at = members_seek(view, inbox->entity.key.a);
    ASSERT(at == view->local_count || view->members[at] != inbox);
    if (view->local_count == view->local_capacity) {
        view->local_capacity = view->local_capacity == 0 ? 4 : view->local_capacity * 2;
        view->members = memory_resize(view->members, view->local_capacity * sizeof(struct inbox *));
    }
    memmove(view->members + at + 1, view->members + at, (view->local_count - at) * sizeof(struct inbox *));
    view->members[at] = inbox;
    view->local_count++;
    entity_pin(&inbox->entity);
}

static void members_remove(struct machine *machine, struct view *view, struct inbox *inbox)
{
    uint32_t at = members_seek(view, inbox->entity.key.a);
    ASSERT(at < view->local_count && view->members[at] == inbox);
    view->local_count--;
    memmove(view->members + at, view->members + at + 1, (view->local_count - at) * sizeof(struct inbox *));
    struct entity *entity = &inbox->entity;
    entity_unpin(machine->entities, &entity);
}

/* COLD -> COMPLETE. */
static void members_complete(struct machine *machine, struct view *view)
{
    for (uint32_t i = 0; i < view->cold_count; i++)
        members_add(view, inbox_of(machine_entity(machine, ENTITY_INBOX, view->cold_ids[i], 0)));
    free(view->cold_ids);
    view->cold_ids = NULL;
    view->cold_count = 0;
}

/* ---- needs ---- */

void view_needs_message(struct needs *needs, uint64_t room_id, uint64_t sender_id)
{
    if (sender_id != 0 && machine_is_home(needs->machine, sender_id))
        needs_entity(needs, ENTITY_CONVERSATION, sender_id, room_id);
    struct entity *entity = needs_entity(needs, ENTITY_VIEW, room_id, 0);
    if (entity == NULL) return;
    const struct view *view = view_of(entity);
    for (uint32_t i = 0; i < view->cold_count; i++) needs_entity(needs, ENTITY_INBOX, view->cold_ids[i], 0);
}

void view_needs_change(struct needs *needs, uint64_t room_id, uint64_t target_id)
{
    view_needs_message(needs, room_id, 0);
    if (target_id == 0 || !machine_is_home(needs->machine, target_id)) return;
    needs_entity(needs, ENTITY_INBOX, target_id, 0);
    needs_entity(needs, ENTITY_CONVERSATION, target_id, room_id);
}

/* ---- a message ---- */

/* What the store keeps for each member, in effects->scratch: inbox_append leaves that alone. */
static struct slice message_event_value(struct effects *effects, uint64_t room_id, uint64_t seq)
{
    struct event_message_record record = {.room_id = room_id, .seq = seq};
    writer_reset(&effects->scratch);
    writer_u8(&effects->scratch, EVENT_MESSAGE);
    event_message_record_write(&effects->scratch, &record);
    return writer_slice(&effects->scratch);
}

/* One's own message is read when all before it was; no event says so, every device of the sender knows the rule. */
static void sender_reads(struct machine *machine, const struct relay_heard_record *heard)
{
    if (heard->sender_id == 0 || !machine_is_home(machine, heard->sender_id)) return;
    struct conversation *conversation = conversation_of(machine_entity(machine, ENTITY_CONVERSATION, heard->sender_id, heard->room_id));
    if (!conversation->entity.exists || conversation->read_seq + 1 != heard->seq) return;
    conversation->read_seq = heard->seq;
    batch_row(machine->batch, &conversation->entity);
}

/* The other one's first message: the conversation does not count as unanswered any more. */
static void opener_is_answered(struct machine *machine, struct view *view, struct effects *effects)
{
    struct inbox *opener = inbox_of(machine_entity(machine, ENTITY_INBOX, view->opener_id, 0));
    ASSERT(opener->unanswered_count > 0);
    opener->unanswered_count--;
    batch_row(machine->batch, &opener->entity);
    view->opener_id = 0;
    view_put(view, effects);
}

/* What the room's shard says cannot be: nothing of it is done, here and at every replay. */
static void note_contradiction(const struct machine *machine, uint64_t room_id, const char *what)
{
    metrics_add(&machine->metrics->letters_refused, 1);
    LOG_ERROR("room", "the room's shard contradicts itself: left out room=%llu what=%s", (unsigned long long)room_id, what);
}

/* Earlier versions kept a copy of each message on every shard with members: nobody reads it. */
static void trim_copies(struct view *view, struct effects *effects)
{
    struct key until = key_two(KEY_MESSAGE, view->entity.key.a, UINT64_MAX);
    effects_trim(effects, &until);
    view->has_copies = false;
}

/* One event for all members who live here; `message` NULL: nobody looks on. */
static void deliver(struct machine *machine, struct view *view, const struct relay_heard_record *heard, const struct message_record *message,
                    struct effects *effects)
{
    struct event_bytes event = push_event_begin(effects);
    if (message != NULL) event_pack_message(&effects->bytes, heard->room_id, message);
    push_event_end(effects, &event);
    struct slice value = message_event_value(effects, heard->room_id, heard->seq);
    uint64_t content = state_hash_fold(heard->room_id, heard->seq);
    for (uint32_t i = 0; i < view->local_count; i++) inbox_append(machine, view->members[i], event, value, content, effects);
}

bool view_apply_message(struct machine *machine, const struct relay_heard_record *heard, const struct message_record *message,
                        struct effects *effects)
{
    struct view *view = view_of(machine_entity(machine, ENTITY_VIEW, heard->room_id, 0));
    if (!view->entity.exists || view->large != (heard->large != 0) || heard->seq <= view->head_seq) {
        note_contradiction(machine, heard->room_id, "message");
        return false;
    }
    members_complete(machine, view);
    if (machine_is_home(machine, heard->room_id)) view->head_seq = heard->seq;
    if (heard->seq > view->heard_seq) view->heard_seq = heard->seq;
    if (UNLIKELY(view->has_copies)) trim_copies(view, effects);
    sender_reads(machine, heard);
    if (view->opener_id != 0 && heard->sender_id != view->opener_id) opener_is_answered(machine, view, effects);
    if (!view->large) {
        if (view->local_count > 0) deliver(machine, view, heard, message, effects);
    } else if (message != NULL) {
        writer_reset(&effects->scratch);
        message_pack(&effects->scratch, heard->room_id, message);
        push_room(effects, heard->room_id, writer_slice(&effects->scratch));
    }
    return true;
}

/* ---- a change ---- */

/* One event of `change` for these inboxes but `skipped`. */
static void send_change(struct machine *machine, struct inbox *const *inboxes, uint32_t count,
                        const struct inbox *skipped, const struct relay_change_record *change, struct effects *effects)
{
    if (count == 0 || (count == 1 && inboxes[0] == skipped)) return;
    struct event_bytes event = push_event_begin(effects);
    event_pack_change(&effects->bytes, change);
    push_event_end(effects, &event);
    writer_reset(&effects->scratch);
    writer_u8(&effects->scratch, EVENT_CHANGE);
    relay_change_record_write(&effects->scratch, change);
    struct slice value = writer_slice(&effects->scratch);
    for (uint32_t i = 0; i < count; i++)
        if (inboxes[i] != skipped) inbox_append(machine, inboxes[i], event, value, state_hash_bytes(value), effects);
}

/* A large room's messages come from its shard beside the stream (large.c): some may have gone by before this was applied. */
static void list_in_roster(struct machine *machine, uint64_t room_id, struct inbox *inbox, struct effects *effects)
{
    if (inbox->sessions == NULL) return;
    roster_add(delivery_of(machine)->roster, room_id, inbox);
    if (!machine_is_home(machine, room_id)) push_missed(effects, inbox);
}

static void target_enters(struct machine *machine, struct view *view, struct inbox *inbox,
                          const struct relay_change_record *change, bool listed, struct effects *effects)
{
    uint64_t room_id = view->entity.key.a, user_id = inbox->entity.key.a;
    struct conversation *conversation = conversation_of(machine_entity(machine, ENTITY_CONVERSATION, user_id, room_id));
    ASSERT(!conversation->entity.exists);
    conversation->entity.exists = true;
    conversation->joined_seq = conversation->read_seq = change->head_seq;
    conversation->peer_id = change->peer_id;
    free(conversation->peer_name);
    conversation->peer_name = change->peer_id == 0 ? NULL : memory_text(change->peer_name);
    batch_row(machine->batch, &conversation->entity);
    struct key key = key_two(KEY_LOCAL, room_id, user_id);
    effects_put_mark(effects, &key);
    inbox->room_count++;
    inbox->direct_count += change->peer_id != 0;
    if (change->peer_id != 0 && change->actor_id == user_id) {
        inbox->unanswered_count++;
        view->opener_id = user_id;
    }
    inbox->large_count += !listed;
    inbox->membership_changes++;
    batch_row(machine->batch, &inbox->entity);
    if (listed)
        members_add(view, inbox);
    else
        list_in_roster(machine, room_id, inbox, effects);
}

static void target_leaves(struct machine *machine, struct view *view, struct inbox *inbox, bool listed,
                          struct effects *effects)
{
    uint64_t room_id = view->entity.key.a, user_id = inbox->entity.key.a;
    struct entity *conversation = machine_entity(machine, ENTITY_CONVERSATION, user_id, room_id);
    ASSERT(conversation->exists && inbox->room_count > 0 && conversation_of(conversation)->peer_id == 0); /* nobody leaves a DIRECT */
    conversation->exists = false;
    batch_row(machine->batch, conversation);
    struct key key = key_two(KEY_LOCAL, room_id, user_id);
    effects_delete_mark(effects, &key);
    inbox->room_count--;
    ASSERT(listed || inbox->large_count > 0);
    inbox->large_count -= !listed;
    inbox->membership_changes++;
    batch_row(machine->batch, &inbox->entity);
    if (listed)
        members_remove(machine, view, inbox);
    else
        roster_remove(delivery_of(machine)->roster, room_id, inbox);
}

/* What the change means for the one it is about, who lives here. Returns that inbox. */
static struct inbox *apply_to_target(struct machine *machine, struct view *view,
                                     const struct relay_change_record *change, bool listed, struct effects *effects)
{
    struct inbox *inbox = inbox_of(machine_entity(machine, ENTITY_INBOX, change->target_id, 0));
    struct relay_change_record own = *change;
    if (change->change == CHANGE_ROOM_JOINED || change->change == CHANGE_MEMBER_JOINED) {
        own.change = CHANGE_ROOM_JOINED;
        target_enters(machine, view, inbox, change, listed, effects);
    } else if (change->change == CHANGE_MEMBER_LEFT) {
        own.change = CHANGE_ROOM_LEFT;
        target_leaves(machine, view, inbox, listed, effects);
    }
    send_change(machine, &inbox, 1, NULL, &own, effects);
    return inbox;
}

/* COMPLETE -> LARGE. */
static void view_enlarge(struct machine *machine, struct view *view, struct effects *effects)
{
    for (uint32_t i = 0; i < view->local_count; i++) {
        struct inbox *inbox = view->members[i];
        inbox->large_count++;
        batch_row(machine->batch, &inbox->entity);
        list_in_roster(machine, view->entity.key.a, inbox, effects);
    }
    members_clear(machine, view);
}

/* Nobody enters who is in, or leaves who is out. */
static bool change_fits(struct machine *machine, const struct view *view, const struct relay_change_record *change, bool listed)
{
    bool enters = change->change == CHANGE_ROOM_JOINED || change->change == CHANGE_MEMBER_JOINED;
    bool leaves = change->change == CHANGE_MEMBER_LEFT;
    if (change->target_id == 0 || !machine_is_home(machine, change->target_id) || (!enters && !leaves)) return true;
    const struct inbox *inbox = inbox_of(machine_entity(machine, ENTITY_INBOX, change->target_id, 0));
    struct entity *conversation = machine_entity(machine, ENTITY_CONVERSATION, change->target_id, view->entity.key.a);
    if (enters) return inbox->entity.exists && !conversation->exists;
    return conversation->exists && conversation_of(conversation)->peer_id == 0 && inbox->room_count > 0 && (listed || inbox->large_count > 0);
}

void view_apply_change(struct machine *machine, const struct relay_change_record *relay, struct effects *effects)
{
    struct snapshot_record snapshot;
    struct cursor c = cursor_of(relay->snapshot);
    bool read = snapshot_record_read(&snapshot, &c);
    ASSERT(read); /* relay_row.is_good has looked */
    struct view *view = view_of(machine_entity(machine, ENTITY_VIEW, snapshot.room_id, 0));
    /* The change that makes a room large still goes to every member: it is how they learn of it. */
    bool listed = view->entity.exists ? !view->large : snapshot.large == 0;
    if (!change_fits(machine, view, relay, listed)) {
        note_contradiction(machine, snapshot.room_id, "change");
        return;
    }
    members_complete(machine, view);
    view_update(view, &snapshot, relay->head_seq);
    view->entity.exists = true;
    const struct inbox *target = NULL;
    if (relay->target_id != 0 && machine_is_home(machine, relay->target_id))
        target = apply_to_target(machine, view, relay, listed, effects);
    if (listed && view->type == TYPE_GROUP && relay->change != CHANGE_ROOM_JOINED)
        send_change(machine, view->members, view->local_count, target, relay, effects);
    if (listed && view->large) view_enlarge(machine, view, effects);
    view_put(view, effects);
}
