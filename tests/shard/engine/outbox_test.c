/* tests/shard/engine/outbox_test.c - what a restart reads out of an outbox is what was posted, though messages stand there by name. */
#include "shard/block_world.h"
#include "shard/domain/domain.h"
#include "shard/engine/outbox.h"

#define HERE 0
#define PEER 1

/* Ada and her room here, Bob there; messages in batches of several sizes, not yet delivered. */
static struct world make(uint64_t *room_id)
{
    struct world world = world_create(fixture_options(HERE, 2));
    uint64_t ada = world_user(&world, HERE, "ada"), bob = world_user(&world, PEER, "bob");
    *room_id = world_create_room(&world, ada, &bob, 1, false);
    send_batch(&world, ada, *room_id, 3, "one of three");
    send_batch(&world, ada, *room_id, 1, "alone");
    send_batch(&world, ada, *room_id, STREAM_BUNDLE_ENTRIES_MAX + 1, "more than a bundle takes");
    return world;
}

struct comparison {
    struct fixture *source;
    struct outbox_reader reader;
    uint32_t messages, changes;
};

/* The row of a letter says the same, in fewer bytes. */
static void compare(void *context, struct letter *letter)
{
    struct comparison *comparison = context;
    struct relay_record relay;
    struct cursor c = cursor_of(letter_payload(letter));
    cr_assert(relay_record_read(&relay, &c) && cursor_done(&c));
    struct key key = key_two(KEY_OUTBOX, PEER, relay.first);
    struct slice value, bundle;
    cr_assert(fixture_get(comparison->source, &key, &value), "entry %lu", (unsigned long)relay.first);
    cr_assert_eq(outbox_read(&comparison->reader, value, &bundle), RESULT_OK);
    cr_expect(slice_equal(bundle, letter_payload(letter)), "entry %lu", (unsigned long)relay.first);
    bool is_message = relay.kind == RELAY_MESSAGE;
    cr_expect_eq(value.len < bundle.len, is_message);
    *(is_message ? &comparison->messages : &comparison->changes) += relay.count;
    letter_free(letter);
}

Test(outbox, a_restart_reads_what_was_posted)
{
    uint64_t room_id;
    struct world world = make(&room_id);
    struct comparison comparison = {.source = world.shards[HERE]};
    outbox_reader_init(&comparison.reader, ringpost_domain(), &world.shards[HERE]->store.view);
    stream_pump(world.shards[HERE]->machine->streams, compare, &comparison);
    cr_expect_eq(comparison.messages, 3 + 1 + STREAM_BUNDLE_ENTRIES_MAX + 1);
    cr_expect_gt(comparison.changes, 0);
    outbox_reader_deinit(&comparison.reader);
    world_destroy(&world);
}

/* A bundle of one entry. */
static void write_bundle(struct writer *value, enum domain_relay_kind kind, struct slice entry)
{
    struct writer entries;
    writer_init(&entries, 0);
    writer_bytes(&entries, entry);
    struct relay_record relay = {.source = HERE, .first = 1, .count = 1, .kind = (uint16_t)kind, .entries = writer_slice(&entries)};
    writer_reset(value);
    relay_record_write(value, &relay);
    writer_deinit(&entries);
}

Test(outbox, names_of_nothing_are_refused_and_whole_bundles_given_as_they_are)
{
    uint64_t room_id;
    struct world world = make(&room_id);
    const struct {
        const char *name;
        enum domain_relay_kind kind;
        uint64_t room_id, seq;
        uint32_t cut;
        enum result want;
    } cases[] = {
        {"good", RELAY_NAME, room_id, 2, 0, RESULT_OK},
        {"no such message", RELAY_NAME, room_id, 10000, 0, RESULT_CORRUPT},
        {"no such room", RELAY_NAME, room_id + 1, 1, 0, RESULT_CORRUPT},
        {"too short", RELAY_NAME, room_id, 2, 1, RESULT_CORRUPT},
        {"not a name", RELAY_NAME, 0, 0, 0, RESULT_CORRUPT},
        {"held whole, by an earlier version", RELAY_MESSAGE, room_id, 2, 0, RESULT_OK},
        {"a change", RELAY_CHANGE, room_id, 2, 0, RESULT_OK},
    };
    struct outbox_reader reader;
    struct writer value, entry;
    outbox_reader_init(&reader, ringpost_domain(), &world.shards[HERE]->store.view);
    writer_init(&value, 0);
    writer_init(&entry, 0);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct relay_name_record name = {.room_id = cases[i].room_id, .seq = cases[i].seq};
        writer_reset(&entry);
        if (name.room_id != 0) relay_name_record_write(&entry, &name);
        write_bundle(&value, cases[i].kind, writer_slice(&entry));
        struct slice bytes = slice_of(value.data, value.len - cases[i].cut), bundle;
        cr_expect_eq(outbox_read(&reader, bytes, &bundle), cases[i].want, "%s", cases[i].name);
        if (cases[i].want == RESULT_OK) cr_expect_eq(slice_equal(bytes, bundle), cases[i].kind != RELAY_NAME, "%s", cases[i].name);
    }
    writer_deinit(&entry);
    writer_deinit(&value);
    outbox_reader_deinit(&reader);
    world_destroy(&world);
}
