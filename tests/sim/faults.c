/* tests/sim/faults.c - see faults.h. */
#include "sim/faults.h"
#include "sim/place.h"
#include <setjmp.h>

#define STALL_MS_MAX 15000u

/* ---- full disks ---- */

static void fill_log(struct world *w, struct node *node)
{
    node->full = true;
    if (dice_one_in(&w->dice, 3)) fake_disk_fail_next(node->disk, RESULT_FULL);
    else fake_disk_set_segments_max(node->disk, fake_disk_segment_count(node->disk) + fake_disk_spare_count(node->disk));
}

static void fill_store(struct node *node)
{
    node->store_full = true;
    fake_store_hold(node->store, true);
}

void faults_fill(struct world *w, struct node *node)
{
    if (node->full || node->store_full) {
        faults_heal(w);
        return;
    }
    bool both = dice_one_in(&w->dice, 3), log = both || dice_one_in(&w->dice, 2);
    TRACE("the disk of shard %u's %s is full", node->number, both ? "log and store" : log ? "log" : "store");
    w->was_full = true;
    if (log) fill_log(w, node);
    if (both || !log) fill_store(node);
}

static bool any_is_full(const struct world *w)
{
    for (uint16_t i = 0; i < world_shard_count(w); i++)
        if (w->nodes[i].full || w->nodes[i].store_full) return true;
    return false;
}

/* ---- stalls ---- */

void faults_stall(struct world *w, struct node *node)
{
    if (node->stalled_until_ns != 0) return;
    node->stalled_until_ns = w->now_ns + (uint64_t)dice_below(&w->dice, STALL_MS_MAX) * 1000000;
    node->stuck = dice_one_in(&w->dice, 4);
    TRACE("the store of shard %u %s for %lu ms", node->number, node->stuck ? "does nothing" : "takes no writes",
          (unsigned long)((node->stalled_until_ns - w->now_ns) / 1000000));
    if (!node->stuck) fake_store_hold(node->store, true);
}

static void end_stall(struct node *node)
{
    node->stalled_until_ns = 0;
    node->stuck = false;
    fake_store_hold(node->store, node->store_full);
}

bool faults_let_run(struct world *w, struct node *node)
{
    if (node->stalled_until_ns != 0 && w->now_ns >= node->stalled_until_ns) end_stall(node);
    return !node->stuck;
}

/* ---- damage ---- */

void faults_damage(struct world *w, struct node *node)
{
    if (node->damaged) return;
    const uint32_t how = dice_below(&w->dice, 3);
    bool later = how == 0 && fake_store_rot(node->store, dice_next(&w->dice), dice_one_in(&w->dice, 2));
    if (how == 1) fake_store_fail_write(node->store);
    else if (!later) fake_store_set_damage(node->store, "a block is not what was written", w->plant != PLANT_damage_unseen);
    TRACE("the store of shard %u %s", node->number, how == 1 ? "will fail to write" : later ? "has rotted" : "is damaged");
    node->damaged = w->damaged = true;
}

void faults_repair(struct world *w, bool all)
{
    w->damaged = false;
    for (uint16_t i = 0; i < world_shard_count(w); i++) {
        struct node *node = &w->nodes[i];
        if (node->damaged && (all || dice_one_in(&w->dice, 2))) {
            TRACE("shard %u is repaired", i);
            fake_store_set_damage(node->store, NULL, true);
            node->damaged = false;
        }
        w->damaged |= node->damaged;
    }
}

/* ---- the end of it ---- */

void faults_heal(struct world *w)
{
    for (uint16_t i = 0; i < world_shard_count(w); i++) {
        struct node *node = &w->nodes[i];
        fake_disk_set_segments_max(node->disk, 0);
        fake_disk_no_faults(node->disk);
        node->full = node->store_full = false;
        end_stall(node);
    }
}

void faults_outlive(struct world *w)
{
    for (uint16_t i = 0; i < world_shard_count(w); i++) end_stall(&w->nodes[i]);
}

/* ---- a process that must end ---- */

void faults_break(struct world *w, struct node *node)
{
    const uint32_t how = dice_below(&w->dice, 4);
    TRACE("the disk of shard %u will fail %s", node->number, how == 0 ? "at a segment" : "to write");
    if (how == 0) fake_disk_fail_making(node->disk);
    else if (how == 1) fake_disk_fail_next(node->disk, RESULT_IO);
    else fake_disk_fail_long(node->disk, 2 * FAKE_DISK_SECTOR_SIZE); /* of which a part may be found again */
}

static bool any_log_failed(const struct world *w)
{
    bool failed = false;
    for (uint16_t i = 0; i < world_shard_count(w); i++) failed |= fake_disk_failed(w->nodes[i].disk);
    return failed;
}

/* Apart, so that nothing of its caller lives over the jump. */
static bool survives(struct world *w, void (*act)(struct world *, enum action), enum action action)
{
    jmp_buf death;
    report.death = &death;
    if (setjmp(death) != 0) return false;
    act(w, action);
    return true;
}

bool faults_end_process(struct world *w, void (*act)(struct world *, enum action), enum action action)
{
    bool survived = survives(w, act, action);
    report.death = NULL;
    bool failed = any_log_failed(w);
    EXPECT(survived || failed, "the process ends: %s", report.last_words);
    EXPECT(!survived || !failed, "the process goes on after its log could not be written");
    if (!survived) TRACE("the process ends: %s", report.last_words);
    return !survived;
}

/* ---- a start on a full disk ---- */

static void shut_all(struct world *w, bool shut)
{
    w->shut = shut;
    for (uint16_t i = 0; i < world_shard_count(w); i++) {
        struct node *node = &w->nodes[i];
        const struct commitlog *log = shard_log(node->shard);
        node->shut_index = log == NULL ? 0 : commitlog_last_index(log);
        if (w->plant != PLANT_start_not_shut) shard_set_shut(node->shard, shut);
    }
}

void faults_begin_start(struct world *w)
{
    bool full = any_is_full(w) && dice_one_in(&w->dice, 2); /* its own files may still have found room */
    full = !place_start(w->place, &w->dice, full);
    if (full) TRACE("the start cannot be written down: the disk is full");
    shut_all(w, full);
}

void faults_retry_start(struct world *w)
{
    if (!w->shut || any_is_full(w)) return;
    (void)place_start(w->place, &w->dice, false);
    TRACE("the start is written down");
    shut_all(w, false);
}

void faults_expect_shut(const struct world *w)
{
    for (uint16_t i = 0; i < world_shard_count(w) && w->shut; i++) {
        const struct node *node = &w->nodes[i];
        const struct commitlog *log = shard_log(node->shard);
        EXPECT(log == NULL || commitlog_last_index(log) == node->shut_index, "shard %u writes, and the start is not written down", i);
    }
}
