/* tests/shard/engine/stream_test.c - durable streams between shards: the outbox, what is posted when, acknowledgements, restarts. */
#include "shard/domain/domain.h"
#include "shard/engine/stream.h"
#include "shard/engine/memory.h"
#include "shard/domain/records.h"
#include <criterion/criterion.h>
#include <stdio.h>

#define SHARDS 4
#define HERE 1
#define PEER 2
#define OUTBOX_MAX 2000
#define ROWS_MAX 8192

struct row { /* of the store: a bundle of the outbox or a position */
    struct key key;
    struct slice value; /* owned; data NULL: deleted */
};

static struct box {
    struct stream_set *streams;
    struct effects effects;
    struct row rows[ROWS_MAX]; /* in the order they came; looked up from the end */
    uint32_t row_count;
    uint64_t posted[ROWS_MAX]; /* stream indexes, to PEER */
    uint32_t posted_count, letter_count;
    size_t letter_bytes_max;
} box;

static void setup(void)
{
    cr_assert_eq(stream_set_create(&box.streams, ringpost_domain(), HERE, SHARDS, OUTBOX_MAX), RESULT_OK);
    effects_init(&box.effects);
}

static void teardown(void)
{
    stream_set_destroy(box.streams);
    effects_deinit(&box.effects);
    for (uint32_t i = 0; i < box.row_count; i++) free((void *)(uintptr_t)box.rows[i].value.data);
}

TestSuite(stream, .init = setup, .fini = teardown);

/* ---- a store and a mailbox ---- */

static void end_batch(void)
{
    stream_end_batch(box.streams, &box.effects);
    struct cursor c = cursor_of(writer_slice(&box.effects.puts));
    while (cursor_left(&c) > 0) {
        bool is_put = cursor_u8(&c) == 1;
        struct slice key = cursor_bytes(&c);
        cr_assert_lt(box.row_count, ROWS_MAX);
        struct row *row = &box.rows[box.row_count++];
        key_add_text(&row->key, key);
        if (!is_put) continue;
        struct slice value = cursor_bytes(&c);
        row->value = slice_of(memory_alloc(value.len + 1), value.len);
        memcpy((void *)(uintptr_t)row->value.data, value.data, value.len);
    }
    cr_assert(!c.bad);
    writer_reset(&box.effects.puts);
}

/* The value under the key, data NULL: none. */
static struct slice stored(struct key key)
{
    for (uint32_t i = box.row_count; i-- > 0;)
        if (slice_equal(key_slice(&box.rows[i].key), key_slice(&key))) return box.rows[i].value;
    return SLICE_EMPTY;
}

static struct relay_record relay_of(struct slice bytes)
{
    struct relay_record relay;
    struct cursor c = cursor_of(bytes);
    cr_assert(relay_record_read(&relay, &c) && cursor_done(&c));
    cr_assert_eq(relay.source, HERE);
    return relay;
}

/* Of the outbox to PEER. */
static uint32_t stored_entries(uint64_t last)
{
    uint32_t count = 0;
    for (uint64_t n = 1; n <= last; n++) {
        struct slice value = stored(key_two(KEY_OUTBOX, PEER, n));
        if (value.data != NULL) count += relay_of(value).count;
    }
    return count;
}

static void on_post(void *context, struct letter *letter)
{
    (void)context;
    cr_assert(letter->kind == LETTER_STREAM && letter->from_shard == HERE && letter->to_shard == PEER);
    struct relay_record relay = relay_of(letter_payload(letter));
    struct cursor c = cursor_of(relay.entries);
    for (uint32_t i = 0; i < relay.count; i++) {
        box.posted[box.posted_count++] = relay.first + i;
        (void)cursor_bytes(&c);
    }
    cr_assert(cursor_done(&c));
    box.letter_count++;
    if (letter->len > box.letter_bytes_max) box.letter_bytes_max = letter->len;
    letter_free(letter);
}

static void pump(void)
{
    box.posted_count = box.letter_count = 0;
    stream_pump(box.streams, on_post, NULL);
}

