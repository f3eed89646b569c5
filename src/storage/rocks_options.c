/* storage/rocks_options.c - how RocksDB is opened: its options with their reasons, the block cache, what compaction leaves out, its threads. */
#include "storage/rocks_internal.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define BACKGROUND_THREADS 2
#define MERGE_NICE 10
#define LEVEL_MEMTABLES 32 /* the first level below L0, in memtables */
/* RocksDB's own limit of a memtable; the one kept by rocks_write.c is smaller. */
#define OWN_MEMTABLES 4 /* ... are one of RocksDB's; so much must be free, too, before it goes on after a full disk */
#define ARENA_BLOCK_MAX (1u << 20)

/* What the C API has no function for, and what reads best as text. */
static const char rocks_options_text[] =
    "create_if_missing=true;"
    "max_open_files=-1;"
    "keep_log_file_num=3;"
    "info_log_level=HEADER_LEVEL;" /* none of its own log: on a full disk the line after a failed one is an assertion in RocksDB */
    "periodic_compaction_seconds=0;" /* a compaction filter would set it to 30 days, in which all that is stored is written anew */
    "stats_dump_period_sec=0;"
    "stats_persist_period_sec=0;"
    "max_background_jobs=2;"
    "avoid_unnecessary_blocking_io=true;"
    "allow_concurrent_memtable_write=false;"
    "memtable_insert_with_hint_prefix_extractor=rocksdb.FixedPrefix.9;" /* kind byte and id, see store.h */
    "max_write_buffer_number=6;"
    "avoid_flush_during_shutdown=true;" /* rocks_close() flushes, after the value log's sync */
    "bytes_per_sync=1048576;" /* the disk begins with what a flush or a merge writes at once: the log's writes do not wait behind all of it */
    "soft_pending_compaction_bytes_limit=0;" /* how much there is to merge below L0 is no reason to wait: reads feel it, a little */
    "hard_pending_compaction_bytes_limit=0;"
    /* Compaction is most of what a stored message costs, so it is rare: L0 gathers 24 memtables, and the level below it may grow to
     * LEVEL_MEMTABLES before it is merged into the next. Writes wait only far behind that, because
     * compaction has a low priority. They take no delay, so the slowdown is where they stop. */
    "level0_file_num_compaction_trigger=24;"
    "level0_slowdown_writes_trigger=52;" /* L0_FILES_STALL */
    "level0_stop_writes_trigger=60;"
    "level_compaction_dynamic_level_bytes=true;"
    "optimize_filters_for_hits=true;" /* no filters on the last level, where nine rows of ten are: what is looked up is nearly always there */
    "compression=kNoCompression;" /* what is young is written again soon; only what has come to rest is compressed */
    "bottommost_compression=kLZ4Compression";

/* ---- the shared block cache ----------------------------------------------------------------------------------------- */

static pthread_mutex_t cache_mutex = PTHREAD_MUTEX_INITIALIZER;
static rocksdb_cache_t *cache;
static uint32_t cache_users;

rocksdb_cache_t *rocks_cache_ref(uint64_t size_bytes)
{
    pthread_mutex_lock(&cache_mutex);
    if (cache_users++ == 0) cache = rocksdb_cache_create_lru(size_bytes);
    rocksdb_cache_t *shared = cache;
    pthread_mutex_unlock(&cache_mutex);
    return shared;
}

void rocks_cache_unref(void)
{
    pthread_mutex_lock(&cache_mutex);
    ASSERT(cache_users > 0);
    if (--cache_users == 0) {
        rocksdb_cache_destroy(cache);
        cache = NULL;
    }
    pthread_mutex_unlock(&cache_mutex);
}

uint64_t rocks_cache_bytes(void)
{
    pthread_mutex_lock(&cache_mutex);
    uint64_t bytes = cache == NULL ? 0 : rocksdb_cache_get_usage(cache);
    pthread_mutex_unlock(&cache_mutex);
    return bytes;
}

/* ---- what compaction leaves out ------------------------------------------------------------------------------------- */

struct leaving_out { /* one compaction: keys come in order, so a group is looked up once */
    struct trims *trims;
    uint8_t group[TRIM_GROUP_SIZE];
    uint64_t first_kept;
};

static unsigned char leave_out(void *state, int level, const char *key, size_t key_len, const char *value, size_t value_len,
                               char **new_value, size_t *new_value_len, unsigned char *value_changed)
{
    (void)level, (void)value, (void)value_len, (void)new_value, (void)new_value_len, (void)value_changed;
    struct leaving_out *out = state;
    const uint8_t *bytes = (const uint8_t *)key;
    if (key_len != TRIM_KEY_SIZE) return 0;
    if (memcmp(out->group, bytes, TRIM_GROUP_SIZE) != 0) {
        memcpy(out->group, bytes, TRIM_GROUP_SIZE);
        out->first_kept = trims_first_kept(out->trims, out->group);
    }
    return trim_number(bytes) < out->first_kept;
}

