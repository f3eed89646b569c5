/* tests/storage/power.c - see power.h.
 * Every name has two ends: the file it leads to now, and the one it leads to on the medium. A change to a name waits in a list, in order, until
 * its directory is synced; a file has the bytes it has and those that were synced. To lose power is to write the directory anew from what is on
 * the medium and the first so-many of each directory's changes. */
#include "storage/power.h"
#include "core/check.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIRECTORIES_MAX 64
#define FILES_MAX 256
#define NAMES_MAX 256
#define CHANGES_MAX 256
#define FILE_SIZE_MAX 512
#define NAME_LENGTH_MAX 48
#define ROOT 0

struct directory {
    char name[NAME_LENGTH_MAX]; /* of the root: "" */
    dev_t device;
    ino_t inode;
    bool there; /* on the medium */
};

struct file {
    ino_t inode;
    mode_t mode;
    uint8_t bytes[FILE_SIZE_MAX], synced[FILE_SIZE_MAX];
    uint32_t len, synced_len;
    bool is_synced;
};

struct name { /* on the medium; file 0: there is none */
    uint32_t directory, file;
    char name[NAME_LENGTH_MAX];
};

struct change { /* one step: a name is made, removed, or moved */
    uint32_t directory, file; /* file 0: removed */
    char name[NAME_LENGTH_MAX], from[NAME_LENGTH_MAX]; /* from: moved; "": not */
    bool makes_directory;
};

static struct power {
    bool on, cutting, cut, full, lying;
    uint32_t steps_left;
    uint64_t random;
    char path[PATH_MAX];
    uint32_t directory_count, file_count, name_count, change_count;
    struct directory directories[DIRECTORIES_MAX];
    struct file files[FILES_MAX]; /* 0: none */
    struct name names[NAMES_MAX];
    struct change changes[CHANGES_MAX];
} power;

int __real_openat(int dir_fd, const char *name, int flags, ...);
ssize_t __real_write(int fd, const void *data, size_t len);
int __real_fsync(int fd);
int __real_renameat(int from_fd, const char *from, int to_fd, const char *to);
int __real_unlinkat(int dir_fd, const char *name, int flags);
int __real_mkdir(const char *path, mode_t mode);
int __real_mkdirat(int dir_fd, const char *name, mode_t mode);

static uint64_t next_random(void)
{
    power.random = power.random * 6364136223846793005ull + 1442695040888963407ull;
    return power.random >> 33;
}

/* ---- what is where -------------------------------------------------------------------------------------------------- */

static uint32_t directory_of(int fd)
{
    struct stat status;
    if (!power.on || fstat(fd, &status) != 0 || !S_ISDIR(status.st_mode)) return DIRECTORIES_MAX;
    for (uint32_t i = 0; i < power.directory_count; i++)
        if (power.directories[i].inode == status.st_ino && power.directories[i].device == status.st_dev) return i;
    return DIRECTORIES_MAX;
}

