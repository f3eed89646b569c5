/* tests/storage/store_test.c - one table of what every store must do, run against RocksDB and against the simulator's store; then
 * what only one of them has: surviving kill -9, falling back at a crash. */
#include "storage/store.h"
#include "core/check.h"
#include "core/doorbell.h"
#include "core/logger.h"
#include "storage/commitlog.h"
#include "storage/fake_store.h"
#include "storage/scratch.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the two kinds -------------------------------------------------------------------------------------------------- */

struct shop {
    struct store *store;
    uint64_t applied; /* when opened */
    struct fake_store *fake; /* one of fake and thread is set */
    struct storage_thread *thread;
    struct doorbell bell;
    struct scratch scratch;
};

static const struct storage_thread_options thread_options = {.name = "test-store", .queue_length_max = 16,
    .memtable_size_bytes = 256 << 10, .block_cache_size_bytes = 1 << 20, .flush_interval_ms = 20,
    .apart_kind = 'k' /* the keys of kill_batch(), whose longer values so lie apart */};

static void start_thread(struct shop *shop)
{
    cr_assert_eq(logger_start(LOGGER_WARN, LOGGER_LOGFMT), RESULT_OK);
    cr_assert_eq(doorbell_init(&shop->bell), RESULT_OK);
    cr_assert_eq(storage_thread_start(&shop->thread, &thread_options), RESULT_OK);
    storage_thread_set_doorbell(shop->thread, &shop->bell);
}

static void open_real(struct shop *shop, const char *path)
{
    char text[512] = "";
    start_thread(shop);
    cr_assert_eq(storage_thread_open_store(shop->thread, path, &shop->store, &shop->applied, text, sizeof text), RESULT_OK, "%s",
                 text);
}

static void close_real(struct shop *shop)
{
    storage_thread_stop(shop->thread);
    doorbell_deinit(&shop->bell);
    logger_stop();
}

static void shop_open(struct shop *shop, bool real)
{
    memset(shop, 0, sizeof *shop);
    scratch_init(&shop->scratch);
    if (real) {
        open_real(shop, shop->scratch.path);
    } else {
        shop->fake = fake_store_create(1);
        shop->store = fake_store_base(shop->fake);
    }
}

static void shop_close(struct shop *shop)
{
    if (shop->fake != NULL) fake_store_destroy(shop->fake);
    else close_real(shop);
    scratch_deinit(&shop->scratch);
}

/* Hands over, sleeps until there are answers, takes them. */
static void worker_turn(struct shop *shop, int wait_ms_max)
{
    storage_thread_publish(shop->thread);
    doorbell_sleep(&shop->bell);
    if (!storage_thread_readable(shop->thread)) doorbell_wait(&shop->bell, wait_ms_max);
    doorbell_awake(&shop->bell);
    storage_thread_collect(shop->thread, 8);
}

/* Lets everything asked so far, or `until`, happen. */
static void shop_wait(struct shop *shop, const bool *until)
{
    while (!*until) {
        if (shop->fake != NULL) {
            cr_assert(fake_store_step(shop->fake));
            continue;
        }
        worker_turn(shop, 1000);
    }
}

/* ---- reading as text: "key=value key=value" ------------------------------------------------------------------------- */

enum look { LOOK_GET, LOOK_SCAN, LOOK_LAST };

struct look_job {
    struct store_job job;
    enum look look;
    const char *from, *until;
    uint32_t rows_max;
    char found[256];
    bool done;
};

static void append_row(struct look_job *look, struct slice key, struct slice value)
{
    size_t at = strlen(look->found);
    snprintf(look->found + at, sizeof look->found - at, "%s%.*s=%.*s", at == 0 ? "" : " ", (int)key.len, (const char *)key.data,
             (int)value.len, (const char *)value.data);
}

static bool each_row(void *context, struct slice key, struct slice value)
{
    struct look_job *look = context;
    append_row(look, key, value);
    return --look->rows_max > 0;
}