/* A message of as many bytes as its number says. */
static void emit_to(uint16_t peer, enum domain_relay_kind kind, uint32_t len)
{
    struct relay_name_record name = {.room_id = 1, .seq = len};
    struct writer stored;
    writer_init(&stored, 0);
    if (kind == RELAY_MESSAGE) relay_name_record_write(&stored, &name);
    memset(stream_emit(box.streams, peer, (uint16_t)kind, len, writer_slice(&stored), &box.effects), 'x', len);
    writer_deinit(&stored);
}

/* A batch of that many messages. */
static void emit(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) emit_to(PEER, RELAY_MESSAGE, 7);
    end_batch();
}

static bool hear(uint16_t peer, uint64_t applied, uint64_t received, bool gap)
{
    return stream_hear(box.streams, peer, &(struct stream_answer){.applied = applied, .received = received, .gap = gap});
}

static void ack(uint64_t index)
{
    cr_assert(hear(PEER, index, index, false));
    stream_news_logged(box.streams);
    stream_acknowledge(box.streams, PEER, index, &box.effects);
}

/* What outbox.c makes of a value: messages in the place of their names. */
static bool load_bundle(uint64_t first, struct slice value)
{
    struct relay_record relay = relay_of(value);
    cr_assert_eq(relay.kind, RELAY_NAME);
    struct writer entries, bundle;
    writer_init(&entries, 0);
    writer_init(&bundle, 0);
    struct cursor names = cursor_of(relay.entries);
    while (cursor_left(&names) > 0) {
        struct relay_name_record name;
        struct cursor c = cursor_of(cursor_bytes(&names));
        cr_assert(relay_name_record_read(&name, &c) && cursor_done(&c));
        writer_u32(&entries, (uint32_t)name.seq);
        memset(writer_reserve(&entries, name.seq), 'x', name.seq);
    }
    relay.kind = RELAY_MESSAGE;
    relay.entries = writer_slice(&entries);
    relay_record_write(&bundle, &relay);
    bool loaded = stream_load_bundle(box.streams, PEER, first, writer_slice(&bundle));
    writer_deinit(&entries);
    writer_deinit(&bundle);
    return loaded;
}

/* Another process over the same store. */
static void restart(uint64_t last)
{
    stream_set_destroy(box.streams);
    cr_assert_eq(stream_set_create(&box.streams, ringpost_domain(), HERE, SHARDS, OUTBOX_MAX), RESULT_OK);
    writer_reset(&box.effects.puts);
    struct slice position = stored(key_one(KEY_STREAM, PEER));
    if (position.data != NULL) cr_assert(stream_load_position(box.streams, PEER, position));
    for (uint64_t n = 1; n <= last; n++) {
        struct slice value = stored(key_two(KEY_OUTBOX, PEER, n));
        if (value.data != NULL) cr_assert(load_bundle(n, value));
    }
    cr_assert(stream_load_end(box.streams));
}

/* ---- the source ---- */

Test(stream, each_entry_is_posted_once_in_order)
{
    pump();
    cr_expect_eq(box.letter_count, 0);
    emit(3);
    cr_expect_eq(stream_waiting(box.streams), 3);
    cr_expect_eq(stored_entries(10), 3);
    pump();
    cr_expect_eq(box.letter_count, 1);
    cr_assert_eq(box.posted_count, 3);
    for (uint32_t i = 0; i < 3; i++) cr_expect_eq(box.posted[i], i + 1);
    pump();
    cr_expect_eq(box.posted_count, 0);
    emit(1);
    pump();
    cr_expect(box.posted_count == 1 && box.posted[0] == 4);
}

Test(stream, acknowledged_bundles_leave_with_the_next_batch)
{
    emit(3);
    emit(2);
    pump();
    cr_expect_eq(box.letter_count, 2);
    ack(3);
    cr_expect_eq(stream_waiting(box.streams), 2);
    cr_expect_eq(stored_entries(5), 5, "the deletes wait for a batch");
    end_batch();
    cr_expect_eq(stored_entries(5), 2);
    ack(3);
    ack(2);
    cr_expect_eq(stream_waiting(box.streams), 2, "an old acknowledgement says nothing new");
    ack(4);
    end_batch();
    cr_expect_eq(stored_entries(5), 2, "one of the two in a bundle");
    ack(5);
    end_batch();
    cr_expect_eq(stream_waiting(box.streams), 0);
    cr_expect_eq(stored_entries(5), 0);
}

