/* storage/datadir.c - opening a data directory: what is it, is it free, is it ours.
 *
 * Happy path: look at what is there, take the lock, read FORMAT (or write it into a new directory), make keys/. The
 * look comes before the lock, so that a directory which is not ours stays untouched; FORMAT is read under it.
 * Files are made whole: written under another name, synced, renamed, the directory synced.
 * Failure modes: every refusal says what was found and what to do about it. A crash while a directory is being made leaves at
 * most LOCK and FORMAT.new, which the next open takes for a new directory. */
#include "storage/datadir.h"
#include "core/check.h"
#include "core/clock.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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

#define DATADIR_ID_BYTES 16
#define DATADIR_FORMAT_SIZE_MAX 512
#define DATADIR_LOCK_WAIT_MS 3000
#define DATADIR_LOCK_STEP_MS 20
#define DATADIR_KEY_NAME_MAX 64

struct datadir {
    int dir_fd, lock_fd;
    uint32_t format, shards;
    char id[2 * DATADIR_ID_BYTES + 1];
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

/* ---- whole files ---------------------------------------------------------------------------------------------------- */

static enum result write_all(int fd, const void *data, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t written = write(fd, (const uint8_t *)data + done, len - done);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return result_from_errno(errno);
        done += (size_t)written;
    }
    return RESULT_OK;
}

/* Afterwards NAME holds exactly `data`, or is as it was. */
static enum result write_file(int dir_fd, const char *name, const void *data, size_t len)
{
    char temporary[DATADIR_KEY_NAME_MAX + 8];
    snprintf(temporary, sizeof temporary, "%s.new", name);
    int fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return result_from_errno(errno);
    enum result result = write_all(fd, data, len);
    if (result == RESULT_OK && fsync(fd) != 0) result = result_from_errno(errno);
    close(fd);
    if (result == RESULT_OK && renameat(dir_fd, temporary, dir_fd, name) != 0) result = result_from_errno(errno);
    if (result == RESULT_OK && fsync(dir_fd) != 0) result = result_from_errno(errno);
    if (result != RESULT_OK) unlinkat(dir_fd, temporary, 0);
    return result;
}

/* Reads at most `size` bytes. MISSING when there is no such file. */
static enum result read_file(int dir_fd, const char *name, void *data, size_t size, size_t *len)
{
    *len = 0;
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return result_from_errno(errno);
    enum result result = RESULT_OK;
    while (*len < size && result == RESULT_OK) {
        ssize_t got = read(fd, (uint8_t *)data + *len, size - *len);
        if (got == 0) break;
        if (got > 0) *len += (size_t)got;
        else if (errno != EINTR) result = result_from_errno(errno);
    }
    close(fd);
    return result;
}

/* ---- what is there -------------------------------------------------------------------------------------------------- */

/* What may stand in a directory that is not a data directory yet: an interrupted first open, the root of a file system. */
static bool entry_is_harmless(const char *name)
{
    static const char *const harmless[] = {".", "..", "LOCK", "FORMAT.new", "lost+found"};
    for (size_t i = 0; i < COUNT_OF(harmless); i++)
        if (strcmp(name, harmless[i]) == 0) return true;
    return false;
}

static enum result refuse_foreign(const struct datadir *dir, struct refusal out)
{
    if (faccessat(dir->dir_fd, "FORMAT", F_OK, 0) == 0) return RESULT_OK;
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

static enum result open_directory(struct datadir *dir, const char *path, struct refusal out)
{
    if (strlen(path) >= sizeof dir->path)
        return refuse(out, RESULT_TOO_LARGE, "data directory: the path is longer than %zu bytes", sizeof dir->path - 1);
    strcpy(dir->path, path);
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return refuse(out, result_from_errno(errno), "data directory %s: cannot be created (%s)", path, strerror(errno));
    dir->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir->dir_fd < 0)
        return refuse(out, result_from_errno(errno), "data directory %s: cannot be opened (%s)", path, strerror(errno));
    return RESULT_OK;
}

/* ---- lock ----------------------------------------------------------------------------------------------------------- */

static enum result refuse_locked(const struct datadir *dir, struct refusal out)
{
    char pid[16] = "";
    size_t len;
    if (read_file(dir->dir_fd, "LOCK", pid, sizeof pid - 1, &len) != RESULT_OK) len = 0;
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
    /* For people only: the lock itself is the kernel's. */
    if (ftruncate(dir->lock_fd, 0) != 0 || pwrite(dir->lock_fd, pid, (size_t)len, 0) != len)
        return refuse(out, result_from_errno(errno), "data directory %s: cannot be written (%s)", dir->path, strerror(errno));
    return RESULT_OK;
}

/* ---- FORMAT --------------------------------------------------------------------------------------------------------- */

static bool parse_number(const char *text, uint32_t *number)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] < '0' || text[0] > '9' || value > UINT32_MAX) return false;
    *number = (uint32_t)value;
    return true;
}

static bool id_is_sound(const char *id)
{
    return strlen(id) == 2 * DATADIR_ID_BYTES && strspn(id, "0123456789abcdef") == 2 * DATADIR_ID_BYTES;
}

