/* layers: core */
/* tests/fuzz/record_fuzz.c - any bytes as a row of records: what decodes encodes to the same bytes, and a record with
 * one byte less never decodes. */
#include "core/check.h"
#include "core/record.h"
#include <stdlib.h>

#define SAMPLE_FIELDS(F) F(u8, kind) F(u16, port) F(u32, count) F(u64, id) F(bytes, name) F(bytes, body)
RECORD(sample, SAMPLE_FIELDS)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect_truncation_refused(const uint8_t *record, size_t len)
{
    uint8_t *exact = malloc(len); /* so that the sanitizer sees a read past the end; malloc(0) is allowed */
    ASSERT(exact != NULL);
    memcpy(exact, record, len);
    struct cursor c = cursor_of(slice_of(exact, len));
    struct sample_record ignored;
    ASSERT(!sample_record_read(&ignored, &c));
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor c = cursor_of(slice_of(data, size));
    struct writer w;
    writer_init(&w, 0);
    while (cursor_left(&c) > 0) {
        const uint8_t *start = c.at;
        struct sample_record record;
        if (!sample_record_read(&record, &c)) break;
        writer_reset(&w);
        sample_record_write(&w, &record);
        ASSERT(!w.failed && slice_equal(writer_slice(&w), slice_of(start, (size_t)(c.at - start))));
        expect_truncation_refused(start, w.len - 1);
    }
    writer_deinit(&w);
    return 0;
}
