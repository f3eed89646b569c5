/* shard/worker/fitness.c - one step for each thing a machine may lack; the first one that cannot be helped is told, the others not asked. */
#include "shard/worker/fitness.h"
#include "core/check.h"
#include "core/host.h"
#include "core/io.h"
#include "net/tls_identity.h"
#include "shard/worker/lobby.h"
#include "shard/worker/rules.h"
#include "storage/datadir.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define OTHER_FILES      1024u /* logs, stores, rings: all that is open and no connection */
#define RING_ENTRIES_MIN 64u   /* of the option */

/* Address space, measured with room to spare: most of it is never touched. */
#define SPACE_PROCESS CONFIG_MIB(512)
#define SPACE_WORKER  CONFIG_MIB(256)
#define SPACE_SHARD   CONFIG_MIB(64)
#define SPACE_DEDUP   64u /* for each of dedup_entries */
#define MEMTABLES     6u  /* of one shard, at most */
#define STORE_FILE_SIZE CONFIG_GIB(1) /* a file of the store may come to that */

struct judge {
    struct fitness *out;
    const struct config *config;
    char *text;
    size_t text_size;
};

__attribute__((format(printf, 2, 3))) static void warn(struct judge *j, const char *format, ...)
{
    if (j->out->warning_count == FITNESS_WARNINGS_MAX) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(j->out->warnings[j->out->warning_count++], FITNESS_TEXT_SIZE, format, arguments);
    va_end(arguments);
}

__attribute__((format(printf, 3, 4))) static enum result refuse(struct judge *j, enum result result, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(j->text, j->text_size, format, arguments);
    va_end(arguments);
    return result;
}

static bool is_set(const struct judge *j, enum config_option option) { return j->config->origins[option].source != CONFIG_DEFAULT; }

/* ---- shards and workers ---- */

static enum result judge_shards(struct judge *j)
{
    const struct config *c = j->config;
    uint32_t cores = host_core_count();
    struct datadir_seen seen;
    enum result result = datadir_look(c->data_dir, c->shards, &seen, j->text, j->text_size);
    if (result == RESULT_OK) result = datadir_look_at_key(c->data_dir, DATADIR_TOKEN_KEY, DATADIR_TOKEN_KEY_SIZE, j->text, j->text_size);
    if (result != RESULT_OK) return result;
    j->out->format = seen.format;
    j->out->shards = seen.shards != 0 ? seen.shards : c->shards != 0 ? c->shards : cores;
    uint32_t wanted = c->workers != 0 ? c->workers : cores;
    j->out->workers = wanted < j->out->shards ? wanted : j->out->shards;
    if (j->out->workers < wanted && c->workers != 0)
        warn(j, "%u workers are run instead of %u: %s has %u shards, and a worker without one has nothing to do", j->out->workers, wanted, c->data_dir,
             j->out->shards);
    if (j->out->workers < wanted && c->workers == 0 && c->shards == 0)
        warn(j, "%u of %u cores are used: %s has %u shards, and a worker without one has nothing to do", j->out->workers, cores, c->data_dir,
             j->out->shards);
    if (j->out->workers > cores && c->pin_workers) warn(j, "%u workers share %u cores", j->out->workers, cores);
    return RESULT_OK;
}

/* ---- kernel ---- */

static enum result judge_kernel(struct judge *j) { return io_probe(j->text, j->text_size); }

/* ---- open files ---- */

/* Sockets in tables of rings are no open files, but the higher the limit the fewer tables. */
static enum result judge_files(struct judge *j)
{
    uint64_t wanted = (uint64_t)j->out->connections_max + OTHER_FILES, reached = 0;
    enum result result = host_raise_open_files(wanted, &reached, j->text, j->text_size);
    if (result == RESULT_OK) return RESULT_OK;
    bool direct = j->config->direct_descriptors && io_probe_direct_sockets();
    if (direct) return host_raise_open_files(OTHER_FILES, &reached, j->text, j->text_size);
    bool fixed = is_set(j, CONFIG_OPTION_connections_max);
    if (reached <= OTHER_FILES && !fixed) return host_raise_open_files(OTHER_FILES + 1, &reached, j->text, j->text_size);
    size_t len = strlen(j->text);
    snprintf(j->text + len, j->text_size - len, ", or a smaller connections_max");
    if (fixed) return result;
    j->out->connections_max = (uint32_t)(reached - OTHER_FILES);
    warn(j, "connections_max is %u: %s", j->out->connections_max, j->text);
    return RESULT_OK;
}

