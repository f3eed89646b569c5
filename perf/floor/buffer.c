/* perf/floor/buffer.c - see the header. */
#include "perf/floor/floor.h"
#include <stdlib.h>
#include <string.h>

#define CLASS_COUNT 9u
#define CLASS_SHIFT 2u /* each class is four times the one before: few copies while a buffer grows */
_Static_assert(BUFFER_SIZE_MIN << ((CLASS_COUNT - 1) * CLASS_SHIFT) == BUFFER_SIZE_MAX, "the last class is the largest size");

static struct buffer *free_lists[CLASS_COUNT];

static size_t class_size(uint32_t size_class) { return (size_t)BUFFER_SIZE_MIN << (size_class * CLASS_SHIFT); }

static struct buffer *buffer_take(size_t size)
{
    uint32_t size_class = 0;
    while (class_size(size_class) < size) size_class++;
    struct buffer *buffer = free_lists[size_class];
    if (buffer != NULL) {
        free_lists[size_class] = buffer->next_free;
    } else {
        buffer = malloc(sizeof *buffer + class_size(size_class));
        if (buffer == NULL) floor_die("out of memory");
        buffer->size_class = size_class;
    }
    buffer->used = 0;
    return buffer;
}

uint8_t *buffer_extend(struct buffer **buffer, size_t size)
{
    struct buffer *old = *buffer;
    size_t used = old == NULL ? 0 : old->used;
    if (used + size > BUFFER_SIZE_MAX) return NULL;
    if (old == NULL || used + size > class_size(old->size_class)) {
        struct buffer *larger = buffer_take(used + size);
        if (used > 0) memcpy(larger->bytes, old->bytes, used);
        if (old != NULL) buffer_release(buffer);
        *buffer = larger;
    }
    (*buffer)->used = (uint32_t)(used + size);
    return (*buffer)->bytes + used;
}

void buffer_release(struct buffer **buffer)
{
    struct buffer *old = *buffer;
    if (old == NULL) return;
    old->next_free = free_lists[old->size_class];
    free_lists[old->size_class] = old;
    *buffer = NULL;
}
