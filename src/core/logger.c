/* core/logger.c - lines from many threads to stderr without a lock and without waiting.
 * Happy path: the writing thread formats its line into the next slot of its own ring, publishes it and rings the
 * doorbell; the logger thread renders whatever all rings hold as one batch and writes it with one system call. Failure:
 * a full ring drops the line and counts it; a line that cannot be written (stderr closed) is lost; a stderr that blocks
 * holds up the logger thread alone. A thread without a ring writes its line to stderr itself.
 *
 *   text of a slot:  message words key=value key="two words"       the value reaches to the next key= or to the end
 *   logfmt:          time=... level=info module=net thread=worker-0 message="..." key=value
 *   JSON:            {"time":"...","level":"info","module":"net","thread":"worker-0","message":"...","key":"value"} */
#include "core/logger.h"
#include "core/check.h"
#include "core/clock.h"
#include "core/cursor.h"
#include "core/doorbell.h"
#include "core/stack.h"
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define LOGGER_RINGS_MAX    1024 /* threads with a ring */
#define LOGGER_BATCH_MAX    (64u * 1024)
#define LOGGER_WAIT_MS      1000 /* a net under lost wake-ups */
#define LOGGER_NAME_MAX     16
#define LOGGER_CUT_MARK     "..."
#define LOGGER_RENDERED_MAX (LOGGER_LINE_MAX * 8 + 256) /* every byte escaped */

struct logger_line {
    uint64_t time_ms;
    const char *module;
    enum logger_level level;
    uint32_t len;
    char text[LOGGER_LINE_MAX];
};

struct logger_ring {
    char name[LOGGER_NAME_MAX];

    /* the writing thread */
    _Alignas(64) _Atomic uint32_t tail; /* release: the line is whole before the logger sees it */
    uint32_t head_copy;

    /* the logger thread */
    _Alignas(64) _Atomic uint32_t head; /* release: the line was read before its slot is filled again */

    _Alignas(64) struct logger_line lines[LOGGER_RING_LINES];
};
_Static_assert((LOGGER_RING_LINES & (LOGGER_RING_LINES - 1)) == 0, "positions wrap by mask");

static struct {
    _Atomic int level, format;
    _Atomic uint64_t dropped_count;
    uint64_t dropped_told; /* logger thread */

    atomic_bool running, stopping;
    pthread_t thread;
    struct doorbell bell;

    pthread_mutex_t attach_lock; /* orders the threads that attach; the logger thread reads rings below ring_count */
    struct logger_ring *rings[LOGGER_RINGS_MAX];
    _Atomic uint32_t ring_count;
    _Atomic uint32_t run; /* grows at every stop, so that a thread knows its ring is gone */
} logger = {.level = LOGGER_INFO, .attach_lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local struct {
    struct logger_ring *ring;
    uint32_t run;
} attached;

/* ---- rendering ------------------------------------------------------------------------------------- */

static void put(struct writer *out, const char *text)
{
    writer_raw(out, text, strlen(text));
}

/* Length of the valid UTF-8 sequence at `at`, 0 when it is none. */
static uint32_t utf8_sequence_len(const uint8_t *at, uint32_t left)
{
    uint32_t len = 0;
    if (at[0] < 0x80)
        len = 1;
    else if (at[0] >= 0xc2 && at[0] < 0xe0)
        len = 2;
    else if (at[0] >= 0xe0 && at[0] < 0xf0)
        len = 3;
    else if (at[0] >= 0xf0 && at[0] < 0xf5)
        len = 4;
    if (len > left) return 0;
    for (uint32_t i = 1; i < len; i++)
        if ((at[i] & 0xc0) != 0x80) return 0;
    if (len == 3 && ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] >= 0xa0))) return 0;
    if (len == 4 && ((at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] >= 0x90))) return 0;
    return len;
}

