/* tests/core/host_test.c - limits go up, never down, and a limit that cannot is explained. */
#include "core/host.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

Test(host, there_is_a_core)
{
    cr_assert_geq(host_core_count(), 1);
}

static void *pin_each(void *argument)
{
    (void)argument;
    for (uint32_t i = 0; i < 2 * host_core_count(); i++) {
        cpu_set_t mine;
        if (host_pin_thread(i) != RESULT_OK || sched_getaffinity(0, sizeof mine, &mine) != 0 || CPU_COUNT(&mine) != 1)
            return NULL;
    }
    return (void *)1;
}

Test(host, a_pinned_thread_has_one_core_and_the_process_keeps_all)
{
    uint32_t before = host_core_count();
    pthread_t thread;
    void *pinned;
    cr_assert_eq(pthread_create(&thread, NULL, pin_each, NULL), 0);
    pthread_join(thread, &pinned);
    cr_assert_not_null(pinned);
    cr_assert_eq(host_core_count(), before);
}

Test(host, open_files_are_raised_to_what_is_needed_and_not_lowered)
{
    struct rlimit limit = {100, 200};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    uint64_t reached;
    char text[512] = "";
    cr_assert_eq(host_raise_open_files(150, &reached, text, sizeof text), RESULT_OK, "%s", text);
    cr_assert_eq(reached, 150);
    cr_assert_eq(host_raise_open_files(50, &reached, text, sizeof text), RESULT_OK);
    cr_assert_eq(reached, 150);
    getrlimit(RLIMIT_NOFILE, &limit);
    cr_assert_eq(limit.rlim_cur, 150);
}

Test(host, open_files_beyond_what_the_kernel_allows_are_refused_with_the_remedy)
{
    uint64_t reached = 0;
    char text[512] = "";
    /* Above fs.nr_open, which no privilege passes. */
    cr_assert_eq(host_raise_open_files(UINT64_C(1) << 40, &reached, text, sizeof text), RESULT_BUSY);
    cr_assert_gt(reached, 0);
    cr_assert_not_null(strstr(text, "LimitNOFILE=1099511627776"), "%s", text);
}

Test(host, locked_memory_reaches_at_least_the_hard_limit)
{
    struct rlimit limit;
    getrlimit(RLIMIT_MEMLOCK, &limit);
    rlim_t hard = limit.rlim_max;
    limit.rlim_cur = 65536;
    cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    uint64_t reached = host_raise_locked_memory();
    getrlimit(RLIMIT_MEMLOCK, &limit);
    cr_assert_geq(limit.rlim_cur, hard);
    cr_assert_eq(reached, limit.rlim_cur);
}

Test(host, a_write_past_the_limit_of_a_file_is_an_error)
{
    struct rlimit limit = {4096, 4096};
    cr_assert_eq(host_limit(HOST_FILE_SIZE), HOST_UNLIMITED);
    FILE *file = tmpfile();
    host_ignore_file_size_signal();
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(host_limit(HOST_FILE_SIZE), 4096);
    cr_assert_eq(pwrite(fileno(file), "x", 1, 4096), -1);
    cr_assert_eq(result_from_errno(errno), RESULT_FULL);
    fclose(file);
}
