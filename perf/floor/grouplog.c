/* perf/floor/grouplog.c - see the header. Happy path: append ... -> grouplog_write() at the end of the turn -> grouplog_on_written() ->
 * every message of the group is delivered and acknowledged, and the turn that does it starts the next group. */
#include "perf/floor/floor.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define GROUP_SIZE_MAX (64u << 20)
#define LOG_BLOCK_SIZE 4096u
#define GROUP_MAGIC    0x30676f6c6f6f6c66ull /* "floolog0" */
#define RECORD_HEAD    5u
#define ZERO_CHUNK     (1u << 20)

struct group_header {
    uint64_t magic, number, checksum;
    uint32_t records_size, record_count;
};

struct group {
    uint8_t *bytes; /* GROUP_SIZE_MAX, aligned for O_DIRECT; the kernel gives memory to what is used only */
    size_t used;    /* header and records */
    struct connection **publishers; /* of each record, in order */
    uint32_t record_count, publishers_capacity;
};

struct grouplog {
    int fd;
    size_t file_size, offset, write_size;
    uint64_t number;
    bool write_in_flight;
    struct group groups[2], *filling, *writing;
};

static size_t blocks(size_t size) { return (size + LOG_BLOCK_SIZE - 1) / LOG_BLOCK_SIZE * LOG_BLOCK_SIZE; }

static uint8_t *group_memory(void)
{
    uint8_t *memory = mmap(NULL, GROUP_SIZE_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) floor_die("mmap: %s", strerror(errno));
    return memory;
}

/* Zeros that are really written: an extent that was only reserved costs a journal commit when it is written first. */
static void fill_with_zeros(int fd, const char *path, size_t size_bytes)
{
    uint8_t *zeros = group_memory();
    for (size_t at = 0; at < size_bytes; at += ZERO_CHUNK)
        if (pwrite(fd, zeros, ZERO_CHUNK, (off_t)at) != (ssize_t)ZERO_CHUNK) floor_die("%s: %s", path, strerror(errno));
    if (fsync(fd) != 0) floor_die("%s: %s", path, strerror(errno));
    (void)munmap(zeros, GROUP_SIZE_MAX);
}

struct grouplog *grouplog_open(const char *path, size_t size_bytes)
{
    struct stat status;
    struct grouplog *log = calloc(1, sizeof *log);
    if (log == NULL) floor_die("out of memory");
    log->fd = open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
    if (log->fd < 0 || fstat(log->fd, &status) != 0) floor_die("%s: %s", path, strerror(errno));
    if ((size_t)status.st_size < size_bytes) fill_with_zeros(log->fd, path, size_bytes);
    log->file_size = size_bytes;
    for (int i = 0; i < 2; i++) log->groups[i] = (struct group){.bytes = group_memory(), .used = sizeof(struct group_header)};
    log->filling = &log->groups[0];
    log->writing = &log->groups[1];
    return log;
}

void grouplog_append(struct grouplog *log, struct connection *publisher, uint8_t flags, const void *body, size_t body_len)
{
    struct group *group = log->filling;
    uint32_t size = (uint32_t)body_len;
    if (blocks(group->used + RECORD_HEAD + size) > GROUP_SIZE_MAX || blocks(group->used + RECORD_HEAD + size) > log->file_size)
        floor_die("more than a group of the log is under way");
    if (group->record_count == group->publishers_capacity) {
        group->publishers_capacity = group->publishers_capacity == 0 ? 1024 : group->publishers_capacity * 2;
        group->publishers = realloc(group->publishers, group->publishers_capacity * sizeof(struct connection *));
        if (group->publishers == NULL) floor_die("out of memory");
    }
    uint8_t *record = group->bytes + group->used;
    memcpy(record, &size, sizeof size);
    record[sizeof size] = flags;
    memcpy(record + RECORD_HEAD, body, body_len);
    group->used += RECORD_HEAD + body_len;
    group->publishers[group->record_count++] = publisher;
    publisher->logged_count++;
}

void grouplog_write(struct grouplog *log, struct floor *floor)
{
    struct group *group = log->filling;
    if (log->write_in_flight || group->record_count == 0) return;
    log->filling = log->writing;
    log->writing = group;
    log->write_in_flight = true;
    log->write_size = blocks(group->used);
    memset(group->bytes + group->used, 0, log->write_size - group->used);
    struct group_header header = {.magic = GROUP_MAGIC, .number = log->number++, .record_count = group->record_count};
    header.records_size = (uint32_t)(group->used - sizeof header);
    header.checksum = XXH3_64bits(group->bytes + sizeof header, header.records_size);
    memcpy(group->bytes, &header, sizeof header);
    if (log->offset + log->write_size > log->file_size) log->offset = 0;
    struct io_uring_sqe *sqe = floor_sqe(floor);
    io_uring_prep_write(sqe, log->fd, group->bytes, (unsigned)log->write_size, log->offset);
    sqe->rw_flags = RWF_DSYNC;
    floor_tag(sqe, OPERATION_LOG, NULL);
    log->offset += log->write_size;
}

void grouplog_on_written(struct grouplog *log, struct floor *floor, int result)
{
    struct group *group = log->writing;
    if (result != (int)log->write_size) floor_die("log: %s", result < 0 ? strerror(-result) : "short write");
    log->write_in_flight = false;
    const uint8_t *record = group->bytes + sizeof(struct group_header);
    for (uint32_t i = 0; i < group->record_count; i++) {
        uint32_t size;
        memcpy(&size, record, sizeof size);
        packets_on_durable(floor, group->publishers[i], record[sizeof size], (struct slice){record + RECORD_HEAD, size});
        group->publishers[i]->logged_count--;
        connection_release(floor, group->publishers[i]);
        record += RECORD_HEAD + size;
    }
    group->record_count = 0;
    group->used = sizeof(struct group_header);
}