/* Between quotes; the escapes are JSON's, which logfmt readers understand too. No byte of a peer can end the line. */
static void put_quoted(struct writer *out, struct slice text)
{
    writer_u8(out, '"');
    for (uint32_t i = 0; i < text.len;) {
        uint8_t byte = text.data[i];
        uint32_t len = utf8_sequence_len(text.data + i, text.len - i);
        char escape[8];
        if (byte == '"' || byte == '\\')
            snprintf(escape, sizeof escape, "\\%c", byte);
        else if (byte < 0x20 || byte == 0x7f)
            snprintf(escape, sizeof escape, "\\u%04x", byte);
        else if (len == 0)
            snprintf(escape, sizeof escape, "\\ufffd");
        else
            escape[0] = '\0';
        if (escape[0] != '\0')
            put(out, escape);
        else
            writer_raw(out, text.data + i, len);
        i += len == 0 ? 1 : len;
    }
    writer_u8(out, '"');
}

static bool is_plain(struct slice text)
{
    for (uint32_t i = 0; i < text.len; i++)
        if (text.data[i] <= ' ' || text.data[i] >= 0x7f || strchr("\"\\=", text.data[i]) != NULL) return false;
    return text.len > 0;
}

/* A JSON number that no reader rounds: at most 15 digits. */
static bool is_number(struct slice text)
{
    uint32_t start = text.len > 1 && text.data[0] == '-' ? 1 : 0;
    if (text.len == start || text.len - start > 15) return false;
    for (uint32_t i = start; i < text.len; i++)
        if (!isdigit(text.data[i])) return false;
    return text.data[start] != '0' || text.len == start + 1;
}

static void put_pair(struct writer *out, enum logger_format format, struct slice key, struct slice value)
{
    bool json = format == LOGGER_JSON;
    writer_u8(out, json ? ',' : ' ');
    if (json)
        put_quoted(out, key);
    else
        writer_raw(out, key.data, key.len);
    writer_u8(out, json ? ':' : '=');
    if (json ? is_number(value) : is_plain(value))
        writer_raw(out, value.data, value.len);
    else
        put_quoted(out, value);
}

/* Length of the key when `at` begins a key=, else 0. */
static uint32_t key_len(const char *at, const char *end)
{
    uint32_t len = 0;
    if (at == end || !islower((unsigned char)*at)) return 0;
    while (at + len < end && (islower((unsigned char)at[len]) || isdigit((unsigned char)at[len]) || at[len] == '_'))
        len++;
    return at + len < end && at[len] == '=' ? len : 0;
}

/* Where the next " key=" begins (at its space), or `end`. */
static const char *find_next_key(const char *at, const char *end)
{
    bool quoted = false;
    for (; at < end; at++) {
        if (*at == '"') quoted = !quoted;
        if (*at == ' ' && !quoted && key_len(at + 1, end) > 0) return at;
    }
    return end;
}

static struct slice unquote(const char *from, const char *to)
{
    if (to - from >= 2 && from[0] == '"' && to[-1] == '"') return slice_of(from + 1, (size_t)(to - from) - 2);
    return slice_of(from, (size_t)(to - from));
}

static void put_text(struct writer *out, enum logger_format format, const char *text, const char *end)
{
    const char *at = key_len(text, end) > 0 ? text : find_next_key(text, end);
    if (at > text) put_pair(out, format, SLICE_TEXT("message"), slice_of(text, (size_t)(at - text)));
    while (at < end) {
        if (*at == ' ') at++;
        uint32_t len = key_len(at, end);
        const char *value = at + len + 1, *next = find_next_key(value, end);
        put_pair(out, format, slice_of(at, len), unquote(value, next));
        at = next;
    }
}

static void put_time(struct writer *out, uint64_t time_ms)
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    char text[40];
    size_t len = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + len, sizeof text - len, ".%03uZ", (unsigned)(time_ms % 1000));
    put(out, text);
}

static void render(struct writer *out, const struct logger_line *line, const char *thread_name)
{
    static const char *const level_texts[] = {"debug", "info", "warn", "error"};
    enum logger_format format = (enum logger_format)atomic_load_explicit(&logger.format, memory_order_relaxed);
    bool json = format == LOGGER_JSON;
    put(out, json ? "{\"time\":\"" : "time=");
    put_time(out, line->time_ms);
    if (json) put(out, "\"");
    put_pair(out, format, SLICE_TEXT("level"), slice_text(level_texts[line->level]));
    put_pair(out, format, SLICE_TEXT("module"), slice_text(line->module));
    if (thread_name[0] != '\0') put_pair(out, format, SLICE_TEXT("thread"), slice_text(thread_name));
    put_text(out, format, line->text, line->text + line->len);
    put(out, json ? "}\n" : "\n");
}

