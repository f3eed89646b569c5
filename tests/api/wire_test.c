/* tests/api/wire_test.c - protobuf's varints and fields at their edges. */
#include "api/wire.h"
#include <criterion/criterion.h>

Test(wire, varints_come_back)
{
    static const uint64_t values[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, (uint64_t)1 << 63, UINT64_MAX};
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        uint8_t bytes[WIRE_VARINT_MAX];
        size_t len = (size_t)(wire_put_varint(bytes, values[i]) - bytes);
        struct cursor c = cursor_of(slice_of(bytes, len));
        cr_expect_eq(wire_varint(&c), values[i]);
        cr_expect(cursor_done(&c));
        cr_expect_eq(wire_varint_size(values[i]), len);
    }
}

Test(wire, fields_are_read_or_refused)
{
    static const struct {
        const char *name, *bytes;
        uint32_t len;
        bool want;
    } cases[] = {
        {"varint", "\x08\x05", 2, true},
        {"varint that is longer than needed", "\x08\x85\x00", 3, true},
        {"varint of ten bytes", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, true},
        {"varint above 64 bits", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11, false},
        {"varint of eleven bytes", "\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 12, false},
        {"varint cut", "\x08\x80", 2, false},
        {"tag only", "\x08", 1, false},
        {"bytes", "\x12\x02hi", 4, true},
        {"empty bytes", "\x12\x00", 2, true},
        {"bytes cut", "\x12\x03hi", 4, false},
        {"length near 2^64", "\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, false},
        {"eight bytes",
         "\x09"
         "12345678",
         9, true},
        {"eight bytes cut",
         "\x09"
         "1234567",
         8, false},
        {"four bytes",
         "\x0d"
         "1234",
         5, true},
        {"four bytes cut",
         "\x0d"
         "123",
         4, false},
        {"group", "\x0b\x0c", 2, false},
        {"type 6", "\x0e", 1, false},
        {"type 7", "\x0f", 1, false},
        {"number 0", "\x00\x05", 2, false},
        {"largest number", "\xf8\xff\xff\xff\x0f\x05", 6, true},
        {"number above 2^29 - 1", "\x80\x80\x80\x80\x10\x05", 6, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct wire_field field;
        struct cursor c = cursor_of(slice_of(cases[i].bytes, cases[i].len));
        cr_expect_eq(wire_next(&c, &field) && cursor_done(&c), cases[i].want, "%s", cases[i].name);
        cr_expect_eq(c.bad, !cases[i].want, "%s", cases[i].name);
    }
}

Test(wire, a_nested_message_gets_its_length)
{
    static const size_t lens[] = {0, 1, 127, 128, 20000};
    for (size_t i = 0; i < COUNT_OF(lens); i++) {
        struct writer w;
        writer_init(&w, 0);
        wire_write_tag(&w, 3, WIRE_BYTES);
        size_t begin = wire_nest_begin(&w);
        for (size_t n = 0; n < lens[i]; n++) writer_u8(&w, (uint8_t)n);
        wire_nest_end(&w, begin);
        cr_expect_eq(w.len, wire_bytes_size(3, lens[i]));
        struct wire_field field;
        struct cursor c = cursor_of(writer_slice(&w));
        cr_assert(wire_next(&c, &field) && cursor_done(&c));
        cr_expect_eq(field.bytes.len, lens[i]);
        for (size_t n = 0; n < lens[i]; n++) cr_assert_eq(field.bytes.data[n], (uint8_t)n);
        writer_deinit(&w);
    }
}
