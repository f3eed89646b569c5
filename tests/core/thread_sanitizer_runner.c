/* tests/core/thread_sanitizer_runner.c - runs this program's Criterion tests without Criterion's runner, which cannot
 * start under ThreadSanitizer: it maps its arena at addresses of its own choice and the sanitizer's memory is already
 * there. In a build without -fsanitize=thread this file is empty and Criterion runs the tests as always. The few
 * functions that a test calls are defined here and so take the place of the library's. One process per test, one at a
 * time; .init, .fini, .signal, .exit_code, .timeout and .disabled mean what they mean to Criterion. */
#ifdef __SANITIZE_THREAD__

#include "core/check.h"
#include <criterion/criterion.h>
#include <criterion/stats.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAILED_EXIT_CODE        77
#define TIMEOUT_DEFAULT_SECONDS 120

/* The linker makes these for every section whose name is a C identifier. */
extern struct criterion_test *__start_cr_tst[], *__stop_cr_tst[];
extern struct criterion_suite *__start_cr_sts[], *__stop_cr_sts[];

static const struct criterion_test *running;
static const struct criterion_test_extra_data *running_suite;
static bool running_failed;

void criterion_send_assert(struct criterion_assert_stats *stats)
{
    if (stats->passed) return;
    running_failed = true;
    fprintf(stderr, "%s:%u: %s/%s: %s\n", stats->file, stats->line, running->category, running->name, stats->message);
}

void criterion_abort_test(void)
{
    _exit(FAILED_EXIT_CODE);
}
void criterion_continue_test(void) {}

void criterion_internal_test_setup(void)
{
    if (running_suite != NULL && running_suite->init != NULL) running_suite->init();
    if (running->data->init != NULL) running->data->init();
}

void criterion_internal_test_main(void (*test)(void))
{
    test();
}

void criterion_internal_test_teardown(void)
{
    if (running->data->fini != NULL) running->data->fini();
    if (running_suite != NULL && running_suite->fini != NULL) running_suite->fini();
}

static const struct criterion_test_extra_data *suite_of(const struct criterion_test *test)
{
    for (struct criterion_suite **suite = __start_cr_sts; suite < __stop_cr_sts; suite++)
        if (*suite != NULL && strcmp((*suite)->name, test->category) == 0) return (*suite)->data;
    return NULL;
}

static int run_in_child(void)
{
    double timeout = running->data->timeout > 0 ? running->data->timeout : TIMEOUT_DEFAULT_SECONDS;
    alarm((unsigned)timeout + 1);
    running->test();
    exit(running_failed ? FAILED_EXIT_CODE : 0); /* not _exit: the sanitizer reports a leaked thread at exit */
}

/* True when the test ended the way it said it would. */
static bool run(const struct criterion_test *test)
{
    running = test;
    running_suite = suite_of(test);
    fflush(NULL);
    pid_t child = fork();
    ASSERT(child >= 0);
    if (child == 0) run_in_child();
    int status;
    ASSERT(waitpid(child, &status, 0) == child);
    int signal_want = test->data->signal;
    if (signal_want != 0) return WIFSIGNALED(status) && WTERMSIG(status) == signal_want;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) printf("%s::%s takes too long\n", test->category, test->name);
    return WIFEXITED(status) && WEXITSTATUS(status) == test->data->exit_code;
}

int main(void)
{
    unsigned tested = 0, failed = 0;
    for (struct criterion_test **test = __start_cr_tst; test < __stop_cr_tst; test++) {
        if (*test == NULL || (*test)->data->disabled) continue;
        bool passed = run(*test);
        tested++;
        if (!passed) failed++;
        printf("%s - %s::%s\n", passed ? "ok" : "not ok", (*test)->category, (*test)->name);
    }
    printf("ThreadSanitizer: tested %u, failed %u\n", tested, failed);
    return tested == 0 || failed > 0 ? 1 : 0;
}

#else
extern int thread_sanitizer_runner_is_empty; /* C wants one declaration in a file */
#endif
