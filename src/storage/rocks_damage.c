/* storage/rocks_damage.c - what RocksDB's errors mean, and damage.
 * A block that is not what was written, met by a read, a flush or a compaction, is damage: noted once, in a file of the store's directory
 * too, so that a start which does not meet it says the same. */
#include "storage/rocks_internal.h"
#include "storage/wholefile.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum result rocks_result(char *error, char *copy, size_t copy_size)
{
    if (copy_size > 0) copy[0] = '\0';
    if (error == NULL) return RESULT_OK;
    snprintf(copy, copy_size, "%s", error);
    enum result result = RESULT_IO;
    if (strncmp(error, "Result incomplete", 17) == 0) result = RESULT_BUSY;
    else if (strstr(error, "No space left") != NULL) result = RESULT_FULL;
    else if (strncmp(error, "Corruption", 10) == 0 || strstr(error, "Input/output error") != NULL) result = RESULT_CORRUPT;
    rocksdb_free(error);
    return result;
}

static int open_directory(const char *path) { return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC); }

void rocks_note_damage(struct rocks *rocks, const char *text)
{
    if (rocks->damaged) return;
    rocks->damaged = true;
    snprintf(rocks->damage, sizeof rocks->damage, "%s", text);
    if (rocks->options.look_only) return;
    int fd = open_directory(rocks->path);
    enum result result = fd < 0 ? RESULT_IO : wholefile_write(fd, ROCKS_DAMAGE_NAME, rocks->damage, strlen(rocks->damage));
    if (fd >= 0) close(fd);
    LOG_ERROR("store", "damaged path=\"%s\" damage=\"%s\" noted_in=" ROCKS_DAMAGE_NAME " note=\"%s\"", rocks->path, rocks->damage,
              result_text(result));
}

bool rocks_find_damage(const char *path, char *text, size_t text_size)
{
    size_t len = 0;
    int fd = open_directory(path);
    enum result result = fd < 0 ? RESULT_MISSING : wholefile_read(fd, ROCKS_DAMAGE_NAME, text, text_size - 1, &len);
    if (fd >= 0) close(fd);
    text[len] = '\0';
    return result == RESULT_OK;
}

enum result rocks_read_result(struct rocks *rocks, char *error)
{
    char text[LOGGER_LINE_MAX / 2];
    enum result result = rocks_result(error, text, sizeof text);
    if (result == RESULT_CORRUPT) rocks_note_damage(rocks, text);
    else if (result != RESULT_OK) LOG_ERROR("store", "read failed path=\"%s\" error=\"%s\"", rocks->path, text);
    return result == RESULT_OK || result == RESULT_CORRUPT ? result : RESULT_IO;
}

const char *rocks_damage(const struct rocks *rocks) { return rocks->damaged ? rocks->damage : NULL; }
