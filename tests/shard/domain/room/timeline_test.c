/* tests/shard/domain/room/timeline_test.c - timelines and streams in blocks of all sizes, read from every place in every direction. */
#include "shard/block_world.h"
#include "shard/domain/delivery/events.h"
#include "shard/engine/memory.h"
#include "shard/domain/room/timeline.h"

static const uint32_t batches[] = {1, 3, 1, 1, 7, 2, 1, 16, 1, 1, 1, 5};
#define TOTAL 40 /* of batches */

static struct world make(uint64_t *ada, uint64_t *room_id, uint32_t events_max)
{
    struct machine_options options = fixture_options(0, 1);
    options.limits[LIMIT_INBOX_EVENTS_MAX] = events_max;
    struct world world = world_create(options);
    *ada = world_user(&world, 0, "ada");
    *room_id = world_create_room(&world, *ada, NULL, 0, false); /* entry 1 */
    for (size_t i = 0; i < COUNT_OF(batches); i++) send_batch(&world, *ada, *room_id, batches[i], "x");
    cr_assert_eq(world_room(&world, *room_id)->head_seq, TOTAL);
    cr_assert_eq(fixture_count(world.shards[0], KEY_MESSAGE, *room_id), COUNT_OF(batches));
    return world;
}

static void expect_history(const Ringpost__V1__HistoryResponse *page, uint64_t first, int step, uint64_t count)
{
    cr_assert_eq(page->n_messages, count, "%zu messages from %d", page->n_messages, (int)first);
    for (size_t i = 0; i < count; i++) cr_expect_eq(page->messages[i]->seq, first + (uint64_t)(step * (int)i));
}

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

Test(timeline, every_page_of_history_from_every_place)
{
    uint64_t ada, room_id;
    struct world world = make(&ada, &room_id, 1000);
    for (uint64_t at = 1; at <= TOTAL + 1; at++)
        for (uint32_t limit = 1; limit <= TOTAL + 1; limit++) {
            Ringpost__V1__HistoryResponse *down = world_history(&world, room_id, false, at, limit);
            expect_history(down, at - 1, -1, least(limit, at - 1));
            cr_expect_eq(down->has_more, at - 1 > limit);
            WORLD_FREE(down);
            Ringpost__V1__HistoryResponse *up = world_history(&world, room_id, true, at, limit);
            expect_history(up, at + 1, 1, at > TOTAL ? 0 : least(limit, TOTAL - at));
            cr_expect_eq(up->has_more, at + limit < TOTAL);
            WORLD_FREE(up);
        }
    world_destroy(&world);
}

Test(timeline, every_page_of_sync_from_every_place)
{
    uint64_t ada, room_id;
    struct world world = make(&ada, &room_id, 1000);
    for (uint64_t key = 0; key <= TOTAL + 1; key++)
        for (uint32_t limit = 1; limit <= TOTAL + 2; limit++) {
            Ringpost__V1__SyncResponse *page = world_sync(&world, ada, key, limit);
            uint64_t count = least(limit, TOTAL + 1 - key);
            cr_assert(!page->reset);
            cr_assert_eq(page->n_events, count);
            cr_expect_eq(page->sync_key, key + count);
            cr_expect_eq(page->has_more, key + count < TOTAL + 1);
            for (uint64_t i = 0; i < count; i++) {
                cr_expect_eq(page->events[i]->sync_key, key + i + 1);
                if (key + i > 0) cr_expect_eq(page->events[i]->message->seq, key + i);
            }
            WORLD_FREE(page);
        }
    world_destroy(&world);
}