/* ---- locked memory ---- */

static uint64_t rings_bytes(const struct judge *j, uint32_t workers, uint32_t entries)
{
    struct io_options options = {.entries = entries, .receive_buffer_count = j->config->receive_buffers};
    return workers * io_locked_bytes(&options) + lobby_locked_bytes();
}

static uint32_t entries_that_fit(const struct judge *j, uint32_t workers, uint64_t limit)
{
    uint32_t entries = j->config->ring_entries;
    bool fixed = is_set(j, CONFIG_OPTION_ring_entries);
    while (!fixed && entries > RING_ENTRIES_MIN && rings_bytes(j, workers, entries) > limit) entries /= 2;
    return rings_bytes(j, workers, entries) <= limit ? entries : 0;
}

static uint32_t workers_that_fit(const struct judge *j, uint64_t limit)
{
    uint32_t workers = j->out->workers;
    while (workers > 0 && entries_that_fit(j, workers, limit) == 0) workers--;
    return workers;
}

#define LOCKED_REMEDY                                                                                                  \
    "LimitMEMLOCK=infinity (systemd), --ulimit memlock=-1 (docker), or, set by root, ulimit -l unlimited in the shell that starts it or a line " \
    "`USER - memlock unlimited` in /etc/security/limits.conf"

static enum result refuse_locked(struct judge *j, uint64_t limit, uint32_t workers_instead)
{
    uint32_t entries = is_set(j, CONFIG_OPTION_ring_entries) ? j->config->ring_entries : RING_ENTRIES_MIN;
    char instead[80] = "";
    if (workers_instead > 0) snprintf(instead, sizeof instead, ", or --workers %u", workers_instead);
    return refuse(j, RESULT_NOMEM, "the locked-memory limit of %" PRIu64 " KiB is too small for the rings of %u workers: %" PRIu64
                  " KiB are needed. Remedy: " LOCKED_REMEDY "%s", limit / 1024, j->out->workers,
                  (rings_bytes(j, j->out->workers, entries) + 1023) / 1024, instead);
}

/* A worker makes a further ring for each table of sockets that it fills. */
static enum result judge_tables(struct judge *j, uint64_t limit)
{
    const struct config *c = j->config;
    uint32_t workers = j->out->workers, share = (j->out->connections_max + workers - 1) / workers;
    struct io_options options = {.entries = j->out->ring_entries, .receive_buffer_count = c->receive_buffers, .sockets_max = share + c->accepts_per_turn_max};
    if (!c->direct_descriptors || !io_probe_direct_sockets()) return RESULT_OK;
    uint32_t sockets = io_sockets_within(&options, (limit - lobby_locked_bytes()) / workers);
    if (sockets >= options.sockets_max) return RESULT_OK;
    uint64_t fit = sockets > c->accepts_per_turn_max ? (uint64_t)(sockets - c->accepts_per_turn_max) * workers : 1;
    if (is_set(j, CONFIG_OPTION_connections_max))
        return refuse(j, RESULT_NOMEM, "the locked-memory limit of %" PRIu64 " KiB holds the tables of %" PRIu64 " connections. Remedy: " LOCKED_REMEDY
                      ", a higher limit of open files, or a smaller connections_max", limit / 1024, fit);
    j->out->connections_max = (uint32_t)fit;
    warn(j, "connections_max is %u: the locked-memory limit of %" PRIu64 " KiB holds the tables of no more. Remedy: " LOCKED_REMEDY,
         j->out->connections_max, limit / 1024);
    return RESULT_OK;
}

/* The kernel counts the rings of all processes of a user together; of a privileged one it counts none. */
static enum result judge_locked_memory(struct judge *j)
{
    uint64_t limit = host_raise_locked_memory();
    if (limit == HOST_UNLIMITED || !io_counts_locked_memory()) return RESULT_OK;
    uint32_t workers = workers_that_fit(j, limit);
    bool fewer = workers < j->out->workers;
    if (workers == 0 || (fewer && is_set(j, CONFIG_OPTION_workers))) return refuse_locked(j, limit, workers);
    if (fewer) warn(j, "%u workers are run instead of %u: the locked-memory limit of %" PRIu64 " KiB holds the rings of no more. Remedy: "
                    LOCKED_REMEDY, workers, j->out->workers, limit / 1024);
    j->out->workers = workers;
    j->out->ring_entries = entries_that_fit(j, workers, limit);
    if (j->out->ring_entries < j->config->ring_entries)
        warn(j, "ring_entries is %u instead of %u: the locked-memory limit of %" PRIu64 " KiB holds no larger rings of %u workers. Remedy: " LOCKED_REMEDY,
             j->out->ring_entries, j->config->ring_entries, limit / 1024, workers);
    return judge_tables(j, limit);
}

