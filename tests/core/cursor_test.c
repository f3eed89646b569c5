/* tests/core/cursor_test.c - flat bytes and records: round trips, every truncation refused, limits kept. */
#include "core/cursor.h"
#include "core/check.h"
#include "core/record.h"
#include <criterion/criterion.h>
#include <stdlib.h>

#define SAMPLE_FIELDS(F) F(u8, kind) F(u16, port) F(u32, count) F(u64, id) F(bytes, name) F(bytes, body)
RECORD(sample, SAMPLE_FIELDS)

static struct sample_record sample_value(void)
{
    return (struct sample_record){.kind = 7,
                                  .port = 0xfffe,
                                  .count = 0x80000001,
                                  .id = UINT64_C(0x0102030405060708),
                                  .name = SLICE_TEXT("room"),
                                  .body = SLICE_EMPTY};
}

Test(writer, bytes_are_little_endian)
{
    struct writer w;
    writer_init(&w, 0);
    writer_u8(&w, 0x11);
    writer_u16(&w, 0x2233);
    writer_u32(&w, 0x44556677);
    writer_u64be(&w, UINT64_C(0x8899aabbccddeeff));
    writer_u16be(&w, 0x0102);
    static const uint8_t want[] = {0x11, 0x33, 0x22, 0x77, 0x66, 0x55, 0x44, 0x88, 0x99,
                                   0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x01, 0x02};
    cr_assert(slice_equal(writer_slice(&w), slice_of(want, sizeof want)));
    writer_deinit(&w);
    cr_assert_null(w.data);
}

Test(writer, grows_and_keeps_what_was_written)
{
    struct writer w;
    writer_init(&w, 0);
    for (uint32_t i = 0; i < 10000; i++) writer_u32(&w, i);
    struct cursor c = cursor_of(writer_slice(&w));
    for (uint32_t i = 0; i < 10000; i++) cr_assert_eq(cursor_u32(&c), i);
    cr_assert(cursor_done(&c));
    writer_reset(&w);
    cr_assert_eq(writer_slice(&w).len, 0);
    writer_deinit(&w);
}

Test(writer, size_max_is_exact_and_failure_is_sticky)
{
    struct writer w;
    writer_init(&w, 300);
    cr_assert_not_null(writer_reserve(&w, 299));
    writer_u8(&w, 1);
    cr_assert_not(w.failed, "the last byte fits");
    writer_u8(&w, 2);
    cr_assert(w.failed);
    cr_assert_eq(w.len, 300, "a refused write changes nothing");
    writer_raw(&w, "", 0);
    cr_assert(w.failed);
    cr_assert_null(writer_reserve(&w, 0));
    writer_reset(&w);
    writer_u8(&w, 3);
    cr_assert_not(w.failed);
    writer_deinit(&w);
}

Test(writer, a_reservation_no_machine_has_is_refused)
{
    struct writer w;
    writer_init(&w, 0);
    writer_u8(&w, 1);
    cr_assert_null(writer_reserve(&w, SIZE_MAX));
    cr_assert(w.failed);
    cr_assert_eq(w.len, 1);
    writer_deinit(&w);
}

Test(cursor, reads_past_the_end_give_zero_for_ever)
{
    static const uint8_t bytes[] = {1, 2, 3};
    struct cursor c = cursor_of(slice_of(bytes, sizeof bytes));
    cr_assert_eq(cursor_u16(&c), 0x0201);
    cr_assert_eq(cursor_u16(&c), 0);
    cr_assert(c.bad);
    cr_assert_eq(cursor_u8(&c), 0, "one byte is left, but the cursor is bad");
    cr_assert_not(cursor_done(&c));
}

Test(cursor, an_empty_slice_is_done_at_once)
{
    struct cursor c = cursor_of(SLICE_EMPTY);
    cr_assert(cursor_done(&c));
    cr_assert_eq(cursor_left(&c), 0);
    cr_assert_eq(cursor_u8(&c), 0);
    cr_assert_not(cursor_done(&c));
}

Test(cursor, a_length_larger_than_the_input_is_refused)
{
    static const uint8_t bytes[] = {0xff, 0xff, 0xff, 0xff, 'a'};
    struct cursor c = cursor_of(slice_of(bytes, sizeof bytes));
    cr_assert_eq(cursor_bytes(&c).len, 0);
    cr_assert(c.bad);
}

Test(record, round_trip)
{
    struct writer w;
    writer_init(&w, 0);
    struct sample_record in = sample_value(), out;
    sample_record_write(&w, &in);
    struct cursor c = cursor_of(writer_slice(&w));
    cr_assert(sample_record_read(&out, &c));
    cr_assert(cursor_done(&c));
    cr_assert_eq(out.kind, in.kind);
    cr_assert_eq(out.port, in.port);
    cr_assert_eq(out.count, in.count);
    cr_assert_eq(out.id, in.id);
    cr_assert(slice_equal(out.name, in.name));
    cr_assert(slice_equal(out.body, in.body));
    writer_deinit(&w);
}