static void look_run(struct store_job *job, struct store_view *view)
{
    struct look_job *look = CONTAINER_OF(job, struct look_job, job);
    struct writer key, value;
    writer_init(&key, 0);
    writer_init(&value, 0);
    enum result result = RESULT_OK;
    if (look->look == LOOK_GET) {
        result = store_get(view, slice_text(look->from), &value);
        if (result == RESULT_OK) append_row(look, slice_text(look->from), writer_slice(&value));
    } else if (look->look == LOOK_SCAN) {
        result = store_scan(view, slice_text(look->from), slice_text(look->until), each_row, look);
    } else {
        result = store_last(view, slice_text(look->from), slice_text(look->until), &key, &value);
        if (result == RESULT_OK) append_row(look, writer_slice(&key), writer_slice(&value));
    }
    if (result != RESULT_OK) snprintf(look->found, sizeof look->found, "%s", result_text(result));
    writer_deinit(&key);
    writer_deinit(&value);
}

static void look_done(struct store_job *job) { CONTAINER_OF(job, struct look_job, job)->done = true; }

static void look_init(struct look_job *look, enum look kind, const char *from, const char *until)
{
    *look = (struct look_job){.job = {.run = look_run, .done = look_done}, .look = kind, .from = from, .until = until,
                              .rows_max = 1000};
}

/* Batches as text: "+key=value -key". */
static void write_batch(struct writer *batch, const char *text)
{
    char copy[256], *rest = copy;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *word = strsep(&rest, " "); word != NULL; word = strsep(&rest, " ")) {
        char *value = strchr(word, '=');
        if (value != NULL) *value++ = '\0';
        if (word[0] == '+') store_batch_put(batch, slice_text(word + 1), slice_text(value));
        else if (word[0] == '-') store_batch_delete(batch, slice_text(word + 1));
    }
}

static const struct {
    const char *name;
    const char *batches[4];
    enum look look;
    const char *from, *until;
    const char *want;
} look_cases[] = {
    {"get from nothing", {0}, LOOK_GET, "a", "", "no such thing"},
    {"get", {"+a=1 +b=2"}, LOOK_GET, "b", "", "b=2"},
    {"get what was put over", {"+a=1", "+a=2"}, LOOK_GET, "a", "", "a=2"},
    {"put over in one batch", {"+a=1 +a=2"}, LOOK_GET, "a", "", "a=2"},
    {"get what was deleted", {"+a=1", "-a"}, LOOK_GET, "a", "", "no such thing"},
    {"put again after delete", {"+a=1 -a +a=3"}, LOOK_GET, "a", "", "a=3"},
    {"delete what was never there", {"-x +a=1"}, LOOK_GET, "a", "", "a=1"},
    {"empty value", {"+a="}, LOOK_GET, "a", "", "a="},
    {"a longer key is another key", {"+ab=1"}, LOOK_GET, "a", "", "no such thing"},
    {"scan nothing", {0}, LOOK_SCAN, "", "", ""},
    {"scan all, in order, without the store's own", {"+c=3 +a=1", "+b=2"}, LOOK_SCAN, "", "", "a=1 b=2 c=3"},
    {"from is in, until is out", {"+a=1 +b=2 +c=3 +d=4"}, LOOK_SCAN, "b", "d", "b=2 c=3"},
    {"bounds between keys", {"+b=1 +d=2 +f=3"}, LOOK_SCAN, "c", "e", "d=2"},
    {"a prefix sorts first", {"+ab=2 +a=1 +b=3"}, LOOK_SCAN, "a", "b", "a=1 ab=2"},
    {"scan over deleted", {"+a=1 +b=2 +c=3", "-b"}, LOOK_SCAN, "a", "", "a=1 c=3"},
    {"long keys", {"+room0000000001=x +room0000000002=y"}, LOOK_SCAN, "room0000000001", "room0000000003",
     "room0000000001=x room0000000002=y"},
    {"last of nothing", {0}, LOOK_LAST, "a", "z", "no such thing"},
    {"last in range", {"+a=1 +b=2 +c=3"}, LOOK_LAST, "a", "c", "b=2"},
    {"last, until between keys", {"+a=1 +c=3"}, LOOK_LAST, "a", "b", "a=1"},
    {"last to the end", {"+a=1 +b=2 +c=3"}, LOOK_LAST, "b", "", "c=3"},
    {"last before the range only", {"+a=1"}, LOOK_LAST, "b", "z", "no such thing"},
    {"last behind the range only", {"+x=1"}, LOOK_LAST, "b", "c", "no such thing"},
    {"last is not the store's own", {0}, LOOK_LAST, "", "", "no such thing"},
};

