/* storage/datadir.c - opening a data directory: what is it, is it free, is it ours.
 *
 * Happy path: look at what is there, take the lock, read FORMAT. The look comes before the lock, so that a directory which is not ours stays
 * untouched; FORMAT is read under it, and every shard's directory compared with it. Whoever opened it judges the rest, and only then
 * datadir_settle() writes: FORMAT of a new directory, or of one that is upgraded or mended. When the shards have been recovered, datadir_raise()
 * begins the next run.
 * Failure modes: every refusal says what was found and what to do about it. A crash while a directory is being made leaves at
 * most LOCK and files *.new, which the next open takes for a new directory, or FORMAT.copy alone, from which FORMAT is made. */
#include "storage/datadir.h"
#include "core/check.h"
#include "core/clock.h"
#include "core/logger.h"
#include "core/secret.h"
#include "storage/identity.h"
#include "storage/wholefile.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DATADIR_LOCK_WAIT_MS 3000
#define DATADIR_LOCK_STEP_MS 20

struct datadir {
    int dir_fd, lock_fd;
    struct format format;
    bool fresh;            /* FORMAT is to be made */
    bool same;             /* FORMAT and its copy are alike */
    const char *complaint; /* of one of the two; NULL: none */
    char path[PATH_MAX];
};

struct refusal {
    char *text;
    size_t size;
};

__attribute__((format(printf, 3, 4))) static enum result refuse(struct refusal out, enum result result, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(out.text, out.size, format, arguments);
    va_end(arguments);
    return result;
}

/* ---- what is there -------------------------------------------------------------------------------------------------- */

/* What may stand in a directory that is not a data directory yet: an interrupted first open, the root of a file system. */
static bool entry_is_harmless(const char *name)
{
    static const char *const harmless[] = {".", "..", "LOCK", "FORMAT.new", "FORMAT.copy.new", "lost+found"};
    for (size_t i = 0; i < COUNT_OF(harmless); i++)
        if (strcmp(name, harmless[i]) == 0) return true;
    return false;
}

static enum result refuse_foreign(const struct datadir *dir, struct refusal out)
{
    if (faccessat(dir->dir_fd, FORMAT_NAME, F_OK, 0) == 0 || faccessat(dir->dir_fd, FORMAT_COPY_NAME, F_OK, 0) == 0) return RESULT_OK;
    DIR *entries = opendir(dir->path);
    if (entries == NULL)
        return refuse(out, result_from_errno(errno), "data directory %s: cannot be listed (%s)", dir->path, strerror(errno));
    enum result result = RESULT_OK;
    for (struct dirent *entry; result == RESULT_OK && (entry = readdir(entries)) != NULL;)
        if (!entry_is_harmless(entry->d_name))
            result = refuse(out, RESULT_DENIED,
                            "data directory %s: not a Ringpost directory: it holds \"%s\" but no FORMAT; name an empty or new "
                            "directory",
                            dir->path, entry->d_name);
    closedir(entries);
    return result;
}

static enum result find_directory(struct datadir *dir, const char *path, struct refusal out)
{
    if (strlen(path) >= sizeof dir->path)
        return refuse(out, RESULT_TOO_LARGE, "data directory: the path is longer than %zu bytes", sizeof dir->path - 1);
    strcpy(dir->path, path);
    dir->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir->dir_fd < 0)
        return refuse(out, result_from_errno(errno), "data directory %s: cannot be opened (%s)", path, strerror(errno));
    return RESULT_OK;
}

static enum result open_directory(struct datadir *dir, const char *path, struct refusal out)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return refuse(out, result_from_errno(errno), "data directory %s: cannot be created (%s)", path, strerror(errno));
    return find_directory(dir, path, out);
}

/* ---- lock ----------------------------------------------------------------------------------------------------------- */