static const char *leaving_out_name(void *state)
{
    (void)state;
    return "ringpost.trims";
}

/* Compaction can wait, but not for ever: at nice 19, which is what RocksDB offers, it gets a seventieth of a core that the workers want whole, which is
 * less than it needs, so files pile up until writes wait for it. At MERGE_NICE it gets a tenth and needs a twentieth. A thread's
 * priority is its own on Linux, and this runs on the one that compacts. */
static void step_back(void)
{
    static _Thread_local bool done;
    if (done) return;
    done = true;
    (void)setpriority(PRIO_PROCESS, 0, MERGE_NICE);
}

static rocksdb_compactionfilter_t *leaving_out_create(void *trims, rocksdb_compactionfiltercontext_t *context)
{
    (void)context;
    step_back();
    struct leaving_out *out = calloc(1, sizeof *out);
    if (out == NULL) check_fatal("out of memory for a compaction; the log holds everything");
    out->trims = trims;
    return rocksdb_compactionfilter_create(out, free, leave_out, leaving_out_name);
}

static void keep_state(void *state) { (void)state; }

/* ---- the options --------------------------------------------------------------------------------------------------- */

rocksdb_readoptions_t *rocks_read_options_make(bool fill_cache)
{
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_background_purge_on_iterator_cleanup(options, 1);
    rocksdb_readoptions_set_fill_cache(options, fill_cache);
    rocksdb_readoptions_set_total_order_seek(options, 1);
    return options;
}

rocksdb_options_t *rocks_options_make(const struct rocks *rocks, char **error)
{
    const struct rocks_options *options = &rocks->options;
    rocksdb_options_t *plain = rocksdb_options_create();
    rocksdb_options_t *made = rocksdb_options_create();
    rocksdb_get_options_from_string(plain, rocks_options_text, made, error);
    rocksdb_options_destroy(plain);
    rocksdb_options_set_write_buffer_size(made, OWN_MEMTABLES * options->memtable_size_bytes);
    rocksdb_options_set_arena_block_size(made, options->memtable_size_bytes / 8 < ARENA_BLOCK_MAX ? options->memtable_size_bytes / 8 : ARENA_BLOCK_MAX);
    rocksdb_options_set_prefix_extractor(made, rocksdb_slicetransform_create_fixed_prefix(GROUP_SIZE));
    rocksdb_options_set_max_bytes_for_level_base(made, LEVEL_MEMTABLES * options->memtable_size_bytes);

    rocksdb_options_set_compaction_filter_factory(
        made, rocksdb_compactionfilterfactory_create(rocks->trims, keep_state, leaving_out_create, leaving_out_name));

    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_format_version(table, 5);
    rocksdb_block_based_options_set_block_size(table, 8 << 10);
    /* Filters that are made quickly at a flush, and small ones after merges. */
    rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_ribbon_hybrid(10, 0));
    rocksdb_block_based_options_set_block_cache(table, rocks->cache);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);
    rocksdb_options_set_block_based_table_factory(made, table);
    rocksdb_block_based_options_destroy(table);
    return made;
}

/* ---- what RocksDB throws -------------------------------------------------------------------------------------------- */

/* C++ tells of exhausted memory and threads by exceptions, which end the process where nobody catches them, and RocksDB catches few. Its
 * last words shall be ours. */
static void on_no_memory(void)
{
    check_fatal("out of memory: the store needs more than the address space or the machine gives (ulimit -v, ulimit -d, MemoryMax=); the log holds "
                "everything");
}

static void on_uncaught(void)
{
    check_fatal("the store ended on an error it cannot report: most likely no more threads (ulimit -u, LimitNPROC=, TasksMax=); the log holds everything");
}

/* std::set_new_handler and std::set_terminate, which have no C header. */
static void take_exceptions(void)
{
    static const struct {
        const char *symbol;
        void (*handler)(void);
    } hooks[] = {{"_ZSt15set_new_handlerPFvvE", on_no_memory}, {"_ZSt13set_terminatePFvvE", on_uncaught}};
    for (size_t i = 0; i < COUNT_OF(hooks); i++) {
        void (*(*set)(void (*)(void)))(void);
        void *found = dlsym(RTLD_DEFAULT, hooks[i].symbol);
        ASSERT(found != NULL);
        memcpy(&set, &found, sizeof set);
        (void)set(hooks[i].handler);
    }
}

/* RocksDB's threads are the process's; two flush, two compact, however many shards there are. */
void rocks_prepare_process(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, take_exceptions);
    rocksdb_env_t *env = rocksdb_create_default_env();
    rocksdb_env_set_background_threads(env, BACKGROUND_THREADS);
    rocksdb_env_set_high_priority_background_threads(env, BACKGROUND_THREADS);
    rocksdb_env_destroy(env);
}