static void check_looks(bool real)
{
    for (size_t i = 0; i < COUNT_OF(look_cases); i++) {
        struct shop shop;
        struct writer batch;
        shop_open(&shop, real);
        writer_init(&batch, 0);
        for (uint64_t b = 0; b < 4 && look_cases[i].batches[b] != NULL; b++) {
            write_batch(&batch, look_cases[i].batches[b]);
            store_write(shop.store, &batch, b + 1);
            cr_assert_eq(batch.len, 0, "the batch comes back empty");
        }
        struct look_job look;
        look_init(&look, look_cases[i].look, look_cases[i].from, look_cases[i].until);
        store_submit(shop.store, &look.job);
        shop_wait(&shop, &look.done);
        cr_expect_str_eq(look.found, look_cases[i].want, "%s: found \"%s\"", look_cases[i].name, look.found);
        writer_deinit(&batch);
        shop_close(&shop);
    }
}

Test(store, rocks_reads_what_was_written) { check_looks(true); }
Test(store, fake_reads_what_was_written) { check_looks(false); }

Test(store, a_scan_stops_when_told)
{
    for (int real = 0; real < 2; real++) {
        struct shop shop;
        struct writer batch;
        shop_open(&shop, real);
        writer_init(&batch, 0);
        write_batch(&batch, "+a=1 +b=2 +c=3");
        store_write(shop.store, &batch, 1);
        struct look_job look;
        look_init(&look, LOOK_SCAN, "", "");
        look.rows_max = 2;
        store_submit(shop.store, &look.job);
        shop_wait(&shop, &look.done);
        cr_expect_str_eq(look.found, "a=1 b=2");
        writer_deinit(&batch);
        shop_close(&shop);
    }
}

/* ---- order and limits ----------------------------------------------------------------------------------------------- */

/* Many more batches and readers than the queue holds: each reader sees exactly the batches asked before it. */
static void check_order(bool real)
{
    enum { ROUNDS = 200 };
    static struct look_job looks[ROUNDS];
    struct shop shop;
    struct writer batch;
    shop_open(&shop, real);
    writer_init(&batch, 0);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        char text[64];
        for (uint64_t b = 0; b < i % 4; b++) {
            snprintf(text, sizeof text, "+k=%lu.%lu", i, b);
            write_batch(&batch, text);
            store_write(shop.store, &batch, i * 4 + b + 1);
        }
        look_init(&looks[i], LOOK_GET, "k", "");
        store_submit(shop.store, &looks[i].job);
    }
    cr_expect_gt(store_backlog_bytes(shop.store), 0);
    shop_wait(&shop, &looks[ROUNDS - 1].done);
    cr_expect_eq(store_backlog_bytes(shop.store), 0);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        char want[64] = "no such thing";
        uint64_t from = i % 4 == 0 ? i - 1 : i; /* the last round that wrote */
        if (i > 0) snprintf(want, sizeof want, "k=%lu.%lu", from, from % 4 - 1);
        cr_assert(looks[i].done);
        cr_expect_str_eq(looks[i].found, want, "reader %lu", i);
    }
    writer_deinit(&batch);
    shop_close(&shop);
}

Test(store, rocks_keeps_the_order_asked) { check_order(true); }
Test(store, fake_keeps_the_order_asked) { check_order(false); }

struct size_job {
    struct store_job job;
    size_t len;
    uint8_t first, last;
    bool done;
};

static void size_run(struct store_job *job, struct store_view *view)
{
    struct size_job *size = CONTAINER_OF(job, struct size_job, job);
    struct writer value;
    writer_init(&value, 0);
    if (store_get(view, SLICE_TEXT("big"), &value) == RESULT_OK) {
        size->len = value.len;
        size->first = value.data[0];
        size->last = value.data[value.len - 1];
    }
    writer_deinit(&value);
}

static void size_done(struct store_job *job) { CONTAINER_OF(job, struct size_job, job)->done = true; }

Test(store, big_values)
{
    enum { SIZE = 3 << 20 };
    uint8_t *bytes = malloc(SIZE);
    memset(bytes, 'm', SIZE);
    bytes[0] = 'a';
    bytes[SIZE - 1] = 'z';
    for (int real = 0; real < 2; real++) {
        struct shop shop;
        struct writer batch;
        shop_open(&shop, real);
        writer_init(&batch, 0);
        store_batch_put(&batch, SLICE_TEXT("big"), slice_of(bytes, SIZE));
        store_write(shop.store, &batch, 1);
        struct size_job size = {.job = {.run = size_run, .done = size_done}};
        store_submit(shop.store, &size.job);
        shop_wait(&shop, &size.done);
        cr_expect_eq(size.len, SIZE);
        cr_expect_eq(size.first, 'a');
        cr_expect_eq(size.last, 'z');
        writer_deinit(&batch);
        shop_close(&shop);
    }
    free(bytes);
}