Test(stream, the_window_bounds_what_is_under_way)
{
    for (uint32_t i = 0; i < STREAM_WINDOW; i += 4) emit(4);
    emit(4);
    emit(6);
    pump();
    cr_expect_eq(box.posted_count, STREAM_WINDOW);
    pump();
    cr_expect_eq(box.posted_count, 0);
    ack(3);
    pump();
    cr_expect_eq(box.posted_count, 0, "the next bundle is one entry too long");
    ack(4);
    pump();
    cr_assert_eq(box.posted_count, 4);
    cr_expect_eq(box.posted[0], STREAM_WINDOW + 1);
    ack(STREAM_WINDOW + 4);
    pump();
    cr_expect_eq(box.posted_count, 6);
}

Test(stream, bundles_are_bounded)
{
    enum { HALF = STREAM_BUNDLE_BYTES_MAX / 2, LARGE = STREAM_BUNDLE_BYTES_MAX + 100 };
    static const struct {
        const char *name;
        uint32_t entry_count;
        struct {
            enum domain_relay_kind kind;
            uint32_t len;
        } entries[6];
        uint32_t bundles;
    } cases[] = {
        {"by bytes; a large entry alone", 6,
         {{RELAY_MESSAGE, 1000}, {RELAY_MESSAGE, HALF}, {RELAY_MESSAGE, HALF}, {RELAY_MESSAGE, LARGE}, {RELAY_MESSAGE, 0}, {RELAY_MESSAGE, 10}}, 4},
        {"each change alone", 5,
         {{RELAY_MESSAGE, 10}, {RELAY_CHANGE, 10}, {RELAY_CHANGE, 10}, {RELAY_MESSAGE, 10}, {RELAY_MESSAGE, 10}}, 4},
    };
    uint64_t emitted = 0;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (uint32_t e = 0; e < cases[i].entry_count; e++) emit_to(PEER, cases[i].entries[e].kind, cases[i].entries[e].len);
        end_batch();
        pump();
        cr_expect_eq(box.posted_count, cases[i].entry_count, "%s", cases[i].name);
        cr_expect_eq(box.letter_count, cases[i].bundles, "%s: %u", cases[i].name, box.letter_count);
        emitted += cases[i].entry_count;
        cr_expect_eq(stored_entries(emitted), emitted, "%s", cases[i].name);
    }
    cr_expect_lt(box.letter_bytes_max, LARGE + 100);
    emit(2 * STREAM_BUNDLE_ENTRIES_MAX + 1);
    pump();
    cr_expect_eq(box.letter_count, 3, "by number");
}

Test(stream, full_means_one_outbox_at_its_limit)
{
    emit(1);
    emit(OUTBOX_MAX - 2);
    cr_expect(!stream_full(box.streams));
    emit_to(0, RELAY_MESSAGE, 10);
    cr_expect(!stream_full(box.streams), "as many in all, but of two");
    emit_to(PEER, RELAY_MESSAGE, 10);
    cr_expect(stream_full(box.streams), "one more, in the open bundle");
    end_batch();
    cr_expect(stream_full(box.streams));
    ack(1);
    cr_expect(!stream_full(box.streams));
}

/* ---- the destination ---- */

Test(stream, applied_positions_are_stored_with_the_batch)
{
    stream_mark_applied(box.streams, PEER, 1, 1);
    stream_mark_applied(box.streams, PEER, 2, 5);
    stream_mark_applied(box.streams, 3, 1, 2);
    cr_expect_eq(stream_applied(box.streams, PEER), 6);
    cr_expect_null(stored(key_one(KEY_STREAM, PEER)).data);
    end_batch();
    restart(0);
    cr_expect_eq(stream_applied(box.streams, PEER), 6);
    stream_mark_applied(box.streams, PEER, 7, 1);
}

/* ---- restarts ---- */