static enum result refuse_locked(const struct datadir *dir, struct refusal out)
{
    char pid[16] = "";
    size_t len;
    if (wholefile_read(dir->dir_fd, "LOCK", pid, sizeof pid - 1, &len) != RESULT_OK) len = 0;
    pid[len] = '\0';
    pid[strcspn(pid, "\n")] = '\0';
    return refuse(out, RESULT_BUSY, "data directory %s: open in another process (pid %s); stop that one first, or use another directory",
                  dir->path, pid[0] == '\0' ? "unknown" : pid);
}

static enum result take_lock(struct datadir *dir, struct refusal out)
{
    dir->lock_fd = openat(dir->dir_fd, "LOCK", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (dir->lock_fd < 0)
        return refuse(out, result_from_errno(errno), "data directory %s: not writable (%s); give it to the server's user",
                      dir->path, strerror(errno));
    const struct timespec step = {.tv_nsec = DATADIR_LOCK_STEP_MS * 1000000l};
    for (int waited_ms = 0; flock(dir->lock_fd, LOCK_EX | LOCK_NB) != 0; waited_ms += DATADIR_LOCK_STEP_MS) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return refuse(out, result_from_errno(errno), "data directory %s: cannot be locked (%s)", dir->path, strerror(errno));
        if (waited_ms >= DATADIR_LOCK_WAIT_MS) return refuse_locked(dir, out);
        nanosleep(&step, NULL);
    }
    char pid[16];
    int len = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    /* For people only: the lock itself is the kernel's, and a full disk keeps nobody from it. */
    if (ftruncate(dir->lock_fd, 0) == 0 && pwrite(dir->lock_fd, pid, (size_t)len, 0) == len) return RESULT_OK;
    if (result_from_errno(errno) == RESULT_FULL) return RESULT_OK;
    return refuse(out, result_from_errno(errno), "data directory %s: cannot be written (%s)", dir->path, strerror(errno));
}

/* ---- FORMAT --------------------------------------------------------------------------------------------------------- */

static enum result refuse_format(const struct datadir *dir, enum result result, const char *complaint, struct refusal out)
{
    const struct format *format = &dir->format;
    if (result == RESULT_UNSUPPORTED)
        return refuse(out, result,
                      "data directory %s: has format %u, this version reads formats %d to %d; go on with the %s that wrote it, or name an "
                      "empty or new directory", dir->path, format->number, DATADIR_FORMAT_OLDEST, DATADIR_FORMAT,
                      format->number < DATADIR_FORMAT ? "older version" : "newer version");
    if (result == RESULT_CORRUPT && complaint != NULL)
        return refuse(out, result, "data directory %s: %s; put the right one in both places, or restore the directory from a backup",
                      dir->path, complaint);
    if (result == RESULT_CORRUPT)
        return refuse(out, result, "data directory %s: FORMAT is damaged, and FORMAT.copy cannot replace it; restore it from a backup",
                      dir->path);
    return refuse(out, result, "data directory %s: FORMAT cannot be read (%s)", dir->path, result_text(result));
}

static enum result write_format(struct datadir *dir, struct refusal out)
{
    enum result result = format_store(dir->dir_fd, &dir->format);
    if (result != RESULT_OK)
        return refuse(out, result, "data directory %s: FORMAT cannot be written (%s)", dir->path, result_text(result));
    return RESULT_OK;
}

/* What is in a file system that takes no changes, nobody has just made. */
static enum result sync_directory(int fd)
{
    return fsync(fd) == 0 || errno == EROFS || errno == EINVAL ? RESULT_OK : result_from_errno(errno);
}

/* The name of the data directory itself; a start that made it may have ended before. Whoever may not look into the parent did not make it there. */
static enum result sync_name(const struct datadir *dir, struct refusal out)
{
    int parent_fd = openat(dir->dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent_fd < 0) return RESULT_OK;
    enum result result = sync_directory(parent_fd);
    close(parent_fd);
    if (result == RESULT_OK) return result;
    return refuse(out, result, "data directory %s: the directory above cannot be synced (%s)", dir->path, result_text(result));
}

