/* tests/shard/worker/password_test.c - passwords hashed and tried on the pool's threads, its limit, and its end with work left. */
#include "shard/worker/password.h"
#include "core/doorbell.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* The least that libsodium takes: the tests are about the pool. */
static const struct password_pool_options cheap = {
    .workers = 2, .threads = 2, .queue_max = 8, .queue_per_address_max = 8, .passes = 1, .memory_bytes = 8192};

static uint32_t done_count;
static void count_done(struct password_job *job)
{
    (void)job;
    done_count++;
}

static struct password_job job_of(const char *password, const char *verify_hash)
{
    struct password_job job = {.done = count_done, .verify = verify_hash != NULL};
    memcpy(job.password, password, strlen(password) + 1);
    if (verify_hash != NULL) memcpy(job.hash, verify_hash, strlen(verify_hash) + 1);
    return job;
}

/* As a worker does: publish, sleep until the bell when there is nothing, collect. */
static void collect_all(struct password_pool *pool, uint32_t worker, struct doorbell *bell, uint32_t count)
{
    password_pool_publish(pool, worker);
    for (uint32_t collected = 0; collected < count;) {
        doorbell_sleep(bell);
        if (!password_pool_readable(pool, worker)) doorbell_wait(bell, 10000);
        doorbell_awake(bell);
        collected += password_pool_collect(pool, worker, count);
    }
}

static bool is_wiped(const struct password_job *job)
{
    for (size_t i = 0; i < sizeof job->password; i++)
        if (job->password[i] != 0) return false;
    return true;
}

Test(password, makes_hashes_and_tries_them)
{
    struct password_pool *pool = NULL;
    struct doorbell bell;
    cr_assert_eq(password_pool_create(&pool, &cheap), RESULT_OK);
    cr_assert_eq(doorbell_init(&bell), RESULT_OK);
    password_pool_set_doorbell(pool, 1, &bell);

    struct password_job make = job_of("correct horse", NULL);
    cr_assert_eq(password_pool_submit(pool, 1, &make), RESULT_OK);
    collect_all(pool, 1, &bell, 1);
    cr_assert_eq(make.result, RESULT_OK);
    cr_expect(strncmp(make.hash, "$argon2id$", 10) == 0, "%s", make.hash);
    cr_expect(is_wiped(&make));

    struct password_job right = job_of("correct horse", make.hash), wrong = job_of("correct house", make.hash),
                        broken = job_of("correct horse", "no hash");
    cr_assert_eq(password_pool_submit(pool, 1, &right), RESULT_OK);
    cr_assert_eq(password_pool_submit(pool, 1, &wrong), RESULT_OK);
    cr_assert_eq(password_pool_submit(pool, 1, &broken), RESULT_OK);
    collect_all(pool, 1, &bell, 3);
    cr_expect(right.fits);
    cr_expect(!wrong.fits);
    cr_expect(!broken.fits);
    cr_expect(is_wiped(&right) && is_wiped(&wrong) && is_wiped(&broken));
    cr_expect_eq(done_count, 4);
    password_pool_destroy(pool);
    doorbell_deinit(&bell);
}

Test(password, refuses_beyond_its_limit_and_takes_again_after)
{
    struct password_pool *pool = NULL;
    struct doorbell bells[2];
    cr_assert_eq(password_pool_create(&pool, &cheap), RESULT_OK);
    for (uint32_t worker = 0; worker < 2; worker++) {
        cr_assert_eq(doorbell_init(&bells[worker]), RESULT_OK);
        password_pool_set_doorbell(pool, worker, &bells[worker]);
    }
    struct password_job jobs[9];
    for (uint32_t i = 0; i < 9; i++) jobs[i] = job_of("some password", NULL);
    for (uint32_t i = 0; i < 8; i++) cr_assert_eq(password_pool_submit(pool, i % 2, &jobs[i]), RESULT_OK);
    cr_expect_eq(password_pool_submit(pool, 0, &jobs[8]), RESULT_BUSY);
    cr_expect(!is_wiped(&jobs[8]), "a refused job stays as it is");
    collect_all(pool, 1, &bells[1], 4);
    cr_expect_eq(password_pool_submit(pool, 0, &jobs[8]), RESULT_OK);
    collect_all(pool, 0, &bells[0], 5);
    cr_expect_eq(done_count, 9);
    for (uint32_t i = 0; i < 9; i++) cr_expect(is_wiped(&jobs[i]));
    password_pool_destroy(pool);
    for (uint32_t worker = 0; worker < 2; worker++) doorbell_deinit(&bells[worker]);
}