/* ---- RocksDB: durable index, recovery, maintenance ------------------------------------------------------------------ */

Test(store, the_durable_index_rises_and_survives)
{
    struct shop shop;
    struct writer batch;
    struct look_job look;
    shop_open(&shop, true);
    writer_init(&batch, 0);
    cr_expect_eq(shop.applied, 0);
    write_batch(&batch, "+a=1");
    cr_assert_eq(store_write_now(shop.store, &batch, 7), RESULT_OK);
    look_init(&look, LOOK_GET, "a", "");
    store_run_now(shop.store, &look.job);
    cr_expect_str_eq(look.found, "a=1");
    cr_expect_eq(store_durable_index(shop.store), 0, "not flushed yet");
    write_batch(&batch, "+a=2");
    store_write(shop.store, &batch, 8);
    store_write(shop.store, &batch, 9); /* nothing changes but the index */
    while (store_durable_index(shop.store) < 9) { /* rises by itself: flush_interval_ms */
        look_init(&look, LOOK_GET, "a", "");
        store_submit(shop.store, &look.job);
        shop_wait(&shop, &look.done);
    }
    cr_expect_eq(store_durable_index(shop.store), 9);
    close_real(&shop);
    open_real(&shop, shop.scratch.path);
    cr_expect_eq(shop.applied, 9);
    cr_expect_eq(store_durable_index(shop.store), 9);
    look_init(&look, LOOK_SCAN, "", "");
    store_run_now(shop.store, &look.job);
    cr_expect_str_eq(look.found, "a=2");
    writer_deinit(&batch);
    shop_close(&shop);
}

Test(store, stopping_runs_what_was_asked)
{
    enum { COUNT = 100 };
    static struct look_job looks[COUNT];
    struct shop shop;
    struct writer batch;
    shop_open(&shop, true);
    writer_init(&batch, 0);
    for (uint64_t i = 0; i < COUNT; i++) {
        write_batch(&batch, "+a=1");
        store_write(shop.store, &batch, i + 1);
        look_init(&looks[i], LOOK_GET, "a", "");
        store_submit(shop.store, &looks[i].job);
    }
    close_real(&shop);
    for (uint64_t i = 0; i < COUNT; i++) cr_assert(looks[i].done);
    open_real(&shop, shop.scratch.path);
    cr_expect_eq(shop.applied, COUNT);
    writer_deinit(&batch);
    shop_close(&shop);
}

/* Lets the worker's turns pass until nothing waits to be written. */
static void wait_written(struct shop *shop)
{
    while (store_backlog_bytes(shop->store) > 0) {
        worker_turn(shop, 2); /* a batch that is to be handed over after a while rings nobody before */
    }
}

/* No reader comes: few bytes are handed over after a while, many at once; either way they are written. */
Test(store, batches_are_written_without_a_reader, .timeout = 60)
{
    static uint8_t bytes[512 << 10]; /* more than gathers */
    struct shop shop;
    struct writer batch;
    shop_open(&shop, true);
    writer_init(&batch, 0);
    uint64_t index = 0;
    for (uint32_t round = 0; round < 4; round++) {
        for (uint32_t i = 0; i <= round; i++) {
            store_batch_put(&batch, SLICE_TEXT("k"), slice_of(bytes, round % 2 == 0 ? 10 : sizeof bytes));
            store_write(shop.store, &batch, ++index);
        }
        store_write(shop.store, &batch, ++index); /* nothing changes but the index */
        wait_written(&shop);
    }
    writer_deinit(&batch);
    close_real(&shop);
    open_real(&shop, shop.scratch.path);
    cr_expect_eq(shop.applied, index);
    shop_close(&shop);
}

Test(store, the_bytes_of_a_batch_come_back_to_be_filled_again)
{
    struct shop shop;
    struct writer batch;
    shop_open(&shop, true);
    writer_init(&batch, 0);
    write_batch(&batch, "+a=1");
    const uint8_t *first = batch.data;
    store_write(shop.store, &batch, 1);
    cr_expect_neq(batch.data, first, "they are the store's until written");
    struct look_job look;
    look_init(&look, LOOK_GET, "a", "");
    store_submit(shop.store, &look.job);
    shop_wait(&shop, &look.done);
    cr_expect_str_eq(look.found, "a=1");
    write_batch(&batch, "+a=2");
    store_write(shop.store, &batch, 2);
    cr_expect_eq(batch.data, first);
    writer_deinit(&batch);
    shop_close(&shop);
}

