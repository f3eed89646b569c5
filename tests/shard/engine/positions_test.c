/* tests/shard/engine/positions_test.c - what two shards know of each other's streams, and what no crash can make of it. */
#include "shard/domain/domain.h"
#include "shard/engine/positions.h"
#include "core/check.h"
#include "shard/domain/records.h"
#include <criterion/criterion.h>
#include <string.h>

static void load(struct stream_set *set, uint16_t peer, uint64_t emitted, uint64_t applied)
{
    const struct stream_record record = {.emitted = emitted, .applied = applied};
    struct writer w;
    writer_init(&w, 0);
    stream_record_write(&w, &record);
    cr_assert(stream_load_position(set, peer, writer_slice(&w)));
    writer_deinit(&w);
}

/* An entry that waits for its acknowledgement. */
static void load_waiting(struct stream_set *set, uint16_t source, uint16_t peer, uint64_t first)
{
    struct writer entries, w;
    writer_init(&entries, 0);
    writer_init(&w, 0);
    writer_bytes(&entries, SLICE_TEXT("entry"));
    const struct relay_record bundle = {.source = source, .first = first, .count = 1, .kind = RELAY_CHANGE, .entries = writer_slice(&entries)};
    relay_record_write(&w, &bundle);
    cr_assert(stream_load_bundle(set, peer, first, writer_slice(&w)));
    writer_deinit(&entries);
    writer_deinit(&w);
}

Test(positions, of_one_time_fit_and_others_are_named)
{
    static const struct {
        const char *name;
        uint64_t emitted, waiting_from, applied; /* of the stream from 0 to 1; waiting_from 0: all is acknowledged */
        const char *says;                        /* NULL: they fit */
    } cases[] = {
        {"new", 0, 0, 0, NULL},
        {"all arrived", 10, 0, 10, NULL},
        {"the last is under way", 10, 10, 9, NULL},
        {"the last is there and not acknowledged", 10, 10, 10, NULL},
        {"the source lost its newest", 10, 0, 11, "the newest part of shard-0000 is missing: shard-0001 has 11 entries of its stream, it knows of 10"},
        {"the destination lost its newest", 10, 0, 9, "the newest part of shard-0001 is missing: shard-0000 was told that it has 10"},
        {"the destination lost more than is sent again", 10, 10, 8, "shard-0001 is missing: shard-0000 was told that it has 9"},
        {"the destination is empty", 10, 0, 0, "shard-0001 is missing"},
        {"the source is empty", 0, 0, 10, "shard-0000 is missing"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct stream_set *sets[3] = {NULL};
        char text[256] = "";
        for (uint16_t s = 0; s < 2; s++) cr_assert_eq(stream_set_create(&sets[s], ringpost_domain(), s, 3, 100), RESULT_OK); /* of the third nothing is known */
        load(sets[0], 1, cases[i].emitted, 0);
        if (cases[i].waiting_from > 0) load_waiting(sets[0], 0, 1, cases[i].waiting_from);
        load(sets[1], 0, 0, cases[i].applied);
        cr_expect_eq(positions_fit(sets, 3, text, sizeof text), cases[i].says == NULL, "%s: %s", cases[i].name, text);
        if (cases[i].says != NULL) cr_expect_neq(strstr(text, cases[i].says), NULL, "%s: %s", cases[i].name, text);
        stream_set_destroy(sets[0]);
        stream_set_destroy(sets[1]);
    }
}
