/* tests/core/logger_test.c - what a line looks like, that no line of a healthy log is lost, that a blocked log blocks
 * nobody. */
#include "core/logger.h"
#include "core/check.h"
#include "core/log_capture.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char *log_one(const char *format_text)
{
    capture_start();
    logger_write(LOGGER_WARN, "net", "%s", format_text);
    return capture_end();
}

static const struct {
    const char *name, *text, *logfmt, *json;
} lines[] = {
    {"words only", "listening", "message=listening", "\"message\":\"listening\""},
    {"words and pairs", "closed by peer reason=reset bytes=12", "message=\"closed by peer\" reason=reset bytes=12",
     "\"message\":\"closed by peer\",\"reason\":\"reset\",\"bytes\":12"},
    {"pairs only", "bytes=12", "bytes=12", "\"bytes\":12"},
    {"quoted value", "opened path=\"/a b/c=d\" n=1", "message=opened path=\"/a b/c=d\" n=1",
     "\"message\":\"opened\",\"path\":\"/a b/c=d\",\"n\":1"},
    {"value of several words", "failed error=no such file fd=3", "message=failed error=\"no such file\" fd=3",
     "\"message\":\"failed\",\"error\":\"no such file\",\"fd\":3"},
    {"a large id stays exact", "x id=12345678901234567890", "message=x id=12345678901234567890",
     "\"message\":\"x\",\"id\":\"12345678901234567890\""},
    {"negative and leading zero", "x a=-5 b=05", "message=x a=-5 b=05", "\"message\":\"x\",\"a\":-5,\"b\":\"05\""},
    {"empty value", "x a= b=1", "message=x a=\"\" b=1", "\"message\":\"x\",\"a\":\"\",\"b\":1"},
    {"a line break cannot forge a line", "x name=\"a\nlevel=error\"", "message=x name=\"a\\u000alevel=error\"",
     "\"message\":\"x\",\"name\":\"a\\u000alevel=error\""},
    {"UTF-8 passes, other bytes are replaced", "x a=\"h\xc3\xa9\xff\xed\xa0\x80\"",
     "message=x a=\"h\xc3\xa9\\ufffd\\ufffd\\ufffd\\ufffd\"",
     "\"message\":\"x\",\"a\":\"h\xc3\xa9\\ufffd\\ufffd\\ufffd\\ufffd\""},
    {"nothing", "", "", ""},
};

Test(logger, logfmt_lines)
{
    cr_assert_eq(logger_start(LOGGER_INFO, LOGGER_LOGFMT), RESULT_OK);
    logger_stop();
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        char want[512], *got = log_one(lines[i].text);
        snprintf(want, sizeof want, " level=warn module=net%s%s\n", lines[i].logfmt[0] ? " " : "", lines[i].logfmt);
        cr_expect_eq(strncmp(got, "time=20", 7), 0, "%s", got);
        cr_expect_str_eq(strchr(got, ' '), want, "%s", lines[i].name);
        free(got);
    }
}

Test(logger, json_lines)
{
    cr_assert_eq(logger_start(LOGGER_INFO, LOGGER_JSON), RESULT_OK);
    logger_stop();
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        char want[512], *got = log_one(lines[i].text);
        snprintf(want, sizeof want, ",\"level\":\"warn\",\"module\":\"net\"%s%s}\n", lines[i].json[0] ? "," : "",
                 lines[i].json);
        cr_expect_str_eq(strchr(got, ','), want, "%s", lines[i].name);
        json_t *parsed = json_loads(got, JSON_REJECT_DUPLICATES, NULL);
        cr_expect_not_null(parsed, "%s", got);
        cr_expect_eq(strlen(json_string_value(json_object_get(parsed, "time"))), strlen("2024-01-01T00:00:00.000Z"));
        json_decref(parsed);
        free(got);
    }
}

Test(logger, a_long_line_is_cut_and_marked)
{
    char longer[4 * LOGGER_LINE_MAX];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    char *got = log_one(longer);
    size_t len = strlen(got);
    cr_assert_leq(len, LOGGER_LINE_MAX + 100);
    cr_assert_str_eq(got + len - 5, "a...\n");
    free(got);
}