static uint32_t file_of(int fd)
{
    struct stat status;
    if (!power.on || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return 0;
    for (uint32_t i = power.file_count; i > 1; i--)
        if (power.files[i - 1].inode == status.st_ino) return i - 1;
    return 0;
}

/* Forgets the files to which no name leads any more. */
static void forget_files(void)
{
    uint32_t now_at[FILES_MAX] = {0}, names = 0, files = 1;
    for (uint32_t i = 0; i < power.name_count; i++)
        if (power.names[i].file != 0) power.names[names++] = power.names[i];
    power.name_count = names;
    for (uint32_t i = 0; i < names; i++) now_at[power.names[i].file] = 1;
    for (uint32_t i = 0; i < power.change_count; i++)
        if (!power.changes[i].makes_directory) now_at[power.changes[i].file] = 1;
    for (uint32_t i = 1; i < power.file_count; i++) {
        if (now_at[i] == 0) continue;
        power.files[files] = power.files[i];
        now_at[i] = files++;
    }
    power.file_count = files;
    now_at[0] = 0;
    for (uint32_t i = 0; i < names; i++) power.names[i].file = now_at[power.names[i].file];
    for (uint32_t i = 0; i < power.change_count; i++)
        if (!power.changes[i].makes_directory) power.changes[i].file = now_at[power.changes[i].file];
}

static uint32_t add_file(const struct stat *status)
{
    if (power.file_count > FILES_MAX / 2) forget_files();
    ASSERT(power.file_count < FILES_MAX);
    power.files[power.file_count] = (struct file){.inode = status->st_ino, .mode = status->st_mode & 0777};
    return power.file_count++;
}

static void name_on_medium(uint32_t directory, const char *name, uint32_t file)
{
    uint32_t i = 0;
    while (i < power.name_count && (power.names[i].directory != directory || strcmp(power.names[i].name, name) != 0)) i++;
    ASSERT(i < NAMES_MAX && strlen(name) < NAME_LENGTH_MAX);
    if (i == power.name_count) power.name_count++;
    power.names[i] = (struct name){directory, file, ""};
    strcpy(power.names[i].name, name);
}

static void add_change(const struct change *change)
{
    ASSERT(power.change_count < CHANGES_MAX);
    power.changes[power.change_count++] = *change;
}

static void apply_change(const struct change *change)
{
    if (change->makes_directory) {
        power.directories[change->file].there = true;
        return;
    }
    if (change->from[0] != '\0') name_on_medium(change->directory, change->from, 0);
    name_on_medium(change->directory, change->name, change->file);
}

/* The first `count` changes to the directory have got to the medium; the others are forgotten, or wait. */
static void settle(uint32_t directory, uint32_t count, bool forget)
{
    uint32_t kept = 0, seen = 0;
    for (uint32_t i = 0; i < power.change_count; i++) {
        struct change change = power.changes[i];
        bool other = change.directory != directory;
        if (!other && seen++ < count) apply_change(&change);
        else if (other || !forget) power.changes[kept++] = change;
    }
    power.change_count = kept;
}

static uint32_t changes_of(uint32_t directory)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < power.change_count; i++) count += power.changes[i].directory == directory;
    return count;
}

/* ---- taking a directory as it stands -------------------------------------------------------------------------------- */

static void read_file(int dir_fd, const char *name, struct file *file)
{
    int fd = __real_openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    ASSERT(fd >= 0);
    ssize_t got = read(fd, file->bytes, sizeof file->bytes);
    ASSERT(got >= 0 && got < FILE_SIZE_MAX);
    close(fd);
    memcpy(file->synced, file->bytes, sizeof file->synced);
    file->len = file->synced_len = (uint32_t)got;
    file->is_synced = true;
}

static uint32_t add_directory(int dir_fd, const char *name, bool there)
{
    struct stat status;
    ASSERT(power.directory_count < DIRECTORIES_MAX && fstat(dir_fd, &status) == 0 && strlen(name) < NAME_LENGTH_MAX);
    struct directory *directory = &power.directories[power.directory_count];
    *directory = (struct directory){.device = status.st_dev, .inode = status.st_ino, .there = there};
    strcpy(directory->name, name);
    return power.directory_count++;
}

