/* storage/disk_uring.c - the real disk: segments as files of one directory, written through the worker's io_uring.
 *
 *   DIR/0000000000000007.log     live segment 7
 *   DIR/0000000000000003.spare   a retired segment, kept to be written again; its old bytes are still in it
 *   DIR/0000000000000000.spare   a spare made new, all zeros
 *   DIR/making                   a spare that is still being filled
 *   DIR/../SEGMENTS              "newest=7" and its checksum: written when segment 7 has its name. It stands beside DIR, not in it, so that
 *                                it does not go where the newest segments go, nor come with an old copy of them
 *
 * Happy path: the storage thread fills `making` a few MiB per call and renames it to a spare; open_segment writes the header
 * into a spare, syncs it, renames it and syncs the directory. Such a file has all its blocks written once, so a durable write
 * changes no metadata: one O_DIRECT write with RWF_DSYNC. Where the file system has no O_DIRECT: a buffered write, then
 * fdatasync.
 * Threads: the worker writes; open_segment, prepare_spare and retire run on the storage thread. They share only the table of
 * open descriptors, under a mutex held for a few instructions.
 * Failure modes: no space while filling a spare removes what was filled (so that others find room) and is FULL. Reads and
 * the cutting of the tail go through the page cache: only recovery uses them, before any direct write. */
#include "core/check.h"
#include "storage/disk.h"
#include "storage/wholefile.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of flash pages and of most physical sectors, even where the device takes 512: a smaller write would make it read, change and
 * write back a sector that also holds an acknowledged batch. */
#define DISK_BLOCK_SIZE 4096
#define DISK_FILL_SIZE (1u << 20)    /* bytes of zeros per write */
#define DISK_FILLS_PER_STEP 4        /* writes per prepare_spare call: some 5 ms on a plain SSD */
#define DISK_SPARES_MAX 64
#define DISK_OPEN_MAX 4              /* descriptors: the tail, the one before it for a moment, the ready ones */
#define DISK_NAME_SIZE 32
#define DISK_SPARE_NAME "%016" PRIx64 ".spare"
#define DISK_MAKING_NAME "making"
#define DISK_NOTE_NAME "SEGMENTS"
#define DISK_NOTE_SIZE_MAX 128

struct open_file {
    uint64_t number;
    int fd; /* -1: unused */
};

struct disk_uring {
    struct disk disk;
    struct io *io;
    int dir_fd;
    bool direct; /* O_DIRECT works here */
    char path[PATH_MAX];

    pthread_mutex_t open_mutex;
    struct open_file open_files[DISK_OPEN_MAX];

    /* Whoever prepares: the storage thread, or start-up before it. */
    bool spares_known;
    uint32_t spare_count, spare_count_max;
    uint64_t spares[DISK_SPARES_MAX];
    int making_fd; /* -1: nothing is being filled */
    uint64_t making_offset;
    uint8_t *zeros; /* aligned, DISK_FILL_SIZE */

    /* Recovery's last reader. */
    uint64_t read_number;
    int read_fd;
};

static struct disk_uring *disk_uring_of(struct disk *disk) { return CONTAINER_OF(disk, struct disk_uring, disk); }

/* ---- directory ------------------------------------------------------------------------------------------------------ */