/* format= comes first: of another format nothing else is known. */
static enum result parse_format(struct datadir *dir, char *content, struct refusal out)
{
    char *rest = content;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        char *value = strchr(line, '=');
        if (value == NULL) continue;
        *value++ = '\0';
        if (strcmp(line, "format") == 0 && parse_number(value, &dir->format) &&
            (dir->format < DATADIR_FORMAT_OLDEST || dir->format > DATADIR_FORMAT))
            return refuse(out, RESULT_UNSUPPORTED,
                          "data directory %s: has format %u, this version reads formats %d to %d; go on with the %s that wrote it, or name an "
                          "empty or new directory", dir->path, dir->format, DATADIR_FORMAT_OLDEST, DATADIR_FORMAT,
                          dir->format < DATADIR_FORMAT ? "older version" : "newer version");
        if (strcmp(line, "shards") == 0 && !parse_number(value, &dir->shards)) dir->shards = 0;
        if (strcmp(line, "id") == 0 && id_is_sound(value)) strcpy(dir->id, value);
    }
    if (dir->format == 0 || dir->shards == 0 || dir->shards > DATADIR_SHARDS_MAX || dir->id[0] == '\0')
        return refuse(out, RESULT_CORRUPT, "data directory %s: FORMAT is damaged; restore it from a backup", dir->path);
    return RESULT_OK;
}

static enum result read_format(struct datadir *dir, struct refusal out)
{
    char content[DATADIR_FORMAT_SIZE_MAX + 1];
    size_t len;
    enum result result = read_file(dir->dir_fd, "FORMAT", content, sizeof content - 1, &len);
    if (result == RESULT_MISSING) return result;
    if (result != RESULT_OK)
        return refuse(out, result, "data directory %s: FORMAT cannot be read (%s)", dir->path, result_text(result));
    content[len] = '\0';
    return parse_format(dir, content, out);
}

static enum result write_format(struct datadir *dir, struct refusal out)
{
    char content[DATADIR_FORMAT_SIZE_MAX];
    int len = snprintf(content, sizeof content, "format=%d\nshards=%u\nid=%s\n", DATADIR_FORMAT, dir->shards, dir->id);
    enum result result = write_file(dir->dir_fd, "FORMAT", content, (size_t)len);
    if (result != RESULT_OK)
        return refuse(out, result, "data directory %s: FORMAT cannot be written (%s)", dir->path, result_text(result));
    return RESULT_OK;
}

static enum result make_format(struct datadir *dir, uint32_t shards, struct refusal out)
{
    uint8_t id[DATADIR_ID_BYTES];
    clock_random(id, sizeof id);
    for (size_t i = 0; i < sizeof id; i++) snprintf(dir->id + 2 * i, 3, "%02x", id[i]);
    dir->shards = shards;
    return write_format(dir, out);
}

static enum result settle_format(struct datadir *dir, uint32_t shards_wanted, uint32_t shards_default, struct refusal out)
{
    enum result result = read_format(dir, out);
    uint32_t shards_new = shards_wanted != 0 ? shards_wanted : shards_default;
    if (result == RESULT_MISSING && shards_new > DATADIR_SHARDS_MAX)
        return refuse(out, RESULT_TOO_LARGE, "data directory %s: %u shards asked, at most %d are possible", dir->path, shards_new,
                      DATADIR_SHARDS_MAX);
    if (result == RESULT_MISSING) return make_format(dir, shards_new, out);
    if (result == RESULT_OK && shards_wanted != 0 && shards_wanted != dir->shards)
        return refuse(out, RESULT_DENIED,
                      "data directory %s: was made with %u shards, %u were asked; the number is fixed when the directory is made: "
                      "ask for %u or for none",
                      dir->path, dir->shards, shards_wanted, dir->shards);
    if (result == RESULT_OK && dir->format < DATADIR_FORMAT) return write_format(dir, out); /* before anything of the new form is */
    return result;
}

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
    if (result == RESULT_OK) result = settle_format(dir, shards_wanted, shards_default, refusal);
    if (result != RESULT_OK) {
        datadir_close(dir);
        return result;
    }
    *out = dir;
    return RESULT_OK;
}

void datadir_close(struct datadir *dir)
{
    if (dir == NULL) return;
    if (dir->lock_fd >= 0) close(dir->lock_fd); /* and with it the lock */
    if (dir->dir_fd >= 0) close(dir->dir_fd);
    free(dir);
}

uint32_t datadir_shards(const struct datadir *dir) { return dir->shards; }
const char *datadir_id(const struct datadir *dir) { return dir->id; }

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

static enum result read_or_make_key(int keys_fd, const char *name, uint8_t *out, size_t len)
{
    size_t got;
    enum result result = read_file(keys_fd, name, out, len, &got);
    if (result == RESULT_OK) return got == len ? RESULT_OK : RESULT_CORRUPT;
    if (result != RESULT_MISSING) return result;
    clock_random(out, len);
    return write_file(keys_fd, name, out, len);
}

enum result datadir_key(struct datadir *dir, const char *name, uint8_t *out, size_t len)
{
    ASSERT(strlen(name) <= DATADIR_KEY_NAME_MAX && strchr(name, '/') == NULL && name[0] != '.');
    char path[PATH_MAX];
    enum result result = datadir_path(dir, "keys", path, sizeof path);
    if (result != RESULT_OK) return result;
    int keys_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (keys_fd < 0) return result_from_errno(errno);
    result = read_or_make_key(keys_fd, name, out, len);
    close(keys_fd);
    return result;
}