/* Whatever is trimmed, exactly what is kept can be had, and what a block holds beyond that is not shown. */
Test(timeline, sync_after_trims_begins_where_the_window_begins)
{
    for (uint32_t kept = 1; kept <= TOTAL + 2; kept++) {
        uint64_t ada, room_id;
        struct world world = make(&ada, &room_id, kept);
        uint64_t head = TOTAL + 1, first = head > kept ? head - kept + 1 : 1;
        cr_expect_leq(fixture_count(world.shards[0], KEY_EVENT, ada), least(2 * kept + 1, COUNT_OF(batches) + 1), "%u kept", kept);
        for (uint64_t key = 0; key <= head + 1; key++) {
            Ringpost__V1__SyncResponse *page = world_sync(&world, ada, key, 100);
            bool reset = key + 1 < first || key > head;
            cr_expect_eq(page->reset, reset, "%u kept, from %d", kept, (int)key);
            cr_expect_eq(page->n_events, reset ? 0 : head - key, "%u kept, from %d", kept, (int)key);
            cr_expect_eq(page->sync_key, head);
            WORLD_FREE(page);
        }
        world_destroy(&world);
    }
}

/* A trim lets go of the blocks that end before the window, and of no other. */
Test(timeline, a_trim_takes_whole_blocks_only)
{
    static const struct {
        const char *name;
        uint32_t batches[4];
        uint64_t first; /* entry there after all of them, 10 kept; entry 1 is the room's own block */
    } cases[] = {
        {"not full yet", {9}, 1},
        {"the block before the window ends right there", {9, 10}, 11},
        {"a block reaches one entry into the window", {10, 9}, 2},
        {"a block of exactly what goes", {4, 5, 10}, 11},
        {"one block is all there is", {19}, 2},
        {"the trim comes in the middle of a batch", {9, 15}, 11},
        {"and of a batch larger than the window", {9, 35}, 11},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct machine_options options = fixture_options(0, 1);
        options.limits[LIMIT_INBOX_EVENTS_MAX] = 10;
        struct world world = world_create(options);
        uint64_t ada = world_user(&world, 0, "ada");
        uint64_t room_id = world_create_room(&world, ada, NULL, 0, false);
        for (size_t b = 0; b < 4 && cases[i].batches[b] > 0; b++) send_batch(&world, ada, room_id, cases[i].batches[b], "x");
        uint64_t head = world_inbox(&world, ada)->head;
        cr_expect_eq(fixture_events(world.shards[0], ada, 0), head - cases[i].first + 1, "%s", cases[i].name);
        world_destroy(&world);
    }
}

struct reads {
    struct store_view view;
    struct store_view *real;
    uint32_t scans;
};

static enum result counted_scan(struct store_view *view, struct slice from, struct slice until,
                                bool (*each)(void *, struct slice, struct slice), void *context)
{
    struct reads *reads = CONTAINER_OF(view, struct reads, view);
    reads->scans++;
    return store_scan(reads->real, from, until, each, context);
}
static const struct store_view_ops counted_ops = {.scan = counted_scan};

static void expect_message(struct timeline_reader *reader, uint64_t room_id, uint64_t seq)
{
    struct slice record;
    struct message_record message;
    cr_assert_eq(timeline_reader_get(reader, room_id, seq, &record), RESULT_OK, "seq %d", (int)seq);
    struct cursor c = cursor_of(record);
    cr_assert(message_record_read(&message, &c) && cursor_done(&c));
    cr_expect_eq(message.seq, seq);
}

Test(timeline, single_messages_in_any_order_and_few_reads_in_order)
{
    uint64_t ada, room_id;
    struct world world = make(&ada, &room_id, 1000);
    uint64_t rooms[TIMELINE_RUNS + 3];
    for (size_t i = 0; i < COUNT_OF(rooms); i++) {
        rooms[i] = world_create_room(&world, ada, NULL, 0, false);
        for (int n = 0; n < 20; n++) send_batch(&world, ada, rooms[i], 1, "x");
    }
    struct reads reads = {.view = {.ops = &counted_ops}, .real = &world.shards[0]->store.view};
    struct timeline_reader reader;
    timeline_reader_init(&reader, &reads.view);
    for (uint64_t seq = 1; seq <= TOTAL; seq++) expect_message(&reader, room_id, seq);
    cr_expect_leq(reads.scans, 5, "%u scans for ascending messages", reads.scans);
    for (uint64_t seq = TOTAL; seq > 0; seq--) expect_message(&reader, room_id, seq);
    for (uint64_t i = 0; i < 500; i++) expect_message(&reader, room_id, 1 + i * 7919 % TOTAL);
    reads.scans = 0;
    for (uint64_t seq = 1; seq <= 20; seq++)
        for (size_t i = 0; i < TIMELINE_RUNS; i++) expect_message(&reader, rooms[i], seq);
    cr_expect_leq(reads.scans, 5 * TIMELINE_RUNS, "%u scans for some rooms by turns", reads.scans);
    for (uint64_t seq = 1; seq <= 20; seq++)
        for (size_t i = 0; i < COUNT_OF(rooms); i++) expect_message(&reader, rooms[i], seq);
    struct slice record;
    cr_expect_eq(timeline_reader_get(&reader, room_id, TOTAL + 1, &record), RESULT_MISSING);
    cr_expect_eq(timeline_reader_get(&reader, id_make(0, ID_ROOM, 4242), 1, &record), RESULT_MISSING);
    timeline_reader_deinit(&reader);
    world_destroy(&world);
}