Test(stream, after_a_restart_all_that_is_left_is_posted_again)
{
    emit(2);
    emit(1);
    emit(3);
    pump();
    ack(2);
    end_batch();
    restart(6);
    cr_expect_eq(stream_waiting(box.streams), 4);
    pump();
    cr_assert_eq(box.posted_count, 4);
    for (uint32_t i = 0; i < 4; i++) cr_expect_eq(box.posted[i], i + 3);
    emit(1);
    pump();
    cr_assert_eq(box.posted_count, 1);
    cr_expect_eq(box.posted[0], 7, "numbers go on");
}

Test(stream, a_restart_with_an_empty_outbox_goes_on)
{
    emit(3);
    pump();
    ack(3);
    end_batch();
    restart(3);
    cr_expect_eq(stream_waiting(box.streams), 0);
    for (uint32_t i = 0; i <= STREAM_WINDOW; i += 4) emit(4);
    pump();
    cr_expect_eq(box.posted_count, STREAM_WINDOW);
    cr_expect_eq(box.posted[0], 4);
}

Test(stream, a_lost_acknowledgement_is_made_up_for_after_the_restart)
{
    emit(4);
    pump();
    ack(4); /* noted in memory only: the process ends before the next batch */
    restart(4);
    pump();
    cr_expect_eq(box.posted_count, 4);
    ack(4); /* the destination drops the repeats and says how far it is */
    end_batch();
    cr_expect_eq(stored_entries(4), 0);
}

Test(stream, replayed_commands_emit_under_the_same_numbers)
{
    emit(2);
    uint32_t rows = box.row_count;
    emit(2);
    while (box.row_count > rows) free((void *)(uintptr_t)box.rows[--box.row_count].value.data); /* the crash took this batch */
    restart(4);
    emit(2);
    pump();
    cr_assert_eq(box.posted_count, 4);
    for (uint32_t i = 0; i < 4; i++) cr_expect_eq(box.posted[i], i + 1);
}

/* A row of a position; `version` 1: as it was before acknowledgements were commands. */
static bool load_position(uint8_t version, uint64_t emitted, uint64_t acknowledged)
{
    struct writer w;
    writer_init(&w, 0);
    struct stream_record record = {.emitted = emitted, .acknowledged = acknowledged};
    stream_record_write(&w, &record);
    w.data[0] = version;
    bool loaded = stream_load_position(box.streams, PEER, slice_of(w.data, version == 1 ? 17 : (uint32_t)w.len));
    writer_deinit(&w);
    return loaded;
}

static bool load_entries(uint64_t first, uint32_t count)
{
    struct writer entries, w;
    writer_init(&entries, 0);
    writer_init(&w, 0);
    for (uint32_t i = 0; i < count; i++) writer_bytes(&entries, SLICE_TEXT("entry"));
    const struct relay_record relay = {.source = HERE, .first = first, .count = count, .kind = RELAY_MESSAGE, .entries = writer_slice(&entries)};
    relay_record_write(&w, &relay);
    bool loaded = stream_load_bundle(box.streams, PEER, first, writer_slice(&w));
    writer_deinit(&entries);
    writer_deinit(&w);
    return loaded;
}

Test(stream, what_is_acknowledged_is_stored_and_the_outbox_has_to_agree)
{
    static const struct {
        const char *name;
        uint8_t version;
        uint64_t emitted, acknowledged;
        uint64_t first;
        uint32_t count; /* of one bundle; 0: none */
        bool want;
        uint64_t then; /* acknowledged */
    } cases[] = {
        {"new", 2, 0, 0, 0, 0, true, 0},
        {"nothing acknowledged", 2, 5, 0, 1, 5, true, 0},
        {"all", 2, 5, 5, 0, 0, true, 5},
        {"some", 2, 5, 3, 4, 2, true, 3},
        {"in the middle of a bundle", 2, 5, 3, 2, 4, true, 3},
        {"more than was emitted", 2, 5, 6, 0, 0, false, 0},
        {"what comes first is missing", 2, 5, 2, 4, 2, false, 0},
        {"what comes last is missing", 2, 5, 2, 3, 2, false, 0},
        {"all of it is missing", 2, 5, 2, 0, 0, false, 0},
        {"a bundle that should be gone", 2, 5, 3, 2, 2, false, 0},
        {"an older version: all", 1, 5, 0, 0, 0, true, 5},
        {"an older version: some", 1, 5, 0, 3, 3, true, 2},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        stream_set_destroy(box.streams);
        cr_assert_eq(stream_set_create(&box.streams, ringpost_domain(), HERE, SHARDS, OUTBOX_MAX), RESULT_OK);
        bool good = load_position(cases[i].version, cases[i].emitted, cases[i].acknowledged);
        if (good && cases[i].count > 0) good = load_entries(cases[i].first, cases[i].count);
        good = good && stream_load_end(box.streams);
        cr_expect_eq(good, cases[i].want, "%s", cases[i].name);
        if (good) cr_expect_eq(stream_position(box.streams, PEER).acknowledged, cases[i].then, "%s", cases[i].name);
    }
}