/* ---- what a shell's limits cut off ---- */

static enum result judge_address_space(struct judge *j)
{
    const struct config *c = j->config;
    uint64_t limit = host_limit(HOST_ADDRESS_SPACE), shards = j->out->shards;
    uint64_t start = SPACE_PROCESS + j->out->workers * SPACE_WORKER + shards * (SPACE_SHARD + (uint64_t)c->dedup_entries * SPACE_DEDUP);
    uint64_t full = start + c->block_cache_bytes + shards * MEMTABLES * c->memtable_size_bytes;
    if (limit == HOST_UNLIMITED || limit >= full) return RESULT_OK;
    if (limit < start)
        return refuse(j, RESULT_NOMEM, "the address space is limited to %" PRIu64 " MiB, %" PRIu64 " MiB are needed to start. Remedy: ulimit -v unlimited in the "
                      "shell, no LimitAS= (systemd); to bound memory use MemoryMax= (systemd), --memory (docker)", limit >> 20, start >> 20);
    warn(j, "the address space is limited to %" PRIu64 " MiB; with its caches full the server needs %" PRIu64 " MiB and ends. Remedy: ulimit -v unlimited, "
         "no LimitAS=, or a smaller block_cache and memtable_size", limit >> 20, full >> 20);
    return RESULT_OK;
}

static enum result judge_file_size(struct judge *j)
{
    uint64_t limit = host_limit(HOST_FILE_SIZE), segment = j->config->segment_size_bytes;
    if (limit == HOST_UNLIMITED || limit >= STORE_FILE_SIZE) return RESULT_OK;
    if (limit < segment)
        return refuse(j, RESULT_TOO_LARGE, "the size of a file is limited to %" PRIu64 " KiB, a segment of the log has %" PRIu64 " KiB. Remedy: ulimit -f unlimited in the "
                      "shell, no LimitFSIZE= (systemd), or a smaller segment_size", limit >> 10, segment >> 10);
    warn(j, "the size of a file is limited to %" PRIu64 " MiB, and files of the store may become larger: the server ends then. Remedy: "
         "ulimit -f unlimited, no LimitFSIZE=", limit >> 20);
    return RESULT_OK;
}

/* ---- the certificate ---- */

/* What is only doubtful, an expired one, is a warning. */
static enum result judge_certificate(struct judge *j)
{
    const struct config *c = j->config;
    struct tls_identity *identity;
    if (c->tls_certificate_file[0] == '\0') return RESULT_OK;
    enum result result = tls_identity_create(&identity, c->tls_certificate_file, c->tls_key_file, j->text, j->text_size);
    if (result != RESULT_OK) return result;
    tls_identity_destroy(identity);
    if (j->text[0] != '\0') warn(j, "%s", j->text);
    return RESULT_OK;
}

enum result fitness_judge(struct fitness *fitness, const struct config *config, char *text, size_t text_size)
{
    static enum result (*const steps[])(struct judge *) = {
        judge_certificate, judge_shards, judge_kernel, judge_files, judge_locked_memory, judge_address_space, judge_file_size,
    };
    struct judge j = {.out = fitness, .config = config, .text = text, .text_size = text_size};
    *fitness = (struct fitness){.ring_entries = config->ring_entries, .connections_max = config->connections_max};
    char remark[FITNESS_TEXT_SIZE];
    for (uint32_t i = 0; rules_remark(config, i, remark, sizeof remark); i++) warn(&j, "%s", remark);
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        text[0] = '\0';
        enum result result = steps[i](&j);
        if (result != RESULT_OK) return result;
    }
    text[0] = '\0';
    return RESULT_OK;
}

void fitness_apply(const struct fitness *fitness, struct config *config)
{
    config->workers = fitness->workers;
    config->ring_entries = fitness->ring_entries;
    config->connections_max = fitness->connections_max;
}
