/* shard/worker/rehearsal.c - see rehearsal.h. Happy path: a storage thread whose stores are only looked at -> each shard's log and store opened,
 * the log replayed -> the positions of all compared -> everything closed. Failure mode: the first shard that would not start ends it. */
#include "shard/domain/keys.h"
#include "shard/worker/rehearsal.h"
#include "core/clock.h"
#include "core/host.h"
#include "shard/engine/memory.h"
#include "shard/engine/positions.h"
#include "shard/worker/settings.h"
#include "storage/datadir.h"
#include <limits.h>
#include <stdio.h>

#define OPEN_FILES_WANTED 65536 /* tables of all stores; with fewer it may still do */

struct rehearsal {
    const struct rehearsal_options *options;
    struct storage_thread *storage;
    struct metrics *metrics; /* nobody reads them */
    struct shard **shards;
    struct disk **disks;
};

/* ---- judging ---- */

bool rehearsal_judge(struct shard *const *shards, uint16_t shard_count, const char *path, char *text, size_t text_size)
{
    struct stream_set **streams = memory_alloc(shard_count * sizeof *streams);
    for (uint16_t i = 0; i < shard_count; i++) streams[i] = shard_damage(shards[i]) == NULL ? shard_machine(shards[i])->streams : NULL;
    char reason[256];
    bool fit = positions_fit(streams, shard_count, reason, sizeof reason);
    free(streams);
    if (!fit)
        snprintf(text, text_size, "data directory %s: %s; put back what is missing, or restore the whole directory from a backup", path, reason);
    return fit;
}

/* ---- the outside of a shard that serves nobody ---- */

static uint64_t port_now_ms(void *context)
{
    (void)context;
    return clock_wall_ms();
}

static uint64_t port_now_ns(void *context)
{
    (void)context;
    return clock_monotonic_ns();
}

static void port_random(void *context, void *out, size_t len)
{
    (void)context;
    clock_random(out, len);
}

/* ---- shards ---- */

static enum result open_store(struct rehearsal *r, const char *path, struct shard_options *options, char *text, size_t text_size)
{
    return storage_thread_open_store(r->storage, path, &options->store, &options->store_applied_index, text, text_size);
}

static enum result open_shard(struct rehearsal *r, uint16_t number, char *text, size_t text_size)
{
    const struct config *c = r->options->config;
    struct shard_options options = {
        .machine = settings_machine(c, number, r->options->shard_count),
        .limits = settings_shard(c),
        .ports = {.now_ms = port_now_ms, .now_ns = port_now_ns, .random = port_random},
        .log_made_before = r->options->made_before,
        .look_only = true,
        .log_pending_max_bytes = c->log_pending_max_bytes,
        .metrics = r->metrics,
    };
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/" SHARD_DIRECTORY "/log", r->options->path, number);
    struct disk_options disk = {.path = path, .segment_size_bytes = c->segment_size_bytes, .look_only = true};
    enum result result = disk_open(&r->disks[number], &disk, text, text_size);
    if (result != RESULT_OK) return result;
    options.disk = r->disks[number];
    snprintf(path, sizeof path, "%s/" SHARD_DIRECTORY "/store", r->options->path, number);
    result = open_store(r, path, &options, text, text_size);
    uint64_t replayed;
    if (result == RESULT_OK) result = shard_open(&r->shards[number], &options, &replayed, text, text_size);
    if (result != RESULT_OK && text[0] == '\0') snprintf(text, text_size, "shard %u: %s", number, result_text(result));
    return result;
}

static void tell_state(const struct rehearsal *r, uint16_t number)
{
    const struct rehearsal_options *options = r->options;
    const char *damage = shard_damage(r->shards[number]);
    const struct machine *machine = shard_machine(r->shards[number]);
    if (damage != NULL && options->on_damage != NULL) options->on_damage(options->context, number, damage);
    if (damage == NULL && options->on_state != NULL)
        options->on_state(options->context, number, machine->applied_index, machine_state_hash(machine));
}

static enum result open_all(struct rehearsal *r, char *text, size_t text_size)
{
    const struct config *c = r->options->config;
    struct storage_thread_options storage = {.name = "rehearsal",
                                             .queue_length_max = 16,
                                             .memtable_size_bytes = c->memtable_size_bytes,
                                             .block_cache_size_bytes = c->block_cache_bytes,
                                             .apart_kind = KEY_MESSAGE,
                                             .look_only = true,
                                             .flush_interval_ms = c->flush_interval_ms};
    enum result result = storage_thread_start(&r->storage, &storage);
    if (result != RESULT_OK) snprintf(text, text_size, "cannot start the storage thread: %s", result_text(result));
    for (uint16_t i = 0; i < r->options->shard_count && result == RESULT_OK; i++) {
        result = open_shard(r, i, text, text_size);
        if (result == RESULT_OK) tell_state(r, i);
    }
    return result;
}

static void close_all(struct rehearsal *r)
{
    for (uint16_t i = 0; i < r->options->shard_count; i++) shard_close(r->shards[i]);
    if (r->storage != NULL) storage_thread_stop(r->storage);
    for (uint16_t i = 0; i < r->options->shard_count; i++)
        if (r->disks[i] != NULL) r->disks[i]->ops->close(r->disks[i]);
    free(r->shards);
    free(r->disks);
    free(r->metrics);
}

enum result rehearsal_run(const struct rehearsal_options *options, char *text, size_t text_size)
{
    struct rehearsal r = {.options = options,
                          .metrics = memory_alloc(sizeof *r.metrics),
                          .shards = memory_alloc(options->shard_count * sizeof *r.shards),
                          .disks = memory_alloc(options->shard_count * sizeof *r.disks)};
    uint64_t reached;
    (void)!host_raise_open_files(OPEN_FILES_WANTED, &reached, text, text_size);
    text[0] = '\0';
    enum result result = open_all(&r, text, text_size);
    if (result == RESULT_OK && !rehearsal_judge(r.shards, options->shard_count, options->path, text, text_size)) result = RESULT_CORRUPT;
    close_all(&r);
    return result;
}