/* ---- the logger thread ----------------------------------------------------------------------------- */

static void write_out(struct writer *out)
{
    const uint8_t *at = out->data;
    size_t left = out->len;
    while (left > 0) {
        ssize_t written = write(STDERR_FILENO, at, left);
        if (written > 0) {
            at += written;
            left -= (size_t)written;
        } else if (written < 0 && errno == EAGAIN) {
            struct pollfd poll_fd = {.fd = STDERR_FILENO, .events = POLLOUT};
            poll(&poll_fd, 1, LOGGER_WAIT_MS);
        } else if (errno != EINTR) {
            break; /* nobody reads the log; serving goes on */
        }
    }
    writer_reset(out);
}

static bool ring_readable(const struct logger_ring *ring)
{
    return atomic_load_explicit(&ring->head, memory_order_relaxed) !=
           atomic_load_explicit(&ring->tail, memory_order_acquire);
}

static bool drain_ring(struct logger_ring *ring, struct writer *out)
{
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    bool any = head != tail;
    for (; head != tail; head++) {
        if (out->len > LOGGER_BATCH_MAX) write_out(out);
        render(out, &ring->lines[head % LOGGER_RING_LINES], ring->name);
        atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    }
    return any;
}

static void tell_dropped(struct writer *out)
{
    uint64_t dropped = atomic_load_explicit(&logger.dropped_count, memory_order_relaxed);
    if (dropped == logger.dropped_told) return;
    struct logger_line line = {.time_ms = clock_wall_ms(), .module = "logger", .level = LOGGER_WARN};
    line.len = (uint32_t)snprintf(line.text, sizeof line.text, "lines dropped, the log is read too slowly count=%llu",
                                  (unsigned long long)(dropped - logger.dropped_told));
    logger.dropped_told = dropped;
    render(out, &line, "");
}

static bool drain(struct writer *out)
{
    bool any = false;
    uint32_t count = atomic_load_explicit(&logger.ring_count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++) any = drain_ring(logger.rings[i], out) || any;
    tell_dropped(out);
    if (out->len > 0) write_out(out);
    return any;
}

static bool anything_readable(void)
{
    uint32_t count = atomic_load_explicit(&logger.ring_count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++)
        if (ring_readable(logger.rings[i])) return true;
    return false;
}

static void *logger_run(void *argument)
{
    (void)argument;
    struct writer out;
    stack_enter();
    writer_init(&out, 0);
    for (;;) {
        /* Read before draining: what was written before the stop is then drained after it. */
        bool stopping = atomic_load_explicit(&logger.stopping, memory_order_acquire);
        if (drain(&out)) continue;
        if (stopping) break;
        doorbell_sleep(&logger.bell);
        if (!anything_readable() && !atomic_load_explicit(&logger.stopping, memory_order_acquire))
            doorbell_wait(&logger.bell, LOGGER_WAIT_MS);
        doorbell_awake(&logger.bell);
    }
    writer_deinit(&out);
    return NULL;
}

/* ---- start, stop, attach --------------------------------------------------------------------------- */

enum result logger_start(enum logger_level level, enum logger_format format)
{
    ASSERT(!atomic_load(&logger.running));
    atomic_store(&logger.level, (int)level);
    atomic_store(&logger.format, (int)format);
    atomic_store(&logger.stopping, false);
    enum result res = doorbell_init(&logger.bell);
    if (res != RESULT_OK) return res;
    /* The thread takes no signals: they belong to the main thread, and a closed stderr is an error of write(). */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int error = pthread_create(&logger.thread, NULL, logger_run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        doorbell_deinit(&logger.bell);
        return result_from_errno(error);
    }
    pthread_setname_np(logger.thread, "logger");
    atomic_store(&logger.running, true);
    return RESULT_OK;
}