static void take_directory(int dir_fd, const char *name)
{
    uint32_t at = add_directory(dir_fd, name, true);
    int again = __real_openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fdopendir(again);
    ASSERT(again >= 0 && entries != NULL);
    for (const struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        struct stat status;
        if (entry->d_name[0] == '.' || fstatat(dir_fd, entry->d_name, &status, 0) != 0) continue;
        if (S_ISREG(status.st_mode)) {
            uint32_t file = add_file(&status);
            read_file(dir_fd, entry->d_name, &power.files[file]);
            name_on_medium(at, entry->d_name, file);
        } else if (S_ISDIR(status.st_mode) && at == ROOT) {
            int fd = __real_openat(dir_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            ASSERT(fd >= 0);
            take_directory(fd, entry->d_name);
            close(fd);
        }
    }
    closedir(entries);
}

static int open_root(void) { return __real_openat(AT_FDCWD, power.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC); }

void power_adopt(void)
{
    power.directory_count = power.name_count = power.change_count = 0;
    power.file_count = 1;
    int fd = open_root();
    ASSERT(fd >= 0);
    take_directory(fd, "");
    close(fd);
}

void power_begin(const char *path, uint64_t seed)
{
    ASSERT(!power.on && strlen(path) < sizeof power.path);
    power.random = seed;
    power.cutting = power.cut = power.full = power.lying = false;
    strcpy(power.path, path);
    power_adopt();
    power.on = true;
}

void power_end(void) { power.on = false; }

/* ---- losing it ------------------------------------------------------------------------------------------------------ */

static void empty_directory(int dir_fd)
{
    int again = __real_openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fdopendir(again);
    ASSERT(again >= 0 && entries != NULL);
    for (const struct dirent *entry; (entry = readdir(entries)) != NULL;)
        if (entry->d_name[0] != '.') (void)__real_unlinkat(dir_fd, entry->d_name, 0); /* of files only */
    closedir(entries);
}

/* What is found of a file that was not synced. */
static void decide_bytes(struct file *file)
{
    if (file->is_synced) return;
    const uint64_t how = next_random() % 4;
    if (how == 0) { /* as it was */
        memcpy(file->bytes, file->synced, sizeof file->bytes);
        file->len = file->synced_len;
    } else if (how == 1 && file->len > 0) {
        file->len = (uint32_t)(next_random() % file->len);
    } else if (how == 2) { /* its size got there, and its bytes did not */
        memset(file->bytes, 0, sizeof file->bytes);
    }
}

static void write_file(int dir_fd, const char *name, const struct file *file)
{
    int fd = __real_openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, file->mode);
    ASSERT(fd >= 0 && fchmod(fd, file->mode) == 0 && __real_write(fd, file->bytes, file->len) == (ssize_t)file->len);
    close(fd);
}

static void write_directory(int root_fd, uint32_t number)
{
    const struct directory *directory = &power.directories[number];
    int fd = __real_openat(root_fd, number == ROOT ? "." : directory->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return; /* removed by other means */
    empty_directory(fd);
    for (uint32_t i = 0; i < power.name_count && directory->there; i++) {
        const struct name *name = &power.names[i];
        if (name->directory == number && name->file != 0) write_file(fd, name->name, &power.files[name->file]);
    }
    close(fd);
    if (!directory->there) ASSERT(__real_unlinkat(root_fd, directory->name, AT_REMOVEDIR) == 0);
}

static void lose_power(void)
{
    for (uint32_t i = 0; i < power.directory_count; i++) settle(i, (uint32_t)(next_random() % (changes_of(i) + 1)), true);
    for (uint32_t i = 1; i < power.file_count; i++) decide_bytes(&power.files[i]);
    int root_fd = open_root();
    ASSERT(root_fd >= 0);
    for (uint32_t i = power.directory_count; i > 0; i--) write_directory(root_fd, i - 1);
    close(root_fd);
    power_adopt();
}

void power_cut_after(uint32_t steps)
{
    power.cutting = true;
    power.cut = false;
    power.steps_left = steps;
}

bool power_is_cut(void) { return power.cut; }

void power_restore(bool lost)
{
    power.cutting = power.cut = false;
    if (lost) lose_power();
}

void power_set_full(bool full) { power.full = full; }
void power_set_lying(bool lying) { power.lying = lying; }

/* ---- the calls ------------------------------------------------------------------------------------------------------ */

/* Whether this step still happens. */
static bool is_let_through(bool needs_room)
{
    if (power.cutting && (power.cut || power.steps_left-- == 0)) {
        power.cut = true;
        errno = EIO;
        return false;
    }
    if (!power.full || !needs_room) return true;
    errno = ENOSPC;
    return false;
}

int __wrap_openat(int dir_fd, const char *name, int flags, ...)
{
    mode_t mode = 0;
    if (__OPEN_NEEDS_MODE(flags)) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    const uint32_t directory = (flags & O_CREAT) != 0 ? directory_of(dir_fd) : DIRECTORIES_MAX;
    if (directory == DIRECTORIES_MAX) return __real_openat(dir_fd, name, flags, mode);
    const bool is_new = faccessat(dir_fd, name, F_OK, 0) != 0;
    if (!is_let_through(is_new)) return -1;
    int fd = __real_openat(dir_fd, name, flags, mode);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0) return fd;
    uint32_t file = is_new ? add_file(&status) : file_of(fd);
    if (is_new) {
        struct change change = {.directory = directory, .file = file};
        snprintf(change.name, sizeof change.name, "%s", name);
        add_change(&change);
    } else if ((flags & O_TRUNC) != 0) {
        power.files[file].len = 0;
        power.files[file].is_synced = false;
    }
    return fd;
}

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
    const uint32_t number = file_of(fd);
    if (number == 0) return __real_write(fd, data, len);
    if (!is_let_through(true)) return -1;
    struct file *file = &power.files[number];
    ASSERT(file->len + len <= FILE_SIZE_MAX);
    memcpy(file->bytes + file->len, data, len);
    file->len += (uint32_t)len;
    file->is_synced = false;
    return __real_write(fd, data, len);
}