Test(record, every_truncation_is_refused)
{
    struct writer w;
    writer_init(&w, 0);
    struct sample_record in = sample_value(), out;
    sample_record_write(&w, &in);
    for (size_t len = 0; len < w.len; len++) {
        uint8_t *exact = malloc(len > 0 ? len : 1); /* so that a read past the end is seen by the sanitizer */
        memcpy(exact, w.data, len);
        struct cursor c = cursor_of(slice_of(exact, len));
        cr_expect_not(sample_record_read(&out, &c), "%zu of %zu bytes", len, w.len);
        free(exact);
    }
    writer_deinit(&w);
}

Test(record, another_version_is_refused)
{
    struct writer w;
    writer_init(&w, 0);
    struct sample_record in = sample_value(), out;
    sample_record_write(&w, &in);
    w.data[0] = 2; /* this record has one version */
    struct cursor c = cursor_of(writer_slice(&w));
    cr_assert_not(sample_record_read(&out, &c));
    writer_deinit(&w);
}

Test(record, records_follow_each_other)
{
    struct writer w;
    writer_init(&w, 0);
    struct sample_record in = sample_value(), out;
    for (uint32_t i = 0; i < 3; i++) {
        in.count = i;
        sample_record_write(&w, &in);
    }
    struct cursor c = cursor_of(writer_slice(&w));
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert(sample_record_read(&out, &c));
        cr_assert_eq(out.count, i);
    }
    cr_assert(cursor_done(&c));
    writer_deinit(&w);
}

#define GROWN_FIELDS(F, SINCE) SAMPLE_FIELDS(F) SINCE(2) F(u32, epoch) F(bytes, note)
RECORD_GROWN(grown, GROWN_FIELDS)
#define GROWN_AGAIN_FIELDS(F, SINCE) GROWN_FIELDS(F, SINCE) SINCE(3) F(u8, flags) SINCE(4) F(u64, total) F(bytes, more)
RECORD_GROWN(grown_again, GROWN_AGAIN_FIELDS)

Test(record, a_grown_record_reads_what_was_written_before_it_grew)
{
    struct writer w;
    writer_init(&w, 0);
    struct sample_record old = sample_value();
    sample_record_write(&w, &old);
    struct grown_record new = {.kind = 9, .port = 80, .name = SLICE_TEXT("later"), .epoch = 17, .note = SLICE_TEXT("grown")};
    grown_record_write(&w, &new);
    cr_assert_eq(w.len, sample_record_size(&old) + grown_record_size(&new));

    struct cursor c = cursor_of(writer_slice(&w));
    struct grown_record read = {.epoch = 99, .note = SLICE_TEXT("left over")};
    cr_assert(grown_record_read(&read, &c));
    cr_assert_eq(read.id, old.id);
    cr_assert(slice_equal(read.name, old.name));
    cr_assert_eq(read.epoch, 0, "a field that the older version lacks is zero");
    cr_assert_eq(read.note.len, 0);
    cr_assert(grown_record_read(&read, &c));
    cr_assert_eq(read.epoch, 17);
    cr_assert(slice_equal(read.note, SLICE_TEXT("grown")));
    cr_assert(cursor_done(&c), "records of both versions follow each other");

    w.data[0] = 3;
    c = cursor_of(writer_slice(&w));
    cr_assert_not(grown_record_read(&read, &c), "a version from the future");
    w.data[0] = 0;
    c = cursor_of(writer_slice(&w));
    cr_assert_not(grown_record_read(&read, &c), "no version");
    writer_deinit(&w);
}

/* Each version reads all before it. */
Test(record, a_record_may_grow_by_any_number_of_steps)
{
    struct sample_record first = sample_value();
    struct grown_record second = {.kind = 9, .epoch = 17, .note = SLICE_TEXT("grown")};
    struct grown_again_record fourth = {.kind = 10, .epoch = 18, .note = SLICE_TEXT("again"), .flags = 3, .total = 19, .more = SLICE_TEXT("more")};
    cr_expect_eq(sample_record_version, 1);
    cr_expect_eq(grown_record_version, 2);
    cr_expect_eq(grown_again_record_version, 4);
    struct writer w;
    writer_init(&w, 0);
    sample_record_write(&w, &first);
    grown_record_write(&w, &second);
    size_t third_at = w.len;
    grown_again_record_write(&w, &fourth);
    w.data[third_at] = 3;
    w.len -= sizeof(uint64_t) + sizeof(uint32_t) + fourth.more.len; /* what the fourth version brought */
    grown_again_record_write(&w, &fourth);
    cr_expect_eq(grown_again_record_size(&fourth), grown_record_size(&second) + 1 + 8 + 4 + 4);

    struct grown_again_record read;
    struct cursor c = cursor_of(writer_slice(&w));
    for (uint32_t version = 1; version <= 4; version++) {
        memset(&read, 0xff, sizeof read);
        cr_assert(grown_again_record_read(&read, &c), "version %u", version);
        cr_expect_eq(read.epoch, version == 1 ? 0 : version == 2 ? 17 : 18);
        cr_expect_eq(read.flags, version < 3 ? 0 : 3);
        cr_expect_eq(read.total, version < 4 ? 0 : 19);
        cr_expect(slice_equal(read.more, version < 4 ? SLICE_EMPTY : SLICE_TEXT("more")));
    }
    cr_expect(cursor_done(&c));
    writer_deinit(&w);
}
