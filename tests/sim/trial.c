/* tests/sim/trial.c - see trial.h. */
#include "sim/trial.h"
#include "core/check.h"
#include "shard/engine/positions.h"
#include "sim/report.h"
#include <stdlib.h>

#define ROTS 24u /* of one log, each in another place */

static enum result open_clone(struct node *clone, char *text, size_t text_size)
{
    uint64_t replayed = 0;
    text[0] = '\0';
    return shard_open(&clone->shard, &clone->options, &replayed, text, text_size);
}

static void drop(struct node *clone)
{
    node_close_clone(clone);
    node_destroy(clone);
}

/* What the shard is when nothing happens to it. */
static uint64_t digest_of_copy(const struct node *node, uint64_t *last_index)
{
    struct node clone;
    char text[512];
    node_clone(&clone, node);
    enum result result = open_clone(&clone, text, sizeof text);
    EXPECT(result == RESULT_OK, "a copy of shard %u does not open: %s", node->number, text);
    uint64_t digest = node_digest(&clone);
    *last_index = commitlog_durable_index(shard_log(clone.shard));
    drop(&clone);
    return digest;
}

/* Planted bug: the seal, in the last block that was written, is not there. */
static void unseal(struct node *clone)
{
    struct disk *disk = fake_disk_base(clone->disk);
    const uint32_t block = disk->block_size_bytes;
    uint64_t *numbers = NULL;
    uint32_t count = 0;
    enum result result = disk->ops->list(disk, &numbers, &count);
    ASSERT(result == RESULT_OK);
    bool found = false;
    for (uint32_t i = count; i > 0 && !found; i--)
        for (uint64_t at = disk->segment_size_bytes - block; at >= block && !found; at -= block) {
            uint8_t *bytes = fake_disk_bytes(clone->disk, numbers[i - 1]) + at;
            uint16_t type;
            memcpy(&type, bytes + sizeof(uint32_t), sizeof type);
            found = bytes[0] != 0;
            if (found && type == COMMITLOG_SEAL) memset(bytes, 0, block);
        }
    free(numbers);
}

void trial_rot(struct world *w)
{
    const struct node *node = &w->nodes[dice_below(&w->dice, world_shard_count(w))];
    if (!node->sealed) return; /* its last segment was full to the last block, or the disk was full */
    uint64_t last, rotten_last = 0;
    uint64_t digest = digest_of_copy(node, &last);
    for (uint32_t i = 0; i < ROTS; i++) {
        struct node clone;
        char text[512];
        node_clone(&clone, node);
        if (w->plant == PLANT_never_sealed) unseal(&clone);
        fake_disk_rot(clone.disk, dice_next(&w->dice));
        enum result result = open_clone(&clone, text, sizeof text);
        EXPECT(result == RESULT_OK || result == RESULT_CORRUPT, "a rotten log of shard %u: %s", node->number, text);
        if (result == RESULT_OK) rotten_last = commitlog_durable_index(shard_log(clone.shard));
        EXPECT(result == RESULT_CORRUPT || (rotten_last == last && node_digest(&clone) == digest),
               "the log of shard %u rotted, and opens without a word up to %lu of %lu", node->number, (unsigned long)rotten_last,
               (unsigned long)last);
        drop(&clone);
    }
}

/* ---- the newest segments are gone ---- */

static void lose_newest(struct node *clone, struct dice *dice)
{
    struct disk *disk = fake_disk_base(clone->disk);
    uint64_t *numbers = NULL;
    uint32_t count = 0;
    enum result result = disk->ops->list(disk, &numbers, &count);
    ASSERT(result == RESULT_OK && count > 0);
    for (uint32_t lost = 1 + dice_below(dice, count); lost > 0; lost--) fake_disk_remove(clone->disk, numbers[--count]);
    free(numbers);
}

void trial_missing_segments(struct world *w)
{
    const struct node *node = &w->nodes[dice_below(&w->dice, world_shard_count(w))];
    if (node->damaged) return;
    uint64_t last, left = 0;
    uint64_t digest = digest_of_copy(node, &last);
    struct node clone;
    char text[512];
    node_clone(&clone, node);
    lose_newest(&clone, &w->dice);
    if (w->plant == PLANT_newest_unnoted) fake_disk_forget_note(clone.disk);
    enum result result = open_clone(&clone, text, sizeof text);
    EXPECT(result == RESULT_OK || result == RESULT_CORRUPT, "a log of shard %u without its newest segments: %s", node->number, text);
    if (result == RESULT_OK) left = commitlog_durable_index(shard_log(clone.shard));
    EXPECT(result == RESULT_CORRUPT || (left == last && node_digest(&clone) == digest),
           "the newest segments of shard %u are gone, and it opens without a word up to %lu of %lu", node->number, (unsigned long)left,
           (unsigned long)last);
    drop(&clone);
}

/* ---- a part of another time ---- */

static void keep_backup(struct world *w)
{
    trial_forget(w);
    for (uint16_t i = 0; i < world_shard_count(w); i++) node_clone(&w->backup[i], &w->nodes[i]);
    w->has_backup = true;
}

void trial_forget(struct world *w)
{
    for (uint16_t i = 0; w->has_backup && i < world_shard_count(w); i++) node_destroy(&w->backup[i]);
    w->has_backup = false;
}

/* What the peers know of the victim that it does not know itself. */
static bool is_told_by_peers(struct stream_set *const *streams, const struct stream_set *older, uint16_t count, uint16_t victim)
{
    for (uint16_t peer = 0; peer < count; peer++) {
        if (peer == victim) continue;
        const struct stream_position at_peer = stream_position(streams[peer], victim), there = stream_position(older, peer);
        if (at_peer.applied > there.emitted || at_peer.acknowledged > there.applied) return true;
    }
    return false;
}

static void check_older(struct world *w, struct node *clones, uint16_t victim)
{
    const uint16_t count = world_shard_count(w);
    struct stream_set *streams[SHARDS_MAX];
    char text[512];
    for (uint16_t i = 0; i < count; i++) {
        enum result result = open_clone(&clones[i], text, sizeof text);
        EXPECT(result == RESULT_OK, "a copy of shard %u does not open: %s", i, text);
        streams[i] = shard_machine(clones[i].shard)->streams;
    }
    bool lost = is_told_by_peers(streams, streams[victim], count, victim);
    bool fit = w->plant == PLANT_never_compared || positions_fit(streams, count, text, sizeof text);
    EXPECT(fit == !lost, "shard %u is older than the others, and %s", victim, fit ? "is taken for good" : "fits, but is refused");
}

/* One shard of the last backup among the others of today. */
void trial_older_part(struct world *w)
{
    const uint16_t count = world_shard_count(w), victim = (uint16_t)dice_below(&w->dice, count);
    if (w->has_backup && count > 1) {
        struct node clones[SHARDS_MAX];
        for (uint16_t i = 0; i < count; i++) node_clone(&clones[i], i == victim ? &w->backup[i] : &w->nodes[i]);
        check_older(w, clones, victim);
        for (uint16_t i = 0; i < count; i++) drop(&clones[i]);
    }
    if (!w->has_backup || dice_one_in(&w->dice, 3)) keep_backup(w);
}
