/* tests/perf/process_test.c - a server is its process with all its descendants. */
#include "perf/perf.h"
#include "perf/process.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define HELD ((size_t)32 << 20)

/* A child that holds so much memory and a child of its own, until it is killed. */
static pid_t start_tree(void)
{
    int ready[2];
    char byte;
    cr_assert_eq(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)setpgid(0, 0);
        pid_t grandchild = fork();
        if (grandchild == 0) {
            char *held = malloc(HELD);
            memset(held, 1, HELD);
            (void)!write(ready[1], held, 1);
        }
        for (;;) pause();
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

Test(process, the_memory_of_descendants_counts)
{
    pid_t pid = start_tree();
    cr_expect_geq(process_memory(pid).resident_bytes, HELD);
    cr_expect_geq(process_memory(getpid()).resident_bytes, HELD);
    (void)kill(-pid, SIGKILL); /* its group */
    (void)waitpid(pid, NULL, 0);
    cr_expect_eq(process_memory(pid).resident_bytes, 0);
}

Test(process, nobody_has_spent_nothing)
{
    struct spent spent = process_spent(0);
    cr_expect_eq(spent.server_user_ns + spent.server_system_ns, 0);
    cr_expect_gt(spent.at_ns, 0);
}

Test(process, cost_is_the_difference)
{
    struct spent before = {.server_user_ns = NS_PER_S, .server_system_ns = 5, .generator_user_ns = 7, .at_ns = 10};
    struct spent after = {.server_user_ns = 3 * NS_PER_S, .server_system_ns = 5, .generator_user_ns = 6, .at_ns = 10 + NS_PER_S};
    struct cost cost = process_cost(&before, &after);
    cr_expect_eq(cost.seconds, 1.0);
    cr_expect_eq(cost.server_user_s, 2.0);
    cr_expect_eq(cost.server_system_s, 0.0);
    cr_expect_eq(cost.generator_user_s, 0.0); /* a process that is gone has spent nothing, not less than nothing */
}