void logger_stop(void)
{
    if (!atomic_load(&logger.running)) return;
    atomic_store_explicit(&logger.stopping, true, memory_order_release);
    doorbell_ring(&logger.bell);
    pthread_join(logger.thread, NULL);
    atomic_store(&logger.running, false);
    atomic_fetch_add(&logger.run, 1);
    uint32_t count = atomic_exchange(&logger.ring_count, 0);
    for (uint32_t i = 0; i < count; i++) {
        free(logger.rings[i]);
        logger.rings[i] = NULL;
    }
    doorbell_deinit(&logger.bell);
}

static struct logger_ring *attached_ring(void)
{
    if (attached.ring == NULL || attached.run != atomic_load_explicit(&logger.run, memory_order_relaxed)) return NULL;
    return attached.ring;
}

enum result logger_attach(const char *name)
{
    ASSERT(atomic_load(&logger.running) && attached_ring() == NULL && strlen(name) < LOGGER_NAME_MAX);
    struct logger_ring *ring = aligned_alloc(64, sizeof *ring);
    if (ring == NULL) return RESULT_NOMEM;
    /* Field by field: the lines stay untouched, and so unbacked by memory, until they are used. */
    snprintf(ring->name, sizeof ring->name, "%s", name);
    atomic_init(&ring->tail, 0);
    atomic_init(&ring->head, 0);
    ring->head_copy = 0;
    pthread_mutex_lock(&logger.attach_lock);
    uint32_t index = atomic_load_explicit(&logger.ring_count, memory_order_relaxed);
    bool fits = index < LOGGER_RINGS_MAX;
    if (fits) {
        logger.rings[index] = ring;
        /* Release: the ring is whole before the logger thread sees it. */
        atomic_store_explicit(&logger.ring_count, index + 1, memory_order_release);
    }
    pthread_mutex_unlock(&logger.attach_lock);
    if (!fits) {
        free(ring);
        return RESULT_BUSY;
    }
    attached.ring = ring;
    attached.run = atomic_load(&logger.run);
    return RESULT_OK;
}

uint64_t logger_dropped_count(void)
{
    return atomic_load_explicit(&logger.dropped_count, memory_order_relaxed);
}

bool logger_enabled(enum logger_level level)
{
    return (int)level >= atomic_load_explicit(&logger.level, memory_order_relaxed);
}

/* ---- writing --------------------------------------------------------------------------------------- */

__attribute__((format(printf, 4, 0))) static void line_fill(struct logger_line *line, enum logger_level level,
                                                            const char *module, const char *format, va_list arguments)
{
    line->time_ms = clock_wall_ms();
    line->module = module;
    line->level = level;
    int wanted = vsnprintf(line->text, sizeof line->text, format, arguments);
    ASSERT(wanted >= 0);
    line->len = (uint32_t)wanted;
    if (line->len < sizeof line->text) return;
    line->len = sizeof line->text - 1;
    memcpy(line->text + line->len - strlen(LOGGER_CUT_MARK), LOGGER_CUT_MARK, strlen(LOGGER_CUT_MARK));
}

static void write_directly(const struct logger_line *line)
{
    struct writer out;
    writer_init(&out, LOGGER_RENDERED_MAX);
    render(&out, line, "");
    if (out.len > 0) write_out(&out);
    writer_deinit(&out);
}

void logger_write(enum logger_level level, const char *module, const char *format, ...)
{
    if (!logger_enabled(level)) return;
    struct logger_ring *ring = attached_ring();
    va_list arguments;
    va_start(arguments, format);
    if (ring == NULL) {
        struct logger_line line;
        line_fill(&line, level, module, format, arguments);
        write_directly(&line);
        va_end(arguments);
        return;
    }
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (tail - ring->head_copy == LOGGER_RING_LINES)
        ring->head_copy = atomic_load_explicit(&ring->head, memory_order_acquire);
    if (tail - ring->head_copy == LOGGER_RING_LINES) {
        atomic_fetch_add_explicit(&logger.dropped_count, 1, memory_order_relaxed);
    } else {
        line_fill(&ring->lines[tail % LOGGER_RING_LINES], level, module, format, arguments);
        atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
        doorbell_ring(&logger.bell);
    }
    va_end(arguments);
}
