/* shard/engine/outbox.c - see outbox.h. Bundles that stand there whole, also of a kind that earlier versions did not shorten, are given as
 * they are. */
#include "shard/engine/outbox.h"
#include "shard/engine/domain.h"
#include "shard/engine/records.h"

void outbox_reader_init(struct outbox_reader *reader, const struct domain *domain, struct store_view *view)
{
    *reader = (struct outbox_reader){.domain = domain, .view = view};
    writer_init(&reader->entries, 0);
    writer_init(&reader->bundle, 0);
}

void outbox_reader_deinit(struct outbox_reader *reader)
{
    if (reader->lookup != NULL) reader->free_lookup(reader->lookup);
    writer_deinit(&reader->entries);
    writer_deinit(&reader->bundle);
}

static enum result restore(struct outbox_reader *reader, const struct relay_row *row, struct relay_record *relay)
{
    struct cursor stored = cursor_of(relay->entries);
    writer_reset(&reader->entries);
    while (cursor_left(&stored) > 0) {
        struct slice entry = cursor_bytes(&stored);
        enum result result = stored.bad ? RESULT_CORRUPT : row->restore(reader, entry, &reader->entries);
        if (result != RESULT_OK) return result;
    }
    relay->kind = row->kind;
    relay->entries = writer_slice(&reader->entries);
    return RESULT_OK;
}

enum result outbox_read(struct outbox_reader *reader, struct slice value, struct slice *bundle)
{
    struct relay_record relay;
    struct cursor c = cursor_of(value);
    *bundle = value;
    if (!relay_record_read(&relay, &c) || !cursor_done(&c)) return RESULT_CORRUPT;
    const struct relay_row *row = domain_relay(reader->domain, relay.kind);
    if (row == NULL || (relay.kind != row->kind && relay.kind != row->stored_kind)) return RESULT_CORRUPT;
    if (relay.kind == row->kind) return RESULT_OK;
    enum result result = restore(reader, row, &relay);
    if (result != RESULT_OK) return result;
    writer_reset(&reader->bundle);
    relay_record_write(&reader->bundle, &relay);
    *bundle = writer_slice(&reader->bundle);
    return reader->bundle.failed ? RESULT_CORRUPT : RESULT_OK;
}