/* Of a new directory; written by datadir_settle(). */
static enum result draw_format(struct datadir *dir, uint32_t shards, struct refusal out)
{
    if (shards > DATADIR_SHARDS_MAX)
        return refuse(out, RESULT_TOO_LARGE, "data directory %s: %u shards asked, at most %d are possible", dir->path, shards,
                      DATADIR_SHARDS_MAX);
    uint8_t id[FORMAT_ID_BYTES];
    clock_random(id, sizeof id);
    for (size_t i = 0; i < sizeof id; i++) snprintf(dir->format.id + 2 * i, 3, "%02x", id[i]);
    dir->format.shards = shards;
    dir->format.number = dir->format.readable = DATADIR_FORMAT;
    dir->fresh = true;
    return RESULT_OK;
}

static bool any_shard_is_there(const struct datadir *dir)
{
    for (uint32_t i = 0; i < dir->format.shards; i++) {
        char name[SHARD_DIRECTORY_SIZE];
        snprintf(name, sizeof name, SHARD_DIRECTORY, i);
        if (faccessat(dir->dir_fd, name, F_OK, 0) == 0) return true;
    }
    return false;
}

static void begin_run(struct format *format)
{
    format->before = format->mark;
    format->run++;
    format->raising = true;
    clock_random(&format->mark, sizeof format->mark);
}

/* Before anything of the new form is written. Its shards get their first run when they have been looked at: see datadir_raise(). */
static enum result upgrade(struct datadir *dir, struct refusal out)
{
    const uint32_t from = dir->format.number;
    LOG_WARN("datadir",
             "upgrading path=\"%s\" from_format=%u to_format=%d advice=\"this cannot be undone: the version that wrote format %u will "
             "refuse the directory from now on; whoever may want to go back stops the server now and restores a backup made before\"",
             dir->path, from, DATADIR_FORMAT, from);
    dir->format.number = dir->format.readable = DATADIR_FORMAT;
    if (any_shard_is_there(dir)) begin_run(&dir->format);
    return write_format(dir, out);
}

/* One of the two says all that is needed; a disk that does not take the other now is told of when it is written to. */
static void heal_format(const struct datadir *dir)
{
    enum result result = format_store(dir->dir_fd, &dir->format);
    LOG_WARN("datadir", "%s, the other one is good path=\"%s\" written_again=\"%s\"", dir->complaint, dir->path, result_text(result));
}

/* Of a format without identities all directories must be there, or none: then it was never served. */
static enum result check_shards(const struct datadir *dir, struct refusal out)
{
    char text[512];
    struct format wanted = dir->format;
    if (wanted.number < DATADIR_FORMAT && any_shard_is_there(dir)) begin_run(&wanted);
    if (identity_check_all(dir->dir_fd, &wanted, text, sizeof text) == NULL) return RESULT_OK;
    return refuse(out, RESULT_CORRUPT,
                  "data directory %s: %s; put back the one that belongs there, or restore the whole directory from a backup: a shard "
                  "alone cannot be older than the others", dir->path, text);
}

/* MISSING: there is none yet, nothing is said. */
static enum result read_format(struct datadir *dir, uint32_t shards_wanted, struct refusal out)
{
    enum result result = format_load(dir->dir_fd, &dir->format, &dir->same, &dir->complaint);
    if (result == RESULT_MISSING) return result;
    if (result != RESULT_OK) return refuse_format(dir, result, dir->complaint, out);
    if (shards_wanted != 0 && shards_wanted != dir->format.shards)
        return refuse(out, RESULT_DENIED,
                      "data directory %s: was made with %u shards, %u were asked; the number is fixed when the directory is made: "
                      "ask for %u or for none",
                      dir->path, dir->format.shards, shards_wanted, dir->format.shards);
    return check_shards(dir, out);
}

static enum result settle_format(struct datadir *dir, struct refusal out)
{
    if (dir->fresh) {
        enum result named = sync_name(dir, out);
        return named == RESULT_OK ? write_format(dir, out) : named;
    }
    if (dir->complaint != NULL) heal_format(dir);
    if (datadir_upgrades(dir)) return upgrade(dir, out);
    if (dir->same || dir->complaint != NULL) return RESULT_OK;
    enum result result = write_format(dir, out); /* a crash came between the two */
    if (result != RESULT_FULL) return result;
    out.text[0] = '\0'; /* the one that was read says all; the run that is raised when there is room writes both */
    return RESULT_OK;
}