static void count_up(void *context) { ++*(uint32_t *)context; }

Test(store, maintenance_runs_between_jobs_and_once_per_asking)
{
    struct shop shop;
    struct look_job look;
    uint32_t calls[2] = {0, 0};
    shop_open(&shop, true);
    for (int i = 0; i < 10; i++) storage_thread_run(shop.thread, count_up, &calls[0]);
    storage_thread_run(shop.thread, count_up, &calls[1]);
    look_init(&look, LOOK_GET, "a", "");
    store_submit(shop.store, &look.job);
    shop_wait(&shop, &look.done);
    cr_expect_eq(calls[0], 1, "nine askings came while one was under way");
    cr_expect_eq(calls[1], 1);
    storage_thread_run(shop.thread, count_up, &calls[0]);
    look_init(&look, LOOK_GET, "a", "");
    store_submit(shop.store, &look.job);
    shop_wait(&shop, &look.done);
    cr_expect_eq(calls[0], 2);
    shop_close(&shop);
}

Test(store, several_stores_on_one_thread)
{
    struct shop shop;
    struct store *stores[3];
    struct look_job looks[3];
    struct writer batch;
    char text[512] = "", path[PATH_MAX];
    uint64_t applied;
    memset(&shop, 0, sizeof shop);
    scratch_init(&shop.scratch);
    start_thread(&shop);
    writer_init(&batch, 0);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%d", shop.scratch.path, i);
        cr_assert_eq(storage_thread_open_store(shop.thread, path, &stores[i], &applied, text, sizeof text), RESULT_OK, "%s", text);
    }
    for (uint64_t round = 1; round <= 50; round++)
        for (int i = 0; i < 3; i++) {
            snprintf(text, sizeof text, "+k=%d.%lu", i, round);
            write_batch(&batch, text);
            store_write(stores[i], &batch, round);
        }
    for (int i = 0; i < 3; i++) {
        look_init(&looks[i], LOOK_GET, "k", "");
        store_submit(stores[i], &looks[i].job);
    }
    shop_wait(&shop, &looks[2].done);
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "k=%d.50", i);
        cr_expect_str_eq(looks[i].found, text);
    }
    writer_deinit(&batch);
    close_real(&shop);
    scratch_deinit(&shop.scratch);
}

Test(store, an_unusable_path_is_refused_in_words)
{
    struct shop shop;
    struct store *store;
    uint64_t applied;
    char text[512] = "";
    start_thread(&shop);
    cr_expect_eq(storage_thread_open_store(shop.thread, "/dev/null/store", &store, &applied, text, sizeof text), RESULT_IO);
    cr_expect_null(store);
    cr_expect_neq(strstr(text, "/dev/null/store"), NULL, "%s", text);
    close_real(&shop);
}

/* ---- kill -9 -------------------------------------------------------------------------------------------------------- */

/* Batch i puts i under key number i mod KILL_KEYS and deletes the next key: the state after any index is known. */
#define KILL_KEYS 50u
#define KILL_ROUNDS 5
#define KILL_BATCHES 3000 /* reported before the kill */

static void kill_key(char text[32], uint64_t number) { snprintf(text, 32, "key-%04lu", number % KILL_KEYS); }

static void kill_batch(struct writer *batch, uint64_t i)
{
    char key[32], value[300];
    kill_key(key, i);
    snprintf(value, sizeof value, "%lu:%0*d", i, (int)(i % 200), 0);
    store_batch_put(batch, slice_text(key), slice_text(value));
    kill_key(key, i + 1);
    store_batch_delete(batch, slice_text(key));
}

/* Writes until it is killed, and reports every index handed over. */
static void write_until_killed(const char *path, int report_fd)
{
    struct shop shop = {0};
    struct writer batch;
    open_real(&shop, path);
    writer_init(&batch, 0);
    for (uint64_t i = shop.applied + 1;; i++) {
        kill_batch(&batch, i);
        store_write(shop.store, &batch, i);
        storage_thread_publish(shop.thread);
        storage_thread_collect(shop.thread, 64);
        uint64_t report[2] = {i, store_durable_index(shop.store)};
        if (write(report_fd, report, sizeof report) != sizeof report) _exit(1);
    }
}

