/* shard/engine/positions.c - see positions.h. */
#include "shard/engine/positions.h"
#include <inttypes.h>
#include <stdio.h>

/* Of the stream from `a` to `b`. */
static bool pair_fits(const struct stream_set *from, uint16_t a, const struct stream_set *to, uint16_t b, char *text, size_t text_size)
{
    const struct stream_position source = stream_position(from, b), destination = stream_position(to, a);
    if (destination.applied > source.emitted) {
        snprintf(text, text_size,
                 "the newest part of shard-%04u is missing: shard-%04u has %" PRIu64 " entries of its stream, it knows of %" PRIu64, a, b,
                 destination.applied, source.emitted);
        return false;
    }
    if (source.acknowledged > destination.applied) {
        snprintf(text, text_size,
                 "the newest part of shard-%04u is missing: shard-%04u was told that it has %" PRIu64 " entries of the stream, it has %" PRIu64,
                 b, a, source.acknowledged, destination.applied);
        return false;
    }
    return true;
}

bool positions_fit(struct stream_set *const *streams, uint16_t shard_count, char *text, size_t text_size)
{
    for (uint16_t a = 0; a < shard_count; a++)
        for (uint16_t b = 0; b < shard_count; b++) {
            if (a == b || streams[a] == NULL || streams[b] == NULL) continue;
            if (!pair_fits(streams[a], a, streams[b], b, text, text_size)) return false;
        }
    return true;
}