static enum result make_shards(const struct datadir *dir, struct refusal out)
{
    enum result result = identity_make_directories(dir->dir_fd, &dir->format);
    if (result == RESULT_OK) return RESULT_OK;
    return refuse(out, result, "data directory %s: the shards' directories cannot be made (%s)", dir->path, result_text(result));
}

bool datadir_upgrades(const struct datadir *dir) { return !dir->fresh && dir->format.number < DATADIR_FORMAT; }

enum result datadir_settle(struct datadir *dir, char *text, size_t text_size)
{
    struct refusal refusal = {text, text_size};
    enum result result = settle_format(dir, refusal);
    if (result == RESULT_OK && dir->format.run == 0) result = make_shards(dir, refusal);
    if (result == RESULT_OK) dir->fresh = false;
    return result;
}

enum result datadir_raise(struct datadir *dir, char *text, size_t text_size)
{
    /* One that a crash or a full disk cut short is brought to its end: nothing was served in it. */
    if (!dir->format.raising) begin_run(&dir->format);
    enum result result = format_store(dir->dir_fd, &dir->format);
    if (result == RESULT_OK) result = identity_store_all(dir->dir_fd, &dir->format);
    if (result == RESULT_OK) {
        struct format raised = dir->format;
        raised.raising = false;
        raised.before = 0;
        result = format_store(dir->dir_fd, &raised);
        if (result == RESULT_OK) dir->format = raised;
    }
    if (result == RESULT_OK) return result;
    return refuse((struct refusal){text, text_size}, result, "data directory %s: the next run cannot be written to FORMAT and the shards' "
                  "IDENTITY (%s)", dir->path, result_text(result));
}

uint64_t datadir_run(const struct datadir *dir) { return dir->format.raising ? dir->format.run - 1 : dir->format.run; }

/* ---- open and close ------------------------------------------------------------------------------------------------- */

enum result datadir_open(struct datadir **out, const char *path, uint32_t shards_wanted, uint32_t shards_default, char *text,
                         size_t text_size)
{
    *out = NULL;
    ASSERT(shards_wanted != 0 || shards_default != 0);
    struct refusal refusal = {text, text_size};
    struct datadir *dir = calloc(1, sizeof *dir);
    if (dir == NULL) return refuse(refusal, RESULT_NOMEM, "data directory %s: %s", path, result_text(RESULT_NOMEM));
    dir->dir_fd = dir->lock_fd = -1;
    enum result result = open_directory(dir, path, refusal);
    if (result == RESULT_OK) result = refuse_foreign(dir, refusal);
    if (result == RESULT_OK) result = take_lock(dir, refusal);
    if (result == RESULT_OK) result = read_format(dir, shards_wanted, refusal);
    if (result == RESULT_MISSING) result = draw_format(dir, shards_wanted != 0 ? shards_wanted : shards_default, refusal);
    if (result != RESULT_OK) {
        datadir_close(dir);
        return result;
    }
    *out = dir;
    return RESULT_OK;
}

