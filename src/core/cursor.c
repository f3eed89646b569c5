/* core/cursor.c - the growing half of cursor.h: where a writer gets its memory.
 * Capacity doubles, so n appended bytes cost O(n) copying; a refused reservation leaves everything written so far
 * intact. */
#include "core/cursor.h"
#include "core/check.h"
#include <stdlib.h>

#define WRITER_CAPACITY_MIN 256

void writer_init(struct writer *w, size_t size_max)
{
    *w = (struct writer){.size_max = size_max};
}

void writer_deinit(struct writer *w)
{
    free(w->data);
    *w = (struct writer){.size_max = w->size_max};
}

static bool writer_grow(struct writer *w, size_t needed)
{
    size_t capacity = w->capacity == 0 ? WRITER_CAPACITY_MIN : w->capacity;
    while (capacity < needed) {
        if (capacity > SIZE_MAX / 2) return false;
        capacity *= 2;
    }
    if (w->size_max != 0 && capacity > w->size_max) capacity = w->size_max;
    uint8_t *data = realloc(w->data, capacity);
    if (data == NULL) return false;
    w->data = data;
    w->capacity = capacity;
    return true;
}

uint8_t *writer_reserve_grown(struct writer *w, size_t len)
{
    ASSERT(w->len <= w->capacity);
    if (w->failed) return NULL;
    size_t limit = w->size_max != 0 ? w->size_max : SIZE_MAX;
    if (len > limit - w->len) {
        w->failed = true;
        return NULL;
    }
    if (!writer_grow(w, w->len + len)) {
        w->failed = true;
        return NULL;
    }
    uint8_t *at = w->data + w->len;
    w->len += len;
    return at;
}