/* The entries and their acknowledgement were two batches; replayed in one, the bundle is open still. */
Test(stream, a_replay_acknowledges_what_is_in_the_open_bundle)
{
    for (uint32_t i = 0; i < 3; i++) emit_to(PEER, RELAY_MESSAGE, 7);
    stream_acknowledge(box.streams, PEER, 2, &box.effects);
    emit_to(PEER, RELAY_MESSAGE, 7);
    end_batch();
    cr_expect_eq(stream_position(box.streams, PEER).acknowledged, 2);
    cr_expect_eq(stored_entries(4), 4, "of a bundle known in part all is there");
    stream_acknowledge(box.streams, PEER, 3, &box.effects);
    end_batch();
    cr_expect_eq(stored_entries(4), 1);
    restart(4);
    cr_expect_eq(stream_position(box.streams, PEER).acknowledged, 3);
}

Test(stream, the_window_goes_by_what_was_heard)
{
    for (uint32_t i = 0; i < STREAM_WINDOW; i += 4) emit(4);
    emit(4);
    pump();
    cr_expect_eq(box.posted_count, STREAM_WINDOW);
    cr_assert(hear(PEER, 4, 4, false));
    cr_expect(stream_has_news(box.streams));
    pump();
    cr_expect_eq(box.posted_count, 4, "before the log has it");
    cr_expect_eq(stream_position(box.streams, PEER).acknowledged, 0);
}

Test(stream, an_acknowledgement_of_nothing_is_refused)
{
    emit(3);
    cr_expect(!hear(PEER, 4, 4, false));
    cr_expect(!hear(PEER, 3, 4, true));
    cr_expect(!hear(PEER, 3, 2, false), "applied before it was received");
    cr_expect(!hear(HERE, 0, 0, false));
    cr_expect(!hear(SHARDS, 0, 0, false));
    cr_expect(!stream_has_news(box.streams));
}

/* ---- letters that are lost ---- */

/* What resend.c does; false: nobody lacks anything. */
static bool supply(uint64_t until)
{
    uint64_t first = 0;
    if (!stream_lacks(box.streams) || !stream_begin_reading(box.streams, PEER, &first)) return false;
    for (uint64_t n = first; n <= until; n++) {
        struct slice value = stored(key_two(KEY_OUTBOX, PEER, n));
        if (value.data == NULL) continue;
        struct relay_record relay = relay_of(value);
        relay.kind = RELAY_MESSAGE; /* its entries are names still: nobody here looks at them */
        struct writer bundle;
        writer_init(&bundle, 0);
        relay_record_write(&bundle, &relay);
        stream_supply(box.streams, PEER, n, writer_slice(&bundle));
        writer_deinit(&bundle);
    }
    stream_end_reading(box.streams, PEER, true);
    return true;
}

static void pump_supplied(uint64_t until)
{
    pump();
    if (supply(until)) stream_pump(box.streams, on_post, NULL);
}

static void expect_posted(uint64_t first, uint64_t last)
{
    cr_assert_eq(box.posted_count, last + 1 - first, "%u entries", box.posted_count);
    for (uint32_t i = 0; i < box.posted_count; i++) cr_expect_eq(box.posted[i], first + i);
}

