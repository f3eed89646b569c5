/* shard/domain/room/room_internal.h - what the commands of rooms share: lists of people, in records and as clients name them.
 */
#ifndef SHARD_ROOM_ROOM_INTERNAL_H
#define SHARD_ROOM_ROOM_INTERNAL_H

#include "shard/domain/delivery/lookup.h"
#include "shard/domain/bounds.h"
#include "shard/domain/limits.h"
#include "shard/domain/methods.h"
#include "shard/domain/room/room.h"

/* Walks `people` of a record: person_records one after another, our own bytes. False at the end. */
static inline bool person_next(struct cursor *people, struct person_record *person)
{
    if (cursor_left(people) == 0) return false;
    bool read = person_record_read(person, people);
    ASSERT(read);
    return true;
}

/* What is wrong with a RoomHistory that a client gave; NULL: nothing. */
static inline const char *room_history_fault(int32_t history)
{
    bool known = history >= RINGPOST__V1__ROOM_HISTORY__NOT_CHOSEN && history <= RINGPOST__V1__ROOM_HISTORY__SINCE_JOIN;
    return known ? NULL : "history: ALL or SINCE_JOIN";
}

/* The largest `people` of a record. */
static inline uint32_t people_size_max(void)
{
    return ROOM_GUESTS_MAX * person_record_size(&(struct person_record){.name = slice_of_len(NAME_SIZE_MAX)});
}

struct guests { /* whom a request names, ascending, without repeats and without the actor */
    uint64_t ids[ROOM_GUESTS_MAX];
    uint32_t count;
};
/* False: the request was refused, because they are too many or one cannot be a user of this server. */
bool guests_collect(struct guests *guests, struct shard *shard, struct request *request, const char *field,
                    const uint64_t *ids, size_t id_count);
/* Asks their home shards who they are. NULL: refused (somebody does not exist), or waiting and the handler returns.
 * Else one answer per guest, in order. */
const struct user_found *guests_ask(const struct guests *guests, struct shard *shard, struct request *request);
/* One has all the rooms one may have. A guest, whom others bring in, has a quarter less: those places are for what one joins oneself. */
bool person_rooms_full(const struct shard *shard, const struct user_found *answer);
bool guest_rooms_full(const struct shard *shard, const struct user_found *answer);

#endif