int __wrap_fsync(int fd)
{
    const uint32_t directory = directory_of(fd), number = directory == DIRECTORIES_MAX ? file_of(fd) : 0;
    if (directory == DIRECTORIES_MAX && number == 0) return __real_fsync(fd);
    if (!is_let_through(false)) return -1;
    if (power.lying) return 0;
    if (directory != DIRECTORIES_MAX) {
        settle(directory, UINT32_MAX, false);
    } else {
        struct file *file = &power.files[number];
        memcpy(file->synced, file->bytes, sizeof file->synced);
        file->synced_len = file->len;
        file->is_synced = true;
    }
    return 0;
}

static uint32_t file_called(int dir_fd, const char *name)
{
    int fd = __real_openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    uint32_t file = fd < 0 ? 0 : file_of(fd);
    if (fd >= 0) close(fd);
    return file;
}

int __wrap_renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    const uint32_t directory = directory_of(from_fd);
    if (directory == DIRECTORIES_MAX) return __real_renameat(from_fd, from, to_fd, to);
    ASSERT(directory_of(to_fd) == directory);
    if (!is_let_through(false)) return -1;
    struct change change = {.directory = directory, .file = file_called(from_fd, from)};
    snprintf(change.name, sizeof change.name, "%s", to);
    snprintf(change.from, sizeof change.from, "%s", from);
    int result = __real_renameat(from_fd, from, to_fd, to);
    if (result == 0) add_change(&change);
    return result;
}

int __wrap_unlinkat(int dir_fd, const char *name, int flags)
{
    const uint32_t directory = flags == 0 ? directory_of(dir_fd) : DIRECTORIES_MAX;
    if (directory == DIRECTORIES_MAX) return __real_unlinkat(dir_fd, name, flags);
    if (!is_let_through(false)) return -1;
    struct change change = {.directory = directory};
    snprintf(change.name, sizeof change.name, "%s", name);
    int result = __real_unlinkat(dir_fd, name, flags);
    if (result == 0) add_change(&change);
    return result;
}

/* Only directly below the root. */
static int make_directory(int dir_fd, const char *name, mode_t mode)
{
    if (faccessat(dir_fd, name, F_OK, 0) == 0) return __real_mkdirat(dir_fd, name, mode);
    if (!is_let_through(true)) return -1;
    int result = __real_mkdirat(dir_fd, name, mode);
    int fd = result == 0 ? __real_openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd < 0) return result;
    struct change change = {.directory = ROOT, .file = add_directory(fd, name, false), .makes_directory = true};
    add_change(&change);
    close(fd);
    return 0;
}

int __wrap_mkdirat(int dir_fd, const char *name, mode_t mode)
{
    return directory_of(dir_fd) == ROOT ? make_directory(dir_fd, name, mode) : __real_mkdirat(dir_fd, name, mode);
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    const size_t root_len = strlen(power.path);
    const bool below = power.on && strncmp(path, power.path, root_len) == 0 && path[root_len] == '/' &&
                       strchr(path + root_len + 1, '/') == NULL;
    if (!below) return __real_mkdir(path, mode);
    int root_fd = open_root();
    int result = root_fd < 0 ? -1 : make_directory(root_fd, path + root_len + 1, mode);
    int error = errno;
    if (root_fd >= 0) close(root_fd);
    errno = error;
    return result;
}