Test(stream, a_gap_takes_it_back_to_what_is_missing)
{
    for (int i = 0; i < 4; i++) emit(2);
    pump();
    cr_assert(hear(PEER, 0, 2, true)); /* 3 and 4 were lost; 5 … 8 came */
    emit(1);
    pump();
    expect_posted(1, 0);
    cr_expect(supply(4), "only some of it");
    pump();
    expect_posted(3, 4);
    cr_expect(supply(9));
    pump();
    expect_posted(5, 9);
    cr_expect(!supply(9));
    cr_assert(hear(PEER, 0, 1, true)); /* said before: it is late */
    pump();
    expect_posted(1, 0);
}

Test(stream, silence_is_asked_with_one_bundle_and_twice_as_late_each_time)
{
    for (int i = 0; i < 3; i++) emit(2);
    uint64_t now_ms = 1000, wait_ms = STREAM_RESEND_MS_MIN;
    cr_expect_eq(stream_ask_again(box.streams, now_ms), 0, "nothing is posted");
    pump();
    cr_expect_eq(stream_ask_again(box.streams, now_ms), 0);
    for (int i = 0; i < 8; i++) {
        cr_expect_eq(stream_ask_again(box.streams, now_ms + wait_ms - 1), 0, "time %d", i);
        now_ms += wait_ms;
        cr_expect_eq(stream_ask_again(box.streams, now_ms), 1, "time %d", i);
        pump_supplied(6);
        expect_posted(1, 2);
        if (wait_ms < STREAM_RESEND_MS_MAX) wait_ms *= 2;
    }
    cr_assert(hear(PEER, 2, 4, false)); /* the last letter was lost */
    pump_supplied(6);
    expect_posted(5, 6);
    now_ms += STREAM_RESEND_MS_MIN;
    cr_expect_eq(stream_ask_again(box.streams, now_ms), 0, "it has moved");
    cr_expect_eq(stream_ask_again(box.streams, now_ms + STREAM_RESEND_MS_MIN), 1);
    cr_assert(hear(PEER, 6, 6, false));
    cr_expect_eq(stream_ask_again(box.streams, now_ms + 100 * STREAM_RESEND_MS_MAX), 0, "all has arrived");
}

/* It has applied 4 and had received 8 of 12 when it restarted alone: what it had received and not logged is gone. */
Test(stream, a_peer_that_has_less_than_it_had_is_given_all_of_it_at_once)
{
    for (int i = 0; i < 6; i++) emit(2);
    pump();
    cr_assert(hear(PEER, 4, 8, false));
    (void)stream_ask_again(box.streams, 1000);
    cr_assert(hear(PEER, 4, 4, true), "11 and 12 came");
    pump();
    expect_posted(1, 0); /* it may be an answer of before */
    cr_expect_eq(stream_ask_again(box.streams, 1000 + STREAM_RESEND_MS_MIN), 1);
    pump_supplied(12);
    expect_posted(5, 6);
    cr_assert(hear(PEER, 4, 6, false));
    pump_supplied(12);
    expect_posted(7, 12);
    cr_assert(hear(PEER, 6, 6, true)); /* 7 and 8 were lost */
    pump_supplied(12);
    expect_posted(7, 12);
}

Test(stream, an_answer_behind_what_was_heard_takes_it_no_farther_back)
{
    for (int i = 0; i < 4; i++) emit(2);
    pump();
    cr_assert(hear(PEER, 4, 4, false));
    (void)stream_ask_again(box.streams, 1000);
    cr_expect_eq(stream_ask_again(box.streams, 1000 + STREAM_RESEND_MS_MIN), 1);
    pump_supplied(8);
    expect_posted(5, 6);
    cr_assert(hear(PEER, 2, 2, false)); /* it is late */
    pump_supplied(8);
    expect_posted(5, 8);
}

Test(stream, what_was_never_posted_waits_while_it_asks)
{
    emit(2);
    pump();
    (void)stream_ask_again(box.streams, 1000);
    cr_expect_eq(stream_ask_again(box.streams, 1000 + STREAM_RESEND_MS_MIN), 1);
    emit(2);
    pump_supplied(2);
    expect_posted(1, 2);
    cr_assert(hear(PEER, 0, 2, false));
    pump();
    expect_posted(3, 4);
}

