/* shard/engine/outbox.c - see outbox.h. Bundles of changes, and those of messages in stores that held them whole, are given as they stand. */
#include "shard/engine/outbox.h"
#include "shard/engine/stream.h"

void outbox_reader_init(struct outbox_reader *reader, struct store_view *view)
{
    timeline_reader_init(&reader->messages, view);
    writer_init(&reader->entries, 0);
    writer_init(&reader->bundle, 0);
}

void outbox_reader_deinit(struct outbox_reader *reader)
{
    timeline_reader_deinit(&reader->messages);
    writer_deinit(&reader->entries);
    writer_deinit(&reader->bundle);
}

/* The entry that `bytes` name. */
static enum result add_entry(struct outbox_reader *reader, struct slice bytes)
{
    struct relay_name_record name;
    struct cursor c = cursor_of(bytes);
    if (!relay_name_record_read(&name, &c) || !cursor_done(&c)) return RESULT_CORRUPT;
    struct relay_message_record relay = {.room_id = name.room_id, .large = name.large};
    enum result result = timeline_reader_get(&reader->messages, name.room_id, name.seq, &relay.message);
    if (result == RESULT_MISSING) return RESULT_CORRUPT;
    if (result != RESULT_OK) return result;
    writer_u32(&reader->entries, relay_message_record_size(&relay));
    relay_message_record_write(&reader->entries, &relay);
    return RESULT_OK;
}

enum result outbox_read(struct outbox_reader *reader, struct slice value, struct slice *bundle)
{
    struct relay_record relay;
    struct cursor c = cursor_of(value);
    *bundle = value;
    if (!relay_record_read(&relay, &c)) return RESULT_CORRUPT;
    if (relay.kind != RELAY_NAME) return RESULT_OK;
    struct cursor names = cursor_of(relay.entries);
    writer_reset(&reader->entries);
    while (cursor_left(&names) > 0) {
        struct slice name = cursor_bytes(&names);
        enum result result = names.bad ? RESULT_CORRUPT : add_entry(reader, name);
        if (result != RESULT_OK) return result;
    }
    relay.kind = RELAY_MESSAGE;
    relay.entries = writer_slice(&reader->entries);
    writer_reset(&reader->bundle);
    relay_record_write(&reader->bundle, &relay);
    *bundle = writer_slice(&reader->bundle);
    return cursor_done(&c) && !reader->bundle.failed ? RESULT_OK : RESULT_CORRUPT;
}