struct prefix_job {
    struct store_job job;
    uint64_t applied;
    uint32_t wrong;
};

static void prefix_run(struct store_job *job, struct store_view *view)
{
    struct prefix_job *prefix = CONTAINER_OF(job, struct prefix_job, job);
    const uint64_t k = prefix->applied;
    for (uint64_t number = 0; number < KILL_KEYS; number++) {
        char key[32], want[300] = "";
        struct writer value;
        writer_init(&value, 0);
        kill_key(key, number);
        /* The last index <= k that put this key, unless the batch before it came again since. */
        uint64_t put = k - (k + KILL_KEYS - number) % KILL_KEYS;
        bool there = k >= number && put > 0 && put <= k && !(number == (k + 1) % KILL_KEYS);
        if (there) snprintf(want, sizeof want, "%lu:%0*d", put, (int)(put % 200), 0);
        enum result result = store_get(view, slice_text(key), &value);
        bool right = there ? result == RESULT_OK && slice_equal(writer_slice(&value), slice_text(want)) : result == RESULT_MISSING;
        if (!right) prefix->wrong++;
        writer_deinit(&value);
    }
}

/* In a process of its own: RocksDB's threads do not survive a fork, so the parent never opens it. */
static void verify_prefix(const char *path, int report_fd)
{
    struct shop shop = {0};
    open_real(&shop, path);
    struct prefix_job prefix = {.job = {.run = prefix_run}, .applied = shop.applied};
    store_run_now(shop.store, &prefix.job);
    uint64_t report[2] = {shop.applied, prefix.wrong};
    close_real(&shop);
    _exit(write(report_fd, report, sizeof report) == sizeof report ? 0 : 1);
}

static pid_t fork_with(void (*run)(const char *path, int report_fd), const char *path, int *report_fd)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        run(path, ends[1]);
    }
    close(ends[1]);
    *report_fd = ends[0];
    return pid;
}

Test(store, kill_leaves_a_prefix, .timeout = 60)
{
    struct scratch scratch;
    scratch_init(&scratch);
    uint64_t written = 0;
    for (int round = 0; round < KILL_ROUNDS; round++) {
        uint64_t report[2] = {0, 0}, durable = 0;
        int fd;
        pid_t pid = fork_with(write_until_killed, scratch.path, &fd);
        for (int i = 0; i < KILL_BATCHES + 137 * round; i++) cr_assert_eq(read(fd, report, sizeof report), sizeof report);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        while (read(fd, report, sizeof report) == sizeof report) durable = report[1]; /* what was said before the end */
        written = report[0];
        close(fd);

        int status;
        pid = fork_with(verify_prefix, scratch.path, &fd);
        cr_assert_eq(read(fd, report, sizeof report), sizeof report);
        waitpid(pid, &status, 0);
        close(fd);
        cr_assert_eq(status, 0);
        cr_expect_eq(report[1], 0, "round %d: %lu keys are not those after index %lu", round, report[1], report[0]);
        cr_expect_leq(report[0], written);
        cr_expect_geq(report[0], durable, "round %d: %lu was durable, %lu found", round, durable, report[0]);
    }
    cr_expect_gt(written, KILL_BATCHES);
    scratch_deinit(&scratch);
}

static void write_one_index_twice(const char *path, int report_fd)
{
    struct shop shop = {0};
    struct writer batch;
    (void)report_fd;
    open_real(&shop, path);
    writer_init(&batch, 0);
    for (int i = 0; i < 2; i++) {
        write_batch(&batch, "+a=1");
        store_write(shop.store, &batch, 1);
    }
    _exit(0);
}

Test(store, two_batches_of_one_index_are_a_bug)
{
    struct scratch scratch;
    int fd, status;
    scratch_init(&scratch);
    pid_t pid = fork_with(write_one_index_twice, scratch.path, &fd);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    close(fd);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    scratch_deinit(&scratch);
}

/* ---- the simulator's store ------------------------------------------------------------------------------------------ */

static void note_dropped(struct store_job *job) { look_done(job); }