Test(stream, a_reading_that_failed_is_tried_again_later)
{
    uint64_t first;
    emit(2);
    emit(2);
    pump();
    cr_assert(hear(PEER, 0, 2, true));
    pump();
    cr_assert(stream_begin_reading(box.streams, PEER, &first) && first == 3);
    cr_expect(!stream_begin_reading(box.streams, PEER, &first), "one at a time");
    stream_end_reading(box.streams, PEER, false);
    pump();
    cr_expect(!supply(4));
    (void)stream_ask_again(box.streams, 1000);
    pump();
    cr_expect(supply(4));
    pump();
    expect_posted(3, 4);
}

Test(stream, what_is_acknowledged_while_it_is_read_is_not_posted_again)
{
    uint64_t first;
    emit(2);
    emit(2);
    pump();
    cr_assert(hear(PEER, 0, 0, true));
    pump();
    cr_assert(stream_begin_reading(box.streams, PEER, &first) && first == 1);
    ack(4);
    stream_supply(box.streams, PEER, 1, SLICE_TEXT("a bundle"));
    stream_end_reading(box.streams, PEER, true);
    pump();
    expect_posted(1, 0);
}

Test(stream, rows_that_are_none_of_ours_are_refused)
{
    struct stream_record record = {.emitted = 5};
    struct writer position;
    writer_init(&position, 0);
    stream_record_write(&position, &record);
    struct slice good = writer_slice(&position);
    cr_expect(!stream_load_position(box.streams, HERE, good), "a stream to oneself");
    cr_expect(!stream_load_position(box.streams, SHARDS, good));
    cr_expect(!stream_load_position(box.streams, PEER, slice_of(good.data, good.len - 1)));
    cr_assert(stream_load_position(box.streams, PEER, good));
    static const struct {
        const char *name;
        uint16_t peer;
        uint64_t key;
        struct relay_record relay; /* with the two entries of `pair` */
        uint32_t cut;
        bool want;
    } cases[] = {
        {"to oneself", HERE, 1, {.source = HERE, .first = 1, .count = 2}, 0, false},
        {"no such shard", SHARDS, 1, {.source = HERE, .first = 1, .count = 2}, 0, false},
        {"of another source", PEER, 1, {.source = 3, .first = 1, .count = 2}, 0, false},
        {"under another key", PEER, 2, {.source = HERE, .first = 1, .count = 2}, 0, false},
        {"number 0", PEER, 0, {.source = HERE, .first = 0, .count = 2}, 0, false},
        {"never emitted", PEER, 6, {.source = HERE, .first = 6, .count = 2}, 0, false},
        {"its last never emitted", PEER, 5, {.source = HERE, .first = 5, .count = 2}, 0, false},
        {"more than it says", PEER, 1, {.source = HERE, .first = 1, .count = 1}, 0, false},
        {"fewer than it says", PEER, 1, {.source = HERE, .first = 1, .count = 3}, 0, false},
        {"too short", PEER, 1, {.source = HERE, .first = 1, .count = 2}, 1, false},
        {"good", PEER, 1, {.source = HERE, .first = 1, .count = 2}, 0, true},
        {"a hole", PEER, 4, {.source = HERE, .first = 4, .count = 2}, 0, false},
        {"the next", PEER, 3, {.source = HERE, .first = 3, .count = 2}, 0, true},
    };
    struct slice pair = SLICE_TEXT("\3\0\0\0one\3\0\0\0two");
    struct writer value;
    writer_init(&value, 0);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct relay_record relay = cases[i].relay;
        relay.kind = RELAY_MESSAGE;
        relay.entries = pair;
        writer_reset(&value);
        relay_record_write(&value, &relay);
        struct slice bytes = slice_of(value.data, (uint32_t)value.len - cases[i].cut);
        cr_expect_eq(stream_load_bundle(box.streams, cases[i].peer, cases[i].key, bytes), cases[i].want, "%s", cases[i].name);
    }
    cr_expect_eq(stream_waiting(box.streams), 4);
    writer_deinit(&value);
    writer_deinit(&position);
}