/* ---- bad bytes ---- */

Test(timeline, bytes_that_are_no_block_are_refused)
{
    static const struct {
        const char *name, *bytes;
        uint32_t len;
    } cases[] = {
        {"nothing", "", 0},
        {"a cut count", "\1\0\0", 3},
        {"no record", "\0\0\0\0", 4},
        {"a record missing", "\1\0\0\0", 4},
        {"fewer than counted", "\2\0\0\0\1\0\0\0x", 9},
        {"a cut record", "\1\0\0\0\2\0\0\0x", 9},
        {"more than counted", "\1\0\0\0\1\0\0\0x\1\0\0\0y", 14},
        {"a count beyond the bytes", "\377\377\377\377\1\0\0\0x", 9},
    };
    struct world world = world_create(fixture_options(0, 1));
    uint64_t ada = world_user(&world, 0, "ada"), room_id = world_create_room(&world, ada, NULL, 0, false), seq;
    struct fixture *shard = world.shards[0];
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct key message = key_two(KEY_MESSAGE, room_id, ~(uint64_t)1), event = key_two(KEY_EVENT, ada, 9);
        effects_put(&shard->effects, &message, slice_of(cases[i].bytes, cases[i].len));
        effects_put(&shard->effects, &event, slice_of(cases[i].bytes, cases[i].len));
        fixture_end_batch(shard);
        struct timeline_reader reader;
        struct slice record;
        timeline_reader_init(&reader, &shard->store.view);
        cr_expect_eq(timeline_newest(&shard->store.view, room_id, NULL, &seq), RESULT_CORRUPT, "%s", cases[i].name);
        cr_expect_neq(timeline_reader_get(&reader, room_id, 2, &record), RESULT_OK, "%s", cases[i].name);
        timeline_reader_deinit(&reader);
    }
    world_destroy(&world);
}

static enum error page_error(struct fixture *shard, const struct history_params *params)
{
    struct read_job *job = memory_alloc(sizeof *job + sizeof *params);
    writer_init(&job->reply, 0);
    memcpy(job->params, params, sizeof *params);
    history_read(job, &shard->store.view);
    enum error error = job->error;
    writer_deinit(&job->reply);
    free(job);
    return error;
}

/* The shard that owns a room has all its messages; a page must not give others in place of those that are missing. */
Test(timeline, a_hole_in_what_the_owner_holds_is_refused)
{
    uint64_t ada, room_id;
    struct world world = make(&ada, &room_id, 1000);
    struct fixture *shard = world.shards[0];
    struct key block = key_two(KEY_MESSAGE, room_id, ~(uint64_t)7); /* 7 to 13 */
    effects_delete(&shard->effects, &block);
    fixture_end_batch(shard);
    for (uint64_t at = 1; at <= TOTAL; at++)
        for (uint32_t limit = 1; limit <= TOTAL; limit++) {
            const struct history_params params = {.room_id = room_id, .head_seq = TOTAL, .upwards = true, .after_seq = at, .limit = limit};
            bool missing = at < 13 && at + limit >= 7;
            cr_expect_eq(page_error(shard, &params), missing ? ERROR_INTERNAL : ERROR_NONE, "%d behind %d", (int)limit, (int)at);
        }
    world_destroy(&world);
}
