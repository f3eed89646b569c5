/* shard/domain/room/guests.c - from the ids in a request to people who exist: asked at their home shards, by name, in
 * ascending order. */
#include "shard/domain/delivery/lookup.h"
#include "shard/domain/room/room_internal.h"
#include "shard/domain/setup.h"
#include <inttypes.h>
#include <stdio.h>

#define ROOMS_OWN_SHARE 4 /* a quarter of rooms_per_user_max */

static void refuse_unknown(struct shard *shard, struct request *request, uint64_t user_id)
{
    char detail[64];
    snprintf(detail, sizeof detail, "there is no user %" PRIu64, user_id);
    request_refuse_because(shard, request, ERROR_USER_NOT_FOUND, detail);
}

/* Keeps ids ascending; a repeat changes nothing. False when there is no place left. */
static bool guests_add(struct guests *guests, uint64_t user_id)
{
    uint32_t at = guests->count;
    while (at > 0 && guests->ids[at - 1] > user_id) at--;
    if (at > 0 && guests->ids[at - 1] == user_id) return true;
    if (guests->count == ROOM_GUESTS_MAX) return false;
    memmove(guests->ids + at + 1, guests->ids + at, (guests->count - at) * sizeof(uint64_t));
    guests->ids[at] = user_id;
    guests->count++;
    return true;
}

bool guests_collect(struct guests *guests, struct shard *shard, struct request *request, const char *field,
                    const uint64_t *ids, size_t id_count)
{
    guests->count = 0;
    for (size_t i = 0; i < id_count; i++) {
        if (ids[i] == request->actor.user_id) continue;
        bool possible =
            id_type(ids[i]) == ID_USER && id_partition(ids[i]) < request_machine(shard)->options.shard_count;
        if (!possible) {
            refuse_unknown(shard, request, ids[i]);
            return false;
        }
        if (guests_add(guests, ids[i])) continue;
        char detail[64];
        snprintf(detail, sizeof detail, "%s: at most %d at a time", field, ROOM_GUESTS_MAX);
        request_refuse_because(shard, request, ERROR_BAD_FIELD, detail);
        return false;
    }
    return true;
}

const struct user_found *guests_ask(const struct guests *guests, struct shard *shard, struct request *request)
{
    static const struct user_found nobody[1];
    if (guests->count == 0) return nobody;
    const struct user_found *people = NULL;
    if (!users_look_up(shard, request, guests->ids, guests->count, &people)) return NULL;
    for (uint32_t i = 0; i < guests->count; i++) {
        if (people[i].exists) continue;
        refuse_unknown(shard, request, guests->ids[i]);
        return NULL;
    }
    return people;
}

bool guest_rooms_full(const struct shard *shard, const struct user_found *answer)
{
    uint32_t rooms_max = domain_options(shard)->rooms_per_user_max;
    return answer->group_count >= rooms_max - rooms_max / ROOMS_OWN_SHARE;
}

bool person_rooms_full(const struct shard *shard, const struct user_found *answer)
{
    return answer->group_count >= domain_options(shard)->rooms_per_user_max;
}
