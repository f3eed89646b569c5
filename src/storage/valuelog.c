/* storage/valuelog.c - see valuelog.h.
 * Happy path: an append copies the value into a buffer, which is written when BUFFER_BYTES are in it; the kernel is told to begin with the
 * disk at once, so that the sync, which comes much later, finds little left to do.
 * Failure modes: without room on the disk the buffer stays and takes no more than it holds; the values in it can be read. A file that could not
 * be made is made by the next try. After a failed sync nobody knows what the disk holds: the caller ends the process. */
#include "storage/valuelog.h"
#include "core/check.h"
#include "core/logger.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define BUFFER_BYTES (256u << 10)
#define NAME_SIZE 24

struct valuelog {
    uint64_t file_size_bytes;
    bool read_only;
    int dir_fd;
    int *fds; /* by number of the file; -1: not open */
    uint32_t fd_count;
    uint32_t unsynced_from; /* files from here on may have bytes that are not on the disk */
    bool name_unsynced;     /* a file was made since the last sync */
    uint64_t written;       /* position; what comes after it is in the buffer */
    uint64_t synced;        /* position */
    struct writer buffer;   /* never over the end of a file */
    char path[];
};

static uint32_t file_of(const struct valuelog *log, uint64_t position) { return (uint32_t)(position / log->file_size_bytes); }
static uint64_t offset_of(const struct valuelog *log, uint64_t position) { return position % log->file_size_bytes; }
static void name_of(char name[NAME_SIZE], uint32_t number) { snprintf(name, NAME_SIZE, "values-%08u", number); }
static uint32_t check_of(struct slice value) { return (uint32_t)XXH3_64bits(value.data, value.len); }

uint64_t valuelog_end(const struct valuelog *log) { return log->written + log->buffer.len; }
uint64_t valuelog_synced_end(const struct valuelog *log) { return log->synced; }

/* ---- files ---- */

static int file_open(const struct valuelog *log, uint32_t number, int flags)
{
    char name[NAME_SIZE];
    name_of(name, number);
    return openat(log->dir_fd, name, flags | O_CLOEXEC, 0600);
}

/* Place for the descriptor of file `number`. */
static int *fd_place(struct valuelog *log, uint32_t number)
{
    if (number >= log->fd_count) {
        int *fds = realloc(log->fds, (number + 1) * sizeof *fds);
        if (fds == NULL) check_fatal("out of memory for the values' files; the log holds everything");
        for (uint32_t i = log->fd_count; i <= number; i++) fds[i] = -1;
        log->fds = fds;
        log->fd_count = number + 1;
    }
    return &log->fds[number];
}

/* Opens what is there; it has at least `least` bytes, or it is damaged. */
static enum result file_find(struct valuelog *log, uint32_t number, uint64_t least, char *text, size_t text_size)
{
    struct stat status;
    int *fd = fd_place(log, number);
    char name[NAME_SIZE];
    name_of(name, number);
    *fd = file_open(log, number, log->read_only ? O_RDONLY : O_RDWR);
    if (*fd < 0 || fstat(*fd, &status) != 0) {
        enum result result = errno == ENOENT ? RESULT_CORRUPT : RESULT_IO;
        snprintf(text, text_size, "%s/%s: %s", log->path, name, errno == ENOENT ? "is missing" : strerror(errno));
        return result;
    }
    if ((uint64_t)status.st_size >= least) return RESULT_OK;
    snprintf(text, text_size, "%s/%s: ends at byte %lld, there were %llu", log->path, name, (long long)status.st_size, (unsigned long long)least);
    return RESULT_CORRUPT;
}

/* What came after the state that the store has. */
static enum result cut_behind(struct valuelog *log, uint64_t end, char *text, size_t text_size)
{
    uint32_t last = file_of(log, end);
    bool cut = offset_of(log, end) > 0;
    if (cut && ftruncate(log->fds[last], (off_t)offset_of(log, end)) != 0) {
        snprintf(text, text_size, "%s: values cannot be cut at %llu: %s", log->path, (unsigned long long)end, strerror(errno));
        return RESULT_IO;
    }
    for (uint32_t number = cut ? last + 1 : last;; number++) {
        char name[NAME_SIZE];
        name_of(name, number);
        if (unlinkat(log->dir_fd, name, 0) != 0) break;
    }
    return RESULT_OK;
}

