/* shard/domain/room/relays.c - what a room's shard tells the shards of its members, as entries of streams: messages and changes.
 * A message's bytes are in the store once, in the timeline of its room, put there by the batch that tells of it: so outbox and the logs of other
 * shards keep less. It is there for as long as the outbox names it: messages never change and are never deleted. What came with the
 * letter is pushed, and stays in the cache for those who sync. */
#include "shard/domain/relays.h"
#include "shard/domain/bounds.h"
#include "shard/domain/room/rooms.h"
#include "shard/domain/room/timeline.h"
#include "shard/domain/room/view.h"
#include "shard/engine/memory.h"
#include "shard/engine/outbox.h"
#include "shard/engine/relay.h"

/* ---- messages ---- */

static void needs_message(struct needs *needs, struct slice kept)
{
    struct relay_heard_record heard = RECORD_OF(relay_heard, kept);
    view_needs_message(needs, heard.room_id, heard.sender_id);
}

static void apply_message(struct machine *machine, struct slice kept, struct slice whole, struct effects *effects)
{
    struct relay_heard_record heard = RECORD_OF(relay_heard, kept);
    if (whole.len == 0) {
        (void)view_apply_message(machine, &heard, NULL, effects);
        return;
    }
    struct relay_message_record relay = RECORD_OF(relay_message, whole);
    struct message_record message = RECORD_OF(message, relay.message);
    bool applied = view_apply_message(machine, &heard, &message, effects);
    if (applied) body_cache_put(rooms_of(machine)->bodies, heard.room_id, heard.seq, relay.message);
}

static void shorten_message(struct slice entry, struct writer *kept)
{
    struct relay_message_record relay = RECORD_OF(relay_message, entry);
    struct message_record message = RECORD_OF(message, relay.message);
    relay_heard_record_write(kept, &(struct relay_heard_record){
        .room_id = relay.room_id, .seq = message.seq, .sender_id = message.sender_id, .large = relay.large});
}

static uint32_t message_size_max(uint32_t body_size_max)
{
    return relay_message_record_size(&(struct relay_message_record){.message = slice_of_len(bounds_message(body_size_max))});
}

static void free_reader(void *reader)
{
    timeline_reader_deinit(reader);
    free(reader);
}

static struct timeline_reader *timelines(struct outbox_reader *reader)
{
    if (reader->lookup == NULL) {
        reader->lookup = memory_alloc(sizeof(struct timeline_reader));
        reader->free_lookup = free_reader;
        timeline_reader_init(reader->lookup, reader->view);
    }
    return reader->lookup;
}

/* The message that `stored` names. */
static enum result restore_message(struct outbox_reader *reader, struct slice stored, struct writer *out)
{
    struct relay_name_record name;
    if (!relay_name_record_is(&name, stored)) return RESULT_CORRUPT;
    struct relay_message_record relay = {.room_id = name.room_id, .large = name.large};
    enum result result = timeline_reader_get(timelines(reader), name.room_id, name.seq, &relay.message);
    if (result == RESULT_MISSING) return RESULT_CORRUPT;
    if (result != RESULT_OK) return result;
    writer_u32(out, relay_message_record_size(&relay));
    relay_message_record_write(out, &relay);
    return RESULT_OK;
}

static bool message_is_good(uint16_t source, struct slice entry)
{
    struct relay_message_record relay;
    struct message_record message;
    if (!relay_message_record_is(&relay, entry) || id_partition(relay.room_id) != source) return false;
    return message_record_is(&message, relay.message);
}

const struct relay_row message_relay = {.kind = RELAY_MESSAGE,
                                        .name = "message",
                                        .bundled = true,
                                        .is_good = message_is_good,
                                        .needs = needs_message,
                                        .apply = apply_message,
                                        .size_max = message_size_max,
                                        .stored_kind = RELAY_NAME,
                                        .logged_kind = RELAY_HEARD,
                                        .shorten = shorten_message,
                                        .restore = restore_message};

/* ---- changes ---- */

static void needs_change(struct needs *needs, struct slice kept)
{
    struct relay_change_record change = RECORD_OF(relay_change, kept);
    struct snapshot_record snapshot = RECORD_OF(snapshot, change.snapshot);
    view_needs_change(needs, snapshot.room_id, change.target_id);
}

static void apply_change(struct machine *machine, struct slice kept, struct slice whole, struct effects *effects)
{
    (void)whole;
    struct relay_change_record change = RECORD_OF(relay_change, kept);
    view_apply_change(machine, &change, effects);
}

static uint32_t change_size_max(uint32_t body_size_max)
{
    (void)body_size_max;
    uint32_t snapshot = snapshot_record_size(&(struct snapshot_record){.name = slice_of_len(NAME_SIZE_MAX)});
    return relay_change_record_size(&(struct relay_change_record){.snapshot = slice_of_len(snapshot),
                                                                  .target_name = slice_of_len(NAME_SIZE_MAX),
                                                                  .peer_name = slice_of_len(NAME_SIZE_MAX)});
}

static bool change_is_good(uint16_t source, struct slice entry)
{
    struct relay_change_record change;
    struct snapshot_record snapshot;
    if (!relay_change_record_is(&change, entry)) return false;
    return snapshot_record_is(&snapshot, change.snapshot) && id_partition(snapshot.room_id) == source;
}

const struct relay_row change_relay = {
    .kind = RELAY_CHANGE, .name = "change", .is_good = change_is_good, .needs = needs_change, .apply = apply_change, .size_max = change_size_max};
