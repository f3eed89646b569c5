/* perf/floor/buffer.h - growing byte buffers from free lists, one list a size class, last freed first used: the warmest memory.
 * An idle connection has none. */
#ifndef FLOOR_BUFFER_H
#define FLOOR_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#define BUFFER_SIZE_MIN 128u
#define BUFFER_SIZE_MAX (BUFFER_SIZE_MIN << 16) /* 8 MiB */

struct buffer {
    uint32_t used, size_class;
    struct buffer *next_free;
    uint8_t bytes[];
};

/* Room for `size` more bytes at the end of `*buffer`, which may be NULL and may move; they count as used. NULL: above BUFFER_SIZE_MAX. */
uint8_t *buffer_extend(struct buffer **buffer, size_t size);
/* Back to its free list; `*buffer` becomes NULL. */
void buffer_release(struct buffer **buffer);

#endif
