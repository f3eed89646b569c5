/* shard/domain/account/name.c - the directory of user names: one entity per name, on the shard that the name's hash says.
 * A name is known by its 128-bit hash alone; the record keeps the text for people who read a store. */
#include "shard/domain/account/account.h"
#include "shard/domain/bounds.h"
#include "shard/domain/keys.h"
#include "shard/domain/records.h"
#include <xxhash.h>

static bool is_small_or_digit(uint8_t c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
static bool is_mark(uint8_t c) { return c == '_' || c == '-' || c == '.'; }

bool account_name_valid(struct slice name)
{
    if (name.len < 1 || name.len > USER_NAME_SIZE_MAX) return false;
    for (uint32_t i = 0; i < name.len; i++)
        if (!is_small_or_digit(name.data[i]) && !is_mark(name.data[i])) return false;
    return true;
}

struct account_place account_place_of(struct slice name, uint16_t shard_count)
{
    ASSERT(shard_count > 0);
    uint8_t lower[USER_NAME_SIZE_MAX];
    if (name.len <= sizeof lower) { /* a longer one is no name: its place stays empty, whatever it is */
        for (uint32_t i = 0; i < name.len; i++) {
            uint8_t c = name.data[i];
            lower[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
        }
        name = slice_of(lower, name.len);
    }
    XXH128_hash_t hash = XXH3_128bits(name.data, name.len);
    return (struct account_place){
        .shard = (uint16_t)(hash.low64 % shard_count), .hash_high = hash.high64, .hash_low = hash.low64};
}

static bool name_read(struct entity *fresh, struct slice value)
{
    struct name_record record;
    if (!name_record_is(&record, value)) return false;
    name_of(fresh)->user_id = record.user_id;
    return true;
}

const struct entity_type name_type = {.kind = ENTITY_NAME,
                                      .name = "name",
                                      .size_bytes = sizeof(struct name),
                                      .rare = true,
                                      .row_key = KEY_NAME,
                                      .row_of_two = true,
                                      .read = name_read};