Test(logger, a_line_below_the_level_is_not_written)
{
    cr_assert_eq(logger_start(LOGGER_WARN, LOGGER_LOGFMT), RESULT_OK);
    logger_stop();
    cr_assert_not(logger_enabled(LOGGER_DEBUG));
    cr_assert(logger_enabled(LOGGER_ERROR));
    capture_start();
    LOG_DEBUG("net", "no");
    LOG_INFO("net", "no");
    LOG_WARN("net", "yes");
    LOG_ERROR("net", "yes");
    char *got = capture_end();
    cr_assert_null(strstr(got, "message=no"));
    cr_assert_not_null(strstr(got, "level=warn module=net message=yes"));
    cr_assert_not_null(strstr(got, "level=error module=net message=yes"));
    free(got);
}

enum { THREADS = 3, LINES = LOGGER_RING_LINES - 1 };
static void *writer_run(void *argument)
{
    char name[16];
    snprintf(name, sizeof name, "writer-%d", *(int *)argument);
    if (logger_attach(name) != RESULT_OK) return NULL;
    for (int i = 0; i < LINES; i++) LOG_INFO("test", "line number=%d", i);
    return argument;
}

Test(logger, threads_lose_nothing_and_keep_their_order)
{
    for (int round = 0; round < 2; round++) { /* a stopped logger starts again */
        capture_start();
        cr_assert_eq(logger_start(LOGGER_INFO, LOGGER_LOGFMT), RESULT_OK);
        pthread_t threads[THREADS];
        int numbers[THREADS];
        for (int i = 0; i < THREADS; i++) {
            numbers[i] = i;
            cr_assert_eq(pthread_create(&threads[i], NULL, writer_run, &numbers[i]), 0);
        }
        for (int i = 0; i < THREADS; i++) {
            void *attached;
            pthread_join(threads[i], &attached);
            cr_assert_not_null(attached);
        }
        logger_stop();
        char *got = capture_end(), *rest = got;
        int next[THREADS] = {0};
        for (char *line; (line = strsep(&rest, "\n")) != NULL && line[0] != '\0';) {
            int thread = -1, number = -1;
            char *at = strstr(line, "thread=writer-");
            cr_assert_not_null(at, "%s", line);
            cr_assert_eq(sscanf(at, "thread=writer-%d message=line number=%d", &thread, &number), 2, "%s", line);
            cr_assert(thread >= 0 && thread < THREADS);
            cr_assert_eq(number, next[thread]++, "thread %d", thread);
        }
        for (int i = 0; i < THREADS; i++) cr_assert_eq(next[i], LINES);
        cr_assert_eq(logger_dropped_count(), 0);
        free(got);
    }
}

struct reader {
    int fd;
    size_t newlines, dropped;
};
static void *reader_run(void *argument)
{
    struct reader *reader = argument;
    FILE *file = fdopen(reader->fd, "r");
    char line[2048];
    while (fgets(line, sizeof line, file) != NULL) {
        size_t count;
        char *at = strstr(line, "count=");
        if (strstr(line, "module=logger") != NULL && at != NULL && sscanf(at, "count=%zu", &count) == 1)
            reader->dropped += count;
        else
            reader->newlines++;
    }
    fclose(file);
    return NULL;
}

/* The pipe is full and nobody reads: writing goes on, the excess is counted and the count is logged when there is room.
 */
Test(logger, a_blocked_log_blocks_nobody)
{
    enum { WRITTEN = 20 * LOGGER_RING_LINES };
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    int real_stderr = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    cr_assert_eq(logger_start(LOGGER_INFO, LOGGER_LOGFMT), RESULT_OK);
    cr_assert_eq(logger_attach("flood"), RESULT_OK);
    for (int i = 0; i < WRITTEN; i++) LOG_INFO("test", "line number=%d filler=%0100d", i, i);
    cr_assert_gt(logger_dropped_count(), 0);
    struct reader reader = {.fd = ends[0]};
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, reader_run, &reader), 0);
    logger_stop();
    dup2(real_stderr, STDERR_FILENO); /* the last writing end: the reader sees the end */
    pthread_join(thread, NULL);
    cr_assert_eq(reader.newlines + reader.dropped, WRITTEN, "%zu read, %zu dropped", reader.newlines, reader.dropped);
    cr_assert_eq(reader.dropped, logger_dropped_count());
}