Test(store, fake_falls_back_to_any_prefix_that_is_not_durable)
{
    enum { BATCHES = 120, DURABLE = 40 };
    static uint64_t digests[BATCHES + 1];
    for (uint64_t to = DURABLE; to <= BATCHES; to += 5) {
        struct fake_store *fake = fake_store_create(to);
        struct store *store = fake_store_base(fake);
        struct writer batch;
        writer_init(&batch, 0);
        digests[0] = fake_store_digest(fake);
        for (uint64_t i = 1; i <= BATCHES; i++) {
            kill_batch(&batch, i);
            store_write(store, &batch, i);
            cr_assert(fake_store_step(fake));
            digests[i] = fake_store_digest(fake);
            if (i == DURABLE) fake_store_flush(fake);
        }
        cr_expect_eq(store_durable_index(store), DURABLE);
        kill_batch(&batch, BATCHES + 1);
        store_write(store, &batch, BATCHES + 1); /* never runs */
        struct look_job look;
        look_init(&look, LOOK_GET, "a", "");
        store_submit(store, &look.job);
        fake_store_crash_to(fake, to, note_dropped);
        cr_expect(look.done);
        cr_expect_eq(fake_store_applied(fake), to);
        cr_expect_eq(store_durable_index(store), to);
        cr_expect_eq(store_backlog_bytes(store), 0);
        cr_expect_eq(fake_store_digest(fake), digests[to], "after index %lu", to);
        for (uint64_t i = to + 1; i <= BATCHES; i++) { /* and goes on from there */
            kill_batch(&batch, i);
            cr_assert_eq(store_write_now(store, &batch, i), RESULT_OK);
        }
        cr_expect_eq(fake_store_digest(fake), digests[BATCHES]);
        fake_store_crash(fake, NULL);
        cr_expect_eq(fake_store_digest(fake), digests[fake_store_applied(fake)], "chosen by the seed: %lu", fake_store_applied(fake));
        cr_expect_geq(fake_store_applied(fake), to);
        writer_deinit(&batch);
        fake_store_destroy(fake);
    }
}

static void fake_batch(struct fake_store *fake, uint64_t index)
{
    struct writer batch;
    writer_init(&batch, 0);
    kill_batch(&batch, index);
    store_write(fake_store_base(fake), &batch, index);
    cr_assert(fake_store_step(fake));
    writer_deinit(&batch);
}

Test(store, fake_holds_back_what_it_cannot_write)
{
    struct fake_store *fake = fake_store_create(1);
    struct store *store = fake_store_base(fake);
    fake_batch(fake, 1);
    fake_store_begin_flush(fake);
    fake_batch(fake, 2);
    fake_store_hold(fake, true);
    fake_batch(fake, 3);
    cr_expect_gt(store_backlog_bytes(store), 0, "it counts");
    cr_expect_eq(fake_store_applied(fake), 3, "it can be read");
    cr_expect(fake_store_end_flush(fake));
    cr_expect_eq(store_durable_index(store), 0, "no flush ends meanwhile");
    fake_store_hold(fake, false);
    cr_expect_eq(store_backlog_bytes(store), 0);
    cr_expect_not(fake_store_end_flush(fake));
    fake_store_begin_flush(fake);
    fake_batch(fake, 4);
    cr_expect(fake_store_end_flush(fake));
    cr_expect_eq(store_durable_index(store), 3, "what was written when it began");
    fake_store_hold(fake, true);
    fake_batch(fake, 5);
    cr_expect_eq(fake_store_written(fake), 4);
    fake_store_crash_to(fake, 4, NULL);
    cr_expect_eq(fake_store_applied(fake), 4, "it is lost with the process");
    fake_store_destroy(fake);
}

Test(store, fake_turns_out_to_be_damaged_when_somebody_looks)
{
    struct fake_store *fake = fake_store_create(1);
    struct store *store = fake_store_base(fake);
    fake_batch(fake, 1);
    cr_assert(fake_store_rot(fake, 0, false));
    cr_expect_null(store_damage(store));
    struct look_job all, none;
    look_init(&all, LOOK_SCAN, "", "");
    store_submit(store, &all.job);
    cr_assert(fake_store_step(fake));
    cr_expect_str_eq(all.found, result_text(RESULT_CORRUPT));
    cr_expect_not_null(store_damage(store));
    look_init(&none, LOOK_SCAN, "\xff", "");
    store_submit(store, &none.job);
    cr_assert(fake_store_step(fake));
    cr_expect_str_eq(none.found, "", "elsewhere it can be read");
    fake_batch(fake, 2);
    fake_store_flush(fake);
    cr_expect_eq(store_durable_index(store), 0, "what is written to it stays in the log");
    fake_store_destroy(fake);
}
