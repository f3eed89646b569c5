/* tests/shard/block_world.h - messages sent in batches of chosen sizes, so that they lie in blocks of chosen sizes. */
#ifndef TESTS_SHARD_BLOCK_WORLD_H
#define TESTS_SHARD_BLOCK_WORLD_H

#include "shard/room_world.h"
#include <criterion/criterion.h>
#include <stdio.h>

/* `count` messages of one batch; their bodies are `body`. */
static inline void send_batch(struct world *world, uint64_t sender_id, uint64_t room_id, uint32_t count, const char *body)
{
    struct fixture *shard = world_home(world, room_id);
    for (uint32_t i = 0; i < count; i++) {
        char client_id[32];
        snprintf(client_id, sizeof client_id, "%08lu-%05u", (unsigned long)shard->machine->applied_index, i);
        struct send_record record = world_draft(room_id, client_id, body);
        cr_assert_eq(FIXTURE_PROPOSE(shard, sender_id, SEND, send, &record), ERROR_NONE);
    }
    while (shard->first != NULL) cr_assert_eq(fixture_apply(shard), ERROR_NONE);
    fixture_end_batch(shard);
}

#endif