/* True and *number set for "<16 hex digits><suffix>". */
static bool name_has_number(const char *name, const char *suffix, uint64_t *number)
{
    if (strlen(name) != 16 + strlen(suffix) || strcmp(name + 16, suffix) != 0) return false;
    uint64_t value = 0;
    for (int i = 0; i < 16; i++) {
        char c = name[i];
        if (c >= '0' && c <= '9') value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f') value = value << 4 | (uint64_t)(c - 'a' + 10);
        else return false;
    }
    *number = value;
    return true;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

/* The numbers of the files with `suffix`, ascending; the caller frees. */
static enum result disk_list_suffix(const struct disk_uring *disk, const char *suffix, uint64_t **numbers, uint32_t *count)
{
    *numbers = NULL;
    *count = 0;
    if (disk->dir_fd < 0) return RESULT_OK; /* only looked at, and not there */
    DIR *dir = opendir(disk->path);
    if (dir == NULL) return result_from_errno(errno);
    uint32_t capacity = 0;
    enum result result = RESULT_OK;
    for (struct dirent *entry; result == RESULT_OK && (entry = readdir(dir)) != NULL;) {
        uint64_t number;
        if (!name_has_number(entry->d_name, suffix, &number)) continue;
        if (*count == capacity) {
            capacity = capacity == 0 ? 64 : capacity * 2;
            uint64_t *grown = realloc(*numbers, capacity * sizeof **numbers);
            if (grown == NULL) result = RESULT_NOMEM;
            else *numbers = grown;
        }
        if (result == RESULT_OK) (*numbers)[(*count)++] = number;
    }
    closedir(dir);
    if (*count > 0) qsort(*numbers, *count, sizeof **numbers, compare_numbers);
    return result;
}

static enum result disk_list(struct disk *disk, uint64_t **numbers, uint32_t *count)
{
    return disk_list_suffix(disk_uring_of(disk), ".log", numbers, count);
}

static enum result disk_sync_directory(const struct disk_uring *disk)
{
    /* Whatever the reason, a failed sync leaves the directory's state unknown. */
    return fsync(disk->dir_fd) == 0 ? RESULT_OK : RESULT_IO;
}

static void segment_name(char name[DISK_NAME_SIZE], uint64_t number)
{
    snprintf(name, DISK_NAME_SIZE, DISK_SEGMENT_NAME, number);
}

static void spare_name(char name[DISK_NAME_SIZE], uint64_t number)
{
    snprintf(name, DISK_NAME_SIZE, DISK_SPARE_NAME, number);
}

/* ---- descriptors ---------------------------------------------------------------------------------------------------- */

static int disk_open_for_writing(const struct disk_uring *disk, const char *name, int extra)
{
    return openat(disk->dir_fd, name, O_RDWR | O_CLOEXEC | extra | (disk->direct ? O_DIRECT : 0), 0600);
}

/* Keeps `fd` for the writes to segment `number`, in the place of the oldest when all are taken. */
static void disk_keep_open(struct disk_uring *disk, uint64_t number, int fd)
{
    pthread_mutex_lock(&disk->open_mutex);
    struct open_file *place = &disk->open_files[0];
    for (uint32_t i = 0; i < DISK_OPEN_MAX; i++) {
        struct open_file *file = &disk->open_files[i];
        if (file->fd >= 0 && file->number == number) {
            place = file;
            break;
        }
        if (place->fd >= 0 && (file->fd < 0 || file->number < place->number)) place = file;
    }
    int replaced = place->fd;
    *place = (struct open_file){number, fd};
    pthread_mutex_unlock(&disk->open_mutex);
    if (replaced >= 0) close(replaced);
}

static int disk_find_open(struct disk_uring *disk, uint64_t number)
{
    int fd = -1;
    pthread_mutex_lock(&disk->open_mutex);
    for (uint32_t i = 0; i < DISK_OPEN_MAX; i++)
        if (disk->open_files[i].fd >= 0 && disk->open_files[i].number == number) fd = disk->open_files[i].fd;
    pthread_mutex_unlock(&disk->open_mutex);
    return fd;
}

static void disk_forget_open(struct disk_uring *disk, uint64_t number)
{
    int fd = -1;
    pthread_mutex_lock(&disk->open_mutex);
    for (uint32_t i = 0; i < DISK_OPEN_MAX; i++) {
        struct open_file *file = &disk->open_files[i];
        if (file->fd < 0 || file->number != number) continue;
        fd = file->fd;
        file->fd = -1;
    }
    pthread_mutex_unlock(&disk->open_mutex);
    if (fd >= 0) close(fd);
}

/* ---- spares --------------------------------------------------------------------------------------------------------- */

/* First use only: what an earlier run left. Offline readers never come here, so they change nothing. */
static enum result disk_find_spares(struct disk_uring *disk)
{
    if (disk->spares_known) return RESULT_OK;
    uint64_t *numbers;
    uint32_t count;
    enum result result = disk_list_suffix(disk, ".spare", &numbers, &count);
    for (uint32_t i = 0; result == RESULT_OK && i < count; i++) {
        char name[DISK_NAME_SIZE];
        spare_name(name, numbers[i]);
        struct stat status;
        bool suits = fstatat(disk->dir_fd, name, &status, 0) == 0 && disk->spare_count < disk->spare_count_max &&
                     (uint64_t)status.st_size == disk->disk.segment_size_bytes;
        if (suits) disk->spares[disk->spare_count++] = numbers[i];
        else unlinkat(disk->dir_fd, name, 0);
    }
    free(numbers);
    unlinkat(disk->dir_fd, DISK_MAKING_NAME, 0);
    disk->spares_known = result == RESULT_OK;
    return result;
}

static enum result disk_give_up_making(struct disk_uring *disk, enum result result)
{
    close(disk->making_fd);
    disk->making_fd = -1;
    unlinkat(disk->dir_fd, DISK_MAKING_NAME, 0);
    return result;
}

static enum result disk_write_all(int fd, const uint8_t *data, uint64_t len, uint64_t offset)
{
    while (len > 0) {
        ssize_t written = pwrite(fd, data, len, (off_t)offset);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return result_from_errno(errno);
        data += written;
        offset += (uint64_t)written;
        len -= (uint64_t)written;
    }
    return RESULT_OK;
}

static enum result disk_finish_making(struct disk_uring *disk)
{
    /* fsync, not fdatasync: the size and the block map must be there too. */
    if (fsync(disk->making_fd) != 0) return disk_give_up_making(disk, result_from_errno(errno));
    close(disk->making_fd);
    disk->making_fd = -1;
    char name[DISK_NAME_SIZE];
    spare_name(name, 0);
    if (renameat(disk->dir_fd, DISK_MAKING_NAME, disk->dir_fd, name) != 0) return result_from_errno(errno);
    disk->spares[disk->spare_count++] = 0;
    return disk_sync_directory(disk);
}

static enum result disk_prepare_spare(struct disk *base)
{
    struct disk_uring *disk = disk_uring_of(base);
    enum result result = disk_find_spares(disk);
    if (result != RESULT_OK || disk->spare_count > 0) return result;
    if (disk->making_fd < 0) {
        disk->making_fd = disk_open_for_writing(disk, DISK_MAKING_NAME, O_CREAT | O_TRUNC);
        if (disk->making_fd < 0) return result_from_errno(errno);
        disk->making_offset = 0;
    }
    for (uint32_t i = 0; i < DISK_FILLS_PER_STEP && disk->making_offset < base->segment_size_bytes; i++) {
        uint64_t left = base->segment_size_bytes - disk->making_offset;
        uint64_t len = left < DISK_FILL_SIZE ? left : DISK_FILL_SIZE;
        result = disk_write_all(disk->making_fd, disk->zeros, len, disk->making_offset);
        if (result != RESULT_OK) return disk_give_up_making(disk, result);
        disk->making_offset += len;
    }
    if (disk->making_offset < base->segment_size_bytes) return RESULT_BUSY;
    return disk_finish_making(disk);
}

static enum result disk_write_header(const struct disk_uring *disk, int fd, const void *header)
{
    enum result result = disk_write_all(fd, header, disk->disk.block_size_bytes, 0);
    if (result == RESULT_OK && fdatasync(fd) != 0) result = RESULT_IO;
    return result;
}

static enum result disk_open_segment(struct disk *base, uint64_t number, const void *header)
{
    struct disk_uring *disk = disk_uring_of(base);
    enum result result;
    do result = disk_prepare_spare(base);
    while (result == RESULT_BUSY && disk->making_fd >= 0);
    if (result != RESULT_OK) return result;

    char from[DISK_NAME_SIZE], to[DISK_NAME_SIZE];
    spare_name(from, disk->spares[disk->spare_count - 1]);
    segment_name(to, number);
    int fd = disk_open_for_writing(disk, from, 0);
    if (fd < 0) return result_from_errno(errno);
    result = disk_write_header(disk, fd, header);
    if (result == RESULT_OK && renameat(disk->dir_fd, from, disk->dir_fd, to) != 0) result = result_from_errno(errno);
    if (result == RESULT_OK) {
        disk->spare_count--;
        result = disk_sync_directory(disk);
    }
    if (result != RESULT_OK) {
        close(fd);
        return result;
    }
    disk_keep_open(disk, number, fd);
    return RESULT_OK;
}

static enum result disk_retire(struct disk *base, uint64_t number)
{
    struct disk_uring *disk = disk_uring_of(base);
    enum result result = disk_find_spares(disk);
    if (result != RESULT_OK) return result;
    disk_forget_open(disk, number);
    char from[DISK_NAME_SIZE], to[DISK_NAME_SIZE];
    segment_name(from, number);
    spare_name(to, number);
    struct stat status;
    bool keep = disk->spare_count < disk->spare_count_max && fstatat(disk->dir_fd, from, &status, 0) == 0 &&
                (uint64_t)status.st_size == base->segment_size_bytes;
    int failed = keep ? renameat(disk->dir_fd, from, disk->dir_fd, to) : unlinkat(disk->dir_fd, from, 0);
    if (failed != 0) return result_from_errno(errno);
    if (keep) disk->spares[disk->spare_count++] = number;
    /* Before the bytes are written again the old name must be gone for good. */
    return disk_sync_directory(disk);
}

/* ---- the newest segment --------------------------------------------------------------------------------------------- */

static int disk_open_parent(const struct disk_uring *disk)
{
    char path[PATH_MAX];
    strcpy(path, disk->path);
    return open(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static enum result disk_note_newest(struct disk *base, uint64_t number)
{
    char text[DISK_NOTE_SIZE_MAX];
    size_t len = (size_t)snprintf(text, sizeof text, "newest=%" PRIu64 "\n", number);
    len = wholefile_seal(text, len);
    int fd = disk_open_parent(disk_uring_of(base));
    if (fd < 0) return result_from_errno(errno);
    enum result result = wholefile_write(fd, DISK_NOTE_NAME, text, len);
    close(fd);
    return result;
}

static bool disk_take_note(void *context, const char *key, const char *value)
{
    return strcmp(key, "newest") != 0 || wholefile_number(value, UINT64_MAX, context);
}

static enum result disk_newest(struct disk *base, uint64_t *number)
{
    char text[DISK_NOTE_SIZE_MAX];
    size_t len = 0;
    *number = 0;
    int fd = disk_open_parent(disk_uring_of(base));
    if (fd < 0) return result_from_errno(errno);
    enum result result = wholefile_read(fd, DISK_NOTE_NAME, text, sizeof text - 1, &len);
    close(fd);
    if (result != RESULT_OK) return result;
    text[len] = '\0';
    bool good = strlen(text) == len && wholefile_is_sealed(text, len) && wholefile_lines(text, disk_take_note, number) && *number > 0;
    return good ? RESULT_OK : RESULT_CORRUPT;
}

/* ---- recovery ------------------------------------------------------------------------------------------------------- */

static enum result disk_read(struct disk *base, uint64_t number, uint64_t offset, void *data, uint32_t len, uint32_t *got)
{
    struct disk_uring *disk = disk_uring_of(base);
    *got = 0;
    if (disk->read_fd < 0 || disk->read_number != number) {
        char name[DISK_NAME_SIZE];
        segment_name(name, number);
        if (disk->read_fd >= 0) close(disk->read_fd);
        disk->read_fd = openat(disk->dir_fd, name, O_RDONLY | O_CLOEXEC);
        if (disk->read_fd < 0) return result_from_errno(errno);
        disk->read_number = number;
        posix_fadvise(disk->read_fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    }
    while (*got < len) {
        ssize_t count = pread(disk->read_fd, (uint8_t *)data + *got, len - *got, (off_t)(offset + *got));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return result_from_errno(errno);
        if (count == 0) break;
        *got += (uint32_t)count;
    }
    posix_fadvise(disk->read_fd, (off_t)(offset + *got), len, POSIX_FADV_WILLNEED); /* comes while these are worked on */
    return RESULT_OK;
}

static enum result disk_write_zeros(const struct disk_uring *disk, int fd, uint64_t offset, uint64_t until)
{
    enum result result = RESULT_OK;
    while (offset < until && result == RESULT_OK) {
        uint64_t step = until - offset < DISK_FILL_SIZE ? until - offset : DISK_FILL_SIZE;
        result = disk_write_all(fd, disk->zeros, step, offset);
        offset += step;
    }
    return result;
}

static enum result disk_cut(struct disk *base, uint64_t number, uint64_t offset, struct slice last, uint64_t until)
{
    struct disk_uring *disk = disk_uring_of(base);
    char name[DISK_NAME_SIZE];
    segment_name(name, number);
    int fd = openat(disk->dir_fd, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return result_from_errno(errno);
    enum result result = disk_write_all(fd, last.data, last.len, offset);
    if (result == RESULT_OK) result = disk_write_zeros(disk, fd, offset + last.len, until);
    if (fsync(fd) != 0) result = RESULT_IO;
    close(fd);
    if (result == RESULT_OK) result = disk_sync_directory(disk); /* whoever gave it its name may have ended before */
    if (result != RESULT_OK) return result;
    int write_fd = disk_open_for_writing(disk, name, 0);
    if (write_fd < 0) return result_from_errno(errno);
    disk_keep_open(disk, number, write_fd);
    return RESULT_OK;
}

/* ---- durable writes ------------------------------------------------------------------------------------------------- */

/* What is left of a write. */
static void disk_write_step(struct disk_write *write)
{
    struct disk_uring *disk = disk_uring_of(write->disk);
    const uint8_t *data = write->data + write->step;
    uint32_t len = write->len - write->step;
    if (len == 0) io_fdatasync(disk->io, &write->op, write->fd);
    else if (disk->direct) io_write_durable(disk->io, &write->op, write->fd, data, len, write->offset + write->step);
    else io_write(disk->io, &write->op, write->fd, data, len, write->offset + write->step);
}

static void disk_on_written(struct io_op *op, int32_t res, struct slice bytes)
{
    struct disk_write *write = CONTAINER_OF(op, struct disk_write, op);
    const struct disk_uring *disk = disk_uring_of(write->disk);
    (void)bytes;
    bool synced = !disk->direct && write->step == write->len;
    if (res == -EINTR || res == -EAGAIN) {
        disk_write_step(write);
    } else if (res < 0 && result_from_errno(-res) == RESULT_FULL) {
        write->done(write, RESULT_FULL);
    } else if (res == -ECANCELED) {
        write->done(write, RESULT_CLOSED);
    } else if (res < 0 || (res == 0 && !synced)) {
        write->done(write, RESULT_IO);
    } else if (synced) {
        write->done(write, RESULT_OK);
    } else {
        write->step += (uint32_t)res;
        ASSERT(write->step <= write->len);
        if (disk->direct && write->step == write->len) write->done(write, RESULT_OK);
        else disk_write_step(write); /* the rest of a short write, or the sync */
    }
}

static void disk_write_durable(struct disk *base, struct disk_write *write, uint64_t number, uint64_t offset, const void *data,
                               uint32_t len)
{
    struct disk_uring *disk = disk_uring_of(base);
    const uint32_t block = base->block_size_bytes;
    ASSERT(disk->io != NULL && write->done != NULL);
    ASSERT(len > 0 && len % block == 0 && offset % block == 0 && (uintptr_t)data % block == 0);
    write->op.done = disk_on_written;
    write->disk = base;
    write->data = data;
    write->offset = offset;
    write->len = len;
    write->step = 0;
    write->fd = disk_find_open(disk, number);
    ASSERT(write->fd >= 0); /* open_segment or recovery's cut came before */
    disk_write_step(write);
}

/* ---- open and close ------------------------------------------------------------------------------------------------- */

static void disk_close(struct disk *base)
{
    struct disk_uring *disk = disk_uring_of(base);
    if (disk->making_fd >= 0) disk_give_up_making(disk, RESULT_OK);
    for (uint32_t i = 0; i < DISK_OPEN_MAX; i++)
        if (disk->open_files[i].fd >= 0) close(disk->open_files[i].fd);
    if (disk->read_fd >= 0) close(disk->read_fd);
    if (disk->dir_fd >= 0) close(disk->dir_fd);
    pthread_mutex_destroy(&disk->open_mutex);
    free(disk->zeros);
    free(disk);
}

static const struct disk_ops disk_uring_ops = {
    .list = disk_list,
    .read = disk_read,
    .prepare_spare = disk_prepare_spare,
    .open_segment = disk_open_segment,
    .retire = disk_retire,
    .cut = disk_cut,
    .note_newest = disk_note_newest,
    .newest = disk_newest,
    .write_durable = disk_write_durable,
    .close = disk_close,
};

/* Whether one block can be written with O_DIRECT, tried on an unnamed file: asking is simpler than knowing every file system. */
static bool disk_probe_direct(const struct disk_uring *disk)
{
    int fd = openat(disk->dir_fd, ".", O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
    if (fd < 0) return false;
    bool works = pwrite(fd, disk->zeros, DISK_BLOCK_SIZE, DISK_BLOCK_SIZE) == DISK_BLOCK_SIZE || result_from_errno(errno) == RESULT_FULL;
    close(fd);
    return works;
}

static enum result disk_open_directory(struct disk_uring *disk, const char *path, bool look_only, char *text, size_t text_size)
{
    if (strlen(path) >= sizeof disk->path) {
        snprintf(text, text_size, "log directory: the path is longer than %zu bytes", sizeof disk->path - 1);
        return RESULT_TOO_LARGE;
    }
    strcpy(disk->path, path);
    if (!look_only && mkdir(path, 0700) != 0 && errno != EEXIST) {
        int error = errno;
        snprintf(text, text_size, "log directory %s: cannot be created (%s)", path, strerror(error));
        return result_from_errno(error);
    }
    disk->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (disk->dir_fd < 0 && !(look_only && errno == ENOENT)) {
        int error = errno;
        snprintf(text, text_size, "log directory %s: cannot be opened (%s)", path, strerror(error));
        return result_from_errno(error);
    }
    return RESULT_OK;
}

enum result disk_open(struct disk **out, const struct disk_options *options, char *text, size_t text_size)
{
    *out = NULL;
    ASSERT(options->segment_size_bytes > 0 && options->segment_size_bytes % DISK_BLOCK_SIZE == 0);
    snprintf(text, text_size, "log directory %s: %s", options->path, result_text(RESULT_NOMEM)); /* unless it goes better */
    struct disk_uring *disk = calloc(1, sizeof *disk);
    if (disk == NULL) return RESULT_NOMEM;
    disk->making_fd = disk->read_fd = -1;
    for (uint32_t i = 0; i < DISK_OPEN_MAX; i++) disk->open_files[i].fd = -1;
    disk->zeros = aligned_alloc(DISK_BLOCK_SIZE, DISK_FILL_SIZE);
    enum result result = disk->zeros == NULL ? RESULT_NOMEM : disk_open_directory(disk, options->path, options->look_only, text, text_size);
    if (result != RESULT_OK) {
        free(disk->zeros);
        free(disk);
        return result;
    }
    memset(disk->zeros, 0, DISK_FILL_SIZE);
    pthread_mutex_init(&disk->open_mutex, NULL);
    disk->direct = !options->buffered && !options->look_only && disk_probe_direct(disk);
    disk->spare_count_max = options->spare_count_max < DISK_SPARES_MAX ? options->spare_count_max : DISK_SPARES_MAX - 1;
    if (disk->spare_count_max == 0) disk->spare_count_max = 1; /* the one being made */
    disk->disk = (struct disk){
        .ops = &disk_uring_ops,
        .block_size_bytes = DISK_BLOCK_SIZE,
        .segment_size_bytes = options->segment_size_bytes,
    };
    if (text_size > 0) text[0] = '\0';
    *out = &disk->disk;
    return RESULT_OK;
}

void disk_attach_io(struct disk *base, struct io *io) { disk_uring_of(base)->io = io; }