/* A directory on a medium that takes no lock, or a copy without LOCK, is nobody's. */
static enum result take_lock_for_looking(struct datadir *dir, struct refusal out)
{
    dir->lock_fd = openat(dir->dir_fd, "LOCK", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (dir->lock_fd >= 0 && flock(dir->lock_fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) return refuse_locked(dir, out);
    return RESULT_OK;
}

enum result datadir_inspect(struct datadir **out, const char *path, char *text, size_t text_size)
{
    *out = NULL;
    struct refusal refusal = {text, text_size};
    struct datadir *dir = calloc(1, sizeof *dir);
    if (dir == NULL) return refuse(refusal, RESULT_NOMEM, "data directory %s: %s", path, result_text(RESULT_NOMEM));
    dir->dir_fd = dir->lock_fd = -1;
    enum result result = find_directory(dir, path, refusal);
    if (result == RESULT_OK) result = refuse_foreign(dir, refusal);
    if (result == RESULT_OK) result = take_lock_for_looking(dir, refusal);
    if (result == RESULT_OK) {
        result = read_format(dir, 0, refusal);
        if (result == RESULT_MISSING) refuse(refusal, result, "data directory %s: nothing was made in it yet", path);
    }
    if (result != RESULT_OK) {
        datadir_close(dir);
        return result;
    }
    *out = dir;
    return RESULT_OK;
}

/* Where it is still to be made: the directory it would stand in must take it. */
static enum result look_at_parent(const char *path, struct refusal out)
{
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%s", path);
    if (access(dirname(parent), W_OK | X_OK) == 0) return RESULT_OK;
    return refuse(out, result_from_errno(errno), "data directory %s: cannot be created (%s)", path, strerror(errno));
}

enum result datadir_look(const char *path, uint32_t shards_wanted, struct datadir_seen *seen, char *text, size_t text_size)
{
    struct datadir dir = {.lock_fd = -1};
    struct refusal out = {text, text_size};
    *seen = (struct datadir_seen){0};
    if (access(path, F_OK) != 0 && errno == ENOENT) return look_at_parent(path, out);
    enum result result = find_directory(&dir, path, out);
    if (result == RESULT_OK && access(path, W_OK | X_OK) != 0)
        result = refuse(out, result_from_errno(errno), "data directory %s: cannot be written to (%s)", path, strerror(errno));
    if (result == RESULT_OK) result = refuse_foreign(&dir, out);
    if (result == RESULT_OK) {
        result = read_format(&dir, shards_wanted, out);
        if (result == RESULT_OK) *seen = (struct datadir_seen){.shards = dir.format.shards, .format = dir.format.number};
        if (result == RESULT_MISSING) result = RESULT_OK;
    }
    if (dir.dir_fd >= 0) close(dir.dir_fd);
    return result;
}

void datadir_close(struct datadir *dir)
{
    if (dir == NULL) return;
    if (dir->lock_fd >= 0) close(dir->lock_fd); /* and with it the lock */
    if (dir->dir_fd >= 0) close(dir->dir_fd);
    free(dir);
}

uint32_t datadir_shards(const struct datadir *dir) { return dir->format.shards; }
const char *datadir_id(const struct datadir *dir) { return dir->format.id; }

/* ---- parts ---------------------------------------------------------------------------------------------------------- */

static enum result make_directory(const char *path, size_t parent_len)
{
    if (mkdir(path, 0700) != 0) return errno == EEXIST ? RESULT_OK : result_from_errno(errno);
    char parent[PATH_MAX];
    memcpy(parent, path, parent_len);
    parent[parent_len] = '\0';
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return result_from_errno(errno);
    enum result result = fsync(fd) == 0 ? RESULT_OK : result_from_errno(errno);
    close(fd);
    return result;
}

enum result datadir_path(const struct datadir *dir, const char *part, char *out, size_t out_size)
{
    ASSERT(part[0] != '/' && part[0] != '\0' && strstr(part, "..") == NULL);
    char path[PATH_MAX];
    int len = snprintf(path, sizeof path, "%s/%s", dir->path, part);
    if (len < 0 || (size_t)len >= sizeof path || (size_t)len >= out_size) return RESULT_TOO_LARGE;
    size_t parent_len = strlen(dir->path);
    for (size_t at = parent_len + 1; at <= (size_t)len; at++) {
        if (path[at] != '/' && path[at] != '\0') continue;
        char separator = path[at];
        path[at] = '\0';
        enum result result = make_directory(path, parent_len);
        path[at] = separator;
        parent_len = at;
        if (result != RESULT_OK) return result;
    }
    memcpy(out, path, (size_t)len + 1);
    return RESULT_OK;
}

/* ---- keys ----------------------------------------------------------------------------------------------------------- */

/* CORRUPT: it is no key, whoever may read it; DENIED: it is one. */
static enum result read_open_key(int fd, const char *path, uint8_t *out, size_t len, struct refusal refusal)
{
    enum result guarded = secret_check_file(fd, path, SECRET_OURS, refusal.text, refusal.size);
    if (guarded == RESULT_MALFORMED) return RESULT_CORRUPT;
    uint8_t more;
    size_t got = 0;
    enum result result = wholefile_read_open(fd, out, len, &got);
    if (result == RESULT_OK && got == len) got += read(fd, &more, sizeof more) == 1;
    if (result != RESULT_OK) return refuse(refusal, result, "%s: cannot be read (%s)", path, result_text(result));
    if (got != len)
        return refuse(refusal, RESULT_CORRUPT,
                      "%s has %s than %zu bytes and is no key. Remedy: the file from a backup; or remove it, and a new key is made with "
                      "which access tokens made before are worthless",
                      path, got < len ? "fewer" : "more", len);
    if (!secret_is_random(slice_of(out, len)))
        return refuse(refusal, RESULT_CORRUPT,
                      "%s is no key: nearly all its bytes are the same, anybody can guess it. Remedy: the file from a backup; or remove it, "
                      "and a new key is made with which access tokens made before are worthless",
                      path);
    return guarded;
}

static enum result read_or_make_key(int keys_fd, const char *name, const char *path, uint8_t *out, size_t len, struct refusal refusal)
{
    int fd = openat(keys_fd, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    enum result result = RESULT_OK;
    if (fd < 0 && errno == ENOENT) {
        clock_random(out, len);
        result = wholefile_write(keys_fd, name, out, len);
        if (result != RESULT_OK) return refuse(refusal, result, "%s: cannot be made (%s)", path, result_text(result));
        fd = openat(keys_fd, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* if it would be refused at the next start, it is now */
    }
    if (fd < 0) return refuse(refusal, result_from_errno(errno), "%s: cannot be opened (%s)", path, strerror(errno));
    result = read_open_key(fd, path, out, len, refusal);
    close(fd);
    /* The start that made it may have ended before its name was on the disk. */
    if (result != RESULT_OK) return result;
    result = sync_directory(keys_fd);
    return result == RESULT_OK ? result : refuse(refusal, result, "%s: cannot be synced (%s)", path, result_text(result));
}

enum result datadir_key(struct datadir *dir, const char *name, uint8_t *out, size_t len, char *text, size_t text_size)
{
    ASSERT(strlen(name) <= WHOLEFILE_NAME_MAX && strchr(name, '/') == NULL && name[0] != '.' && len <= DATADIR_KEY_SIZE_MAX);
    struct refusal refusal = {text, text_size};
    char path[PATH_MAX];
    enum result result = datadir_path(dir, "keys", path, sizeof path);
    int keys_fd = result == RESULT_OK ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (result == RESULT_OK && keys_fd < 0) result = result_from_errno(errno);
    if (result != RESULT_OK) return refuse(refusal, result, "%s/keys: cannot be opened (%s)", dir->path, result_text(result));
    size_t path_len = strlen(path);
    snprintf(path + path_len, sizeof path - path_len, "/%s", name); /* for people only */
    result = read_or_make_key(keys_fd, name, path, out, len, refusal);
    close(keys_fd);
    return result;
}

enum result datadir_look_at_key(const char *path, const char *name, size_t len, char *text, size_t text_size)
{
    ASSERT(len <= DATADIR_KEY_SIZE_MAX);
    struct refusal refusal = {text, text_size};
    uint8_t key[DATADIR_KEY_SIZE_MAX];
    char file[PATH_MAX];
    int file_len = snprintf(file, sizeof file, "%s/keys/%s", path, name);
    if (file_len < 0 || (size_t)file_len >= sizeof file) return refuse(refusal, RESULT_TOO_LARGE, "%s: the path is too long", path);
    int fd = open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return RESULT_OK;
    if (fd < 0) return refuse(refusal, result_from_errno(errno), "%s: cannot be opened (%s)", file, strerror(errno));
    enum result result = read_open_key(fd, file, key, len, refusal);
    explicit_bzero(key, sizeof key);
    close(fd);
    return result;
}
