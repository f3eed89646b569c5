/* api/follower_place.h - how far a follower is, in one shard and as the text of a whole server's position.
 * Thread: any.                    Depends: core/cursor.h.        Start at: api/api.h
 *
 *     0:1507,1:33@20.281474976710657.40,2:9
 *     |  |     |   +- it still reads the rows of the store: place in them (kind, and two numbers)
 *     |  |     +----- the entries it goes on behind, then
 *     |  +----------- entries up to this number are done
 *     +-------------- shard
 *
 * Every shard of the server is named once, ascending from 0. */
#ifndef API_FOLLOWER_PLACE_H
#define API_FOLLOWER_PLACE_H

#include "core/cursor.h"
#include "core/result.h"

#define FOLLOWER_NAME_MAX 32u
#define FOLLOWER_PLACE_TEXT_MAX 96u /* of one shard, comma and all */

struct follower_place {
    uint64_t number;
    bool rebuilding;    /* not all rows are done: */
    uint32_t kind;      /* those up to this kind and place are */
    uint64_t a, b;
};

/* 1-32 of a-z 0-9 _ - . ; not beginning with a point: those are the server's own. */
bool follower_name_valid(struct slice name);

/* Below 0: `x` comes before `y`. */
int follower_place_compare(const struct follower_place *x, const struct follower_place *y);

/* Appends the text of the places of shards 0 … count - 1. */
void follower_places_write(struct writer *out, const struct follower_place *places, uint32_t count);
/* MALFORMED: not such a text, or not of exactly `count` shards. */
NODISCARD enum result follower_places_read(struct follower_place *places, uint32_t count, struct slice text);

#endif