/* One address has its share of the queue, and the others theirs; a place is free again when its job was collected. */
Test(password, an_address_has_a_share_of_the_queue)
{
    struct password_pool *pool = NULL;
    struct doorbell bell;
    struct password_pool_options options = cheap;
    options.queue_per_address_max = 3;
    cr_assert_eq(password_pool_create(&pool, &options), RESULT_OK);
    cr_assert_eq(doorbell_init(&bell), RESULT_OK);
    password_pool_set_doorbell(pool, 0, &bell);
    struct password_job jobs[5];
    for (uint32_t i = 0; i < 5; i++) {
        jobs[i] = job_of("some password", NULL);
        jobs[i].address_class = i == 4 ? 8 : 7;
    }
    for (uint32_t i = 0; i < 3; i++) cr_assert_eq(password_pool_submit(pool, 0, &jobs[i]), RESULT_OK);
    cr_expect_eq(password_pool_submit(pool, 0, &jobs[3]), RESULT_BUSY);
    cr_expect_eq(password_pool_submit(pool, 0, &jobs[4]), RESULT_OK, "another address");
    collect_all(pool, 0, &bell, 4);
    cr_expect_eq(password_pool_submit(pool, 0, &jobs[3]), RESULT_OK);
    collect_all(pool, 0, &bell, 1);
    cr_expect_eq(done_count, 5);
    password_pool_destroy(pool);
    doorbell_deinit(&bell);
}

/* The threads are told from others by their name; the pool's creator keeps its own priority. */
Test(password, threads_run_at_the_lowest_priority)
{
    struct password_pool *pool = NULL;
    struct doorbell bell;
    cr_assert_eq(password_pool_create(&pool, &cheap), RESULT_OK);
    cr_assert_eq(doorbell_init(&bell), RESULT_OK);
    password_pool_set_doorbell(pool, 0, &bell);
    struct password_job jobs[2] = {job_of("some password", NULL), job_of("some password", NULL)}; /* one for each thread: both run */
    for (uint32_t i = 0; i < 2; i++) cr_assert_eq(password_pool_submit(pool, 0, &jobs[i]), RESULT_OK);
    collect_all(pool, 0, &bell, 2);
    DIR *tasks = opendir("/proc/self/task");
    cr_assert_not_null(tasks);
    uint32_t found = 0;
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        char path[64], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%.16s/comm", task->d_name);
        FILE *file = fopen(path, "re");
        if (file == NULL) continue;
        bool is_ours = fgets(name, sizeof name, file) != NULL && strcmp(name, "password\n") == 0;
        fclose(file);
        if (!is_ours) continue;
        cr_expect_eq(getpriority(PRIO_PROCESS, (id_t)atoi(task->d_name)), 19);
        found++;
    }
    closedir(tasks);
    cr_expect_eq(found, cheap.threads);
    cr_expect_neq(getpriority(PRIO_PROCESS, 0), 19);
    password_pool_destroy(pool);
    doorbell_deinit(&bell);
}

Test(password, collects_no_more_than_its_budget)
{
    struct password_pool *pool = NULL;
    struct doorbell bell;
    struct password_pool_options options = cheap;
    options.threads = 1;
    cr_assert_eq(password_pool_create(&pool, &options), RESULT_OK);
    cr_assert_eq(doorbell_init(&bell), RESULT_OK);
    password_pool_set_doorbell(pool, 0, &bell);
    struct password_job jobs[4];
    for (uint32_t i = 0; i < 4; i++) {
        jobs[i] = job_of("some password", NULL);
        cr_assert_eq(password_pool_submit(pool, 0, &jobs[i]), RESULT_OK);
    }
    cr_expect_eq(password_pool_collect(pool, 0, 0), 0);
    password_pool_publish(pool, 0);
    for (uint32_t collected = 0; collected < 4;) {
        uint32_t one = password_pool_collect(pool, 0, 1);
        cr_expect_leq(one, 1);
        collected += one;
        cr_expect_eq(done_count, collected);
    }
    password_pool_destroy(pool);
    doorbell_deinit(&bell);
}

Test(password, forgets_what_nobody_will_collect)
{
    struct password_pool *pool = NULL;
    cr_assert_eq(password_pool_create(&pool, &cheap), RESULT_OK);
    struct password_job jobs[6];
    for (uint32_t i = 0; i < 6; i++) {
        jobs[i] = job_of("some password", NULL);
        cr_assert_eq(password_pool_submit(pool, i % 2, &jobs[i]), RESULT_OK);
    }
    password_pool_publish(pool, 0); /* worker 1's were never handed over */
    password_pool_destroy(pool);
    for (uint32_t i = 0; i < 6; i++) cr_expect(is_wiped(&jobs[i]), "job %u", i);
    cr_expect_eq(done_count, 0);
}
