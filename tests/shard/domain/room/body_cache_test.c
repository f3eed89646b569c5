/* tests/shard/domain/room/body_cache_test.c - what is kept is what was put, the oldest goes, and memory is bounded. */
#include "shard/domain/room/body_cache.h"
#include "core/check.h"
#include <criterion/criterion.h>

static struct slice body(uint8_t *bytes, uint64_t seq, uint32_t len)
{
    memset(bytes, (int)(seq * 7 + 1), len);
    return slice_of(bytes, len);
}

static bool has(const struct body_cache *cache, uint64_t room_id, uint64_t seq, uint32_t len)
{
    uint8_t bytes[4096];
    struct slice record;
    if (!body_cache_get(cache, room_id, seq, &record)) return false;
    cr_expect(slice_equal(record, body(bytes, seq, len)), "room %d, seq %d is another one", (int)room_id, (int)seq);
    return true;
}

Test(body_cache, the_newest_are_there_and_the_oldest_have_gone)
{
    static const struct { const char *name; uint64_t size; uint32_t len, there, gone; } cases[] = {
        {"small ones", 64 << 10, 40, 500, 1100},
        {"a length that is no multiple of eight", 64 << 10, 41, 400, 1000},
        {"large ones", 64 << 10, 4000, 14, 17},
        {"one as large as may be", 32 << 10, 4000, 6, 9},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct body_cache *cache = body_cache_create(cases[i].size);
        uint8_t bytes[4096];
        uint32_t there = 0;
        for (uint64_t seq = 1; seq <= 5000; seq++) body_cache_put(cache, 9, seq, body(bytes, seq, cases[i].len));
        cr_expect(has(cache, 9, 5000, cases[i].len), "%s: the last one", cases[i].name);
        for (uint32_t n = 0; n < cases[i].there; n++) there += has(cache, 9, 5000 - n, cases[i].len);
        cr_expect_geq(there * 10, cases[i].there * 5, "%s: %u of the last %u", cases[i].name, there, cases[i].there);
        for (uint64_t seq = 1; seq <= 5000 - cases[i].gone; seq++) cr_expect(!has(cache, 9, seq, cases[i].len), "%s: %d", cases[i].name, (int)seq);
        cr_expect_leq(body_cache_bytes(cache), cases[i].size + cases[i].size / 8);
        cr_expect_eq(body_cache_untouched_bytes(cache), 0);
        body_cache_destroy(cache);
    }
}

Test(body_cache, a_name_finds_its_own_message_only)
{
    struct body_cache *cache = body_cache_create(1 << 20);
    uint8_t bytes[64];
    struct slice record;
    cr_expect(!body_cache_get(cache, 1, 1, &record), "nothing was put");
    for (uint64_t room_id = 1; room_id <= 30; room_id++)
        for (uint64_t seq = 1; seq <= 30; seq++) body_cache_put(cache, room_id, seq, body(bytes, room_id * 100 + seq, 32));
    uint32_t there = 0;
    for (uint64_t room_id = 1; room_id <= 40; room_id++)
        for (uint64_t seq = 1; seq <= 40; seq++) {
            if (!body_cache_get(cache, room_id, seq, &record)) continue;
            cr_expect(room_id <= 30 && seq <= 30 && slice_equal(record, body(bytes, room_id * 100 + seq, 32)));
            there++;
        }
    cr_expect_geq(there, 850, "%u of 900: places are not that few", there);
    body_cache_put(cache, 1, 1, body(bytes, 5, 24));
    cr_assert(body_cache_get(cache, 1, 1, &record));
    cr_expect(slice_equal(record, body(bytes, 5, 24)), "what was put last");
    body_cache_destroy(cache);
}

Test(body_cache, nothing_fits_into_nothing)
{
    static const uint64_t sizes[] = {0, 7, 8, 64};
    uint8_t bytes[64];
    struct slice record;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct body_cache *cache = body_cache_create(sizes[i]);
        for (uint64_t seq = 1; seq < 10; seq++) body_cache_put(cache, 1, seq, body(bytes, seq, 60));
        for (uint64_t seq = 1; seq < 10; seq++) cr_expect(!body_cache_get(cache, 1, seq, &record));
        body_cache_destroy(cache);
    }
}