static enum result find_files(struct valuelog *log, uint64_t end, char *text, size_t text_size)
{
    uint32_t last = file_of(log, end);
    enum result result = RESULT_OK;
    for (uint32_t number = 0; number < last && result == RESULT_OK; number++) result = file_find(log, number, 0, text, text_size);
    if (result == RESULT_OK && offset_of(log, end) > 0) result = file_find(log, last, offset_of(log, end), text, text_size);
    if (result == RESULT_OK && !log->read_only) result = cut_behind(log, end, text, text_size);
    return result;
}

enum result valuelog_open(struct valuelog **out, const struct valuelog_options *options, char *text, size_t text_size)
{
    *out = NULL;
    ASSERT(options->file_size_bytes > 0);
    size_t path_size = strlen(options->path) + 1;
    struct valuelog *log = calloc(1, sizeof *log + path_size);
    if (log == NULL) {
        snprintf(text, text_size, "%s: %s", options->path, result_text(RESULT_NOMEM));
        return RESULT_NOMEM;
    }
    memcpy(log->path, options->path, path_size);
    log->file_size_bytes = options->file_size_bytes;
    log->read_only = options->read_only;
    log->written = log->synced = options->end;
    log->unsynced_from = file_of(log, options->end);
    writer_init(&log->buffer, 0);
    log->dir_fd = open(options->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum result result = RESULT_OK;
    if (log->dir_fd < 0) {
        result = RESULT_IO;
        snprintf(text, text_size, "%s: %s", options->path, strerror(errno));
    }
    if (result == RESULT_OK) result = find_files(log, options->end, text, text_size);
    if (result != RESULT_OK) valuelog_close(log);
    else *out = log;
    return result;
}

void valuelog_close(struct valuelog *log)
{
    if (log == NULL) return;
    for (uint32_t i = 0; i < log->fd_count; i++)
        if (log->fds[i] >= 0) close(log->fds[i]);
    if (log->dir_fd >= 0) close(log->dir_fd);
    free(log->fds);
    writer_deinit(&log->buffer);
    free(log);
}

/* ---- writing ---- */

static enum result write_failed(const struct valuelog *log, const char *what)
{
    if (errno == ENOSPC || errno == EDQUOT) return RESULT_FULL;
    LOG_ERROR("store", "values cannot be written path=\"%s\" call=%s error=\"%s\"", log->path, what, strerror(errno));
    return RESULT_IO;
}

static enum result make_file(struct valuelog *log, uint32_t number)
{
    int *fd = fd_place(log, number);
    if (*fd >= 0) return RESULT_OK;
    *fd = file_open(log, number, O_RDWR | O_CREAT | O_TRUNC);
    if (*fd < 0) return write_failed(log, "open");
    log->name_unsynced = true;
    return RESULT_OK;
}

/* The buffer into its file. */
static enum result write_out(struct valuelog *log)
{
    if (log->buffer.len == 0) return RESULT_OK;
    uint32_t number = file_of(log, log->written);
    uint64_t offset = offset_of(log, log->written);
    enum result result = make_file(log, number);
    if (result != RESULT_OK) return result;
    for (size_t done = 0; done < log->buffer.len;) {
        ssize_t count = pwrite(log->fds[number], log->buffer.data + done, log->buffer.len - done, (off_t)(offset + done));
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return write_failed(log, "pwrite"); /* the next try writes it all once more */
        done += (size_t)count;
    }
    (void)sync_file_range(log->fds[number], (off_t)offset, (off_t)log->buffer.len, SYNC_FILE_RANGE_WRITE); /* begins; the sync finds out */
    log->written += log->buffer.len;
    writer_reset(&log->buffer);
    return RESULT_OK;
}

enum result valuelog_append(struct valuelog *log, struct slice value, struct valuelog_place *place)
{
    ASSERT(value.len > 0);
    if (log->read_only || value.len > log->file_size_bytes) return RESULT_FULL;
    uint64_t offset = offset_of(log, valuelog_end(log)), left = log->file_size_bytes - offset;
    bool fits = value.len <= left, begins = offset == 0; /* in this file; a file */
    if (!fits || begins || log->buffer.len >= BUFFER_BYTES) {
        enum result result = write_out(log);
        if (result != RESULT_OK) return result;
    }
    if (!fits) log->written += left;
    *place = (struct valuelog_place){.position = valuelog_end(log), .len = value.len, .check = check_of(value)};
    writer_raw(&log->buffer, value.data, value.len);
    if (log->buffer.failed) check_fatal("out of memory for values; the log holds everything");
    return RESULT_OK;
}

static enum result sync_failed(const struct valuelog *log)
{
    LOG_ERROR("store", "values cannot be synced path=\"%s\" error=\"%s\"", log->path, strerror(errno));
    return RESULT_IO;
}

enum result valuelog_sync(struct valuelog *log)
{
    if (log->read_only) return RESULT_OK;
    enum result result = write_out(log);
    if (result != RESULT_OK) return result;
    for (uint32_t number = log->unsynced_from; number < log->fd_count; number++)
        if (log->fds[number] >= 0 && fdatasync(log->fds[number]) != 0) return sync_failed(log);
    if (log->name_unsynced && fsync(log->dir_fd) != 0) return sync_failed(log);
    log->name_unsynced = false;
    log->unsynced_from = file_of(log, log->written);
    log->synced = log->written;
    return RESULT_OK;
}

/* ---- reading ---- */

static enum result read_file(const struct valuelog *log, const struct valuelog_place *place, uint8_t *bytes, char *text, size_t text_size)
{
    uint32_t number = file_of(log, place->position);
    uint64_t offset = offset_of(log, place->position);
    int fd = number < log->fd_count ? log->fds[number] : -1;
    size_t done = 0;
    ssize_t count = 1;
    while (fd >= 0 && done < place->len && count > 0) {
        count = pread(fd, bytes + done, place->len - done, (off_t)(offset + done));
        if (count < 0 && errno == EINTR) count = 1;
        else if (count > 0) done += (size_t)count;
    }
    if (done == place->len) return RESULT_OK;
    char name[NAME_SIZE];
    name_of(name, number);
    const char *why = fd < 0 ? "is missing" : count < 0 ? strerror(errno) : "ends before";
    snprintf(text, text_size, "%s/%s: value of %u bytes at %llu: %s", log->path, name, place->len, (unsigned long long)offset, why);
    return fd >= 0 && count < 0 && errno != EIO ? RESULT_IO : RESULT_CORRUPT;
}

enum result valuelog_read(const struct valuelog *log, const struct valuelog_place *place, struct writer *out, char *text, size_t text_size)
{
    uint8_t *bytes = writer_reserve(out, place->len);
    if (bytes == NULL) {
        snprintf(text, text_size, "%s", result_text(RESULT_NOMEM));
        return RESULT_NOMEM;
    }
    if (place->position >= log->written && place->position - log->written + place->len <= log->buffer.len) {
        memcpy(bytes, log->buffer.data + (place->position - log->written), place->len);
    } else {
        enum result result = read_file(log, place, bytes, text, text_size);
        if (result != RESULT_OK) return result;
    }
    if (check_of(slice_of(bytes, place->len)) == place->check) return RESULT_OK;
    char name[NAME_SIZE];
    name_of(name, file_of(log, place->position));
    snprintf(text, text_size, "%s/%s: value of %u bytes at %llu: its checksum does not match", log->path, name, place->len,
             (unsigned long long)offset_of(log, place->position));
    return RESULT_CORRUPT;
}
