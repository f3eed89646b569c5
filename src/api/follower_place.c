/* api/follower_place.c - see follower_place.h. Only what write makes is read: without signs, blanks or leading zeros. */
#include "api/follower_place.h"
#include <inttypes.h>
#include <stdio.h>

bool follower_name_valid(struct slice name)
{
    if (name.len == 0 || name.len > FOLLOWER_NAME_MAX || name.data[0] == '.') return false;
    for (uint32_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        bool fits = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
        if (!fits) return false;
    }
    return true;
}

static int compare_numbers(uint64_t x, uint64_t y) { return (x > y) - (x < y); }

int follower_place_compare(const struct follower_place *x, const struct follower_place *y)
{
    int order = compare_numbers(x->number, y->number);
    if (order == 0) order = compare_numbers(!x->rebuilding, !y->rebuilding);
    if (order != 0 || !x->rebuilding) return order;
    order = compare_numbers(x->kind, y->kind);
    if (order == 0) order = compare_numbers(x->a, y->a);
    return order != 0 ? order : compare_numbers(x->b, y->b);
}

void follower_places_write(struct writer *out, const struct follower_place *places, uint32_t count)
{
    char text[FOLLOWER_PLACE_TEXT_MAX];
    for (uint32_t i = 0; i < count; i++) {
        const struct follower_place *p = &places[i];
        int len = snprintf(text, sizeof text, "%s%" PRIu32 ":%" PRIu64, i == 0 ? "" : ",", i, p->number);
        if (p->rebuilding)
            len += snprintf(text + len, sizeof text - (size_t)len, "@%" PRIu32 ".%" PRIu64 ".%" PRIu64, p->kind, p->a, p->b);
        writer_raw(out, text, (size_t)len);
    }
}

static bool take(struct cursor *c, char wanted)
{
    bool is_there = c->at != c->end && *c->at == (uint8_t)wanted;
    if (is_there) c->at++;
    return is_there;
}

static bool take_number(struct cursor *c, uint64_t max, uint64_t *out)
{
    const uint8_t *first = c->at;
    *out = 0;
    for (; c->at != c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
        uint64_t digit = *c->at - (uint8_t)'0';
        if (*out > (max - digit) / 10) return false;
        *out = *out * 10 + digit;
    }
    return c->at != first && (*first != '0' || c->at == first + 1);
}

static bool take_rows(struct cursor *c, struct follower_place *place)
{
    uint64_t kind;
    if (!take_number(c, UINT32_MAX, &kind)) return false;
    place->rebuilding = true;
    place->kind = (uint32_t)kind;
    const uint64_t most = UINT64_MAX - 1; /* a reading goes on behind it */
    return take(c, '.') && take_number(c, most, &place->a) && take(c, '.') && take_number(c, most, &place->b);
}

enum result follower_places_read(struct follower_place *places, uint32_t count, struct slice text)
{
    struct cursor c = cursor_of(text);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t shard;
        places[i] = (struct follower_place){0};
        if (i > 0 && !take(&c, ',')) return RESULT_MALFORMED;
        if (!take_number(&c, UINT32_MAX, &shard) || shard != i || !take(&c, ':')) return RESULT_MALFORMED;
        if (!take_number(&c, UINT64_MAX, &places[i].number)) return RESULT_MALFORMED;
        if (take(&c, '@') && !take_rows(&c, &places[i])) return RESULT_MALFORMED;
    }
    return cursor_done(&c) ? RESULT_OK : RESULT_MALFORMED;
}
