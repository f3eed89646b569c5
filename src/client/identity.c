/* client/identity.c - the file behind an identity.
 *
 *   {"device_id": "cli-…", "user_id": "42", "name": "alice", "display_name": "Alice", "access_token": "…", "access_expires_ms": "…",
 *    "refresh_token": "…", "refresh_expires_ms": "…", "sync_key": "7", "stream_epoch": "…"}   64-bit numbers are strings, as everywhere in JSON.
 *
 * A file of before there were epochs has none.
 *
 * Failure modes: a file that is not that is reported, never overwritten unseen; a crash while saving leaves the old file and a
 * leftover SERVER.json.new, which the next save replaces. */
#include "client/identity.h"
#include "core/check.h"
#include "core/clock.h"
#include "core/secret.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- where ---- */

static bool is_file_name(const char *text, size_t len_max, const char *also)
{
    size_t len = strlen(text);
    if (len > len_max || text[0] == '.') return false;
    for (const char *at = text; *at != '\0'; at++)
        if (!isalnum((unsigned char)*at) && strchr(also, *at) == NULL) return false;
    return true;
}

/* Makes every directory of `path` that is missing, private to the user. */
static enum result make_directories(const char *path)
{
    char part[IDENTITY_PATH_MAX];
    for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        if (mkdir(part, 0700) != 0 && errno != EEXIST) return result_from_errno(errno);
    }
    return RESULT_OK;
}

static enum result identity_find_path(struct identity *identity, const char *profile)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char base[IDENTITY_PATH_MAX / 2];
    int len = state != NULL && state[0] == '/' ? snprintf(base, sizeof base, "%s", state)
                                               : snprintf(base, sizeof base, "%s/.local/state", home != NULL ? home : "");
    if (len < 0 || (size_t)len >= sizeof base || base[0] != '/') return RESULT_MALFORMED;
    len = snprintf(identity->path, sizeof identity->path, "%s/ringpost/%s%s%s.json", base, identity->server, profile[0] != '\0' ? "+" : "",
                   profile);
    return len > 0 && (size_t)len < sizeof identity->path ? RESULT_OK : RESULT_MALFORMED;
}

/* ---- reading ---- */

static bool read_text(const json_t *root, const char *key, char *out, size_t out_size)
{
    const char *text = json_string_value(json_object_get(root, key));
    if (text == NULL || strlen(text) >= out_size) return false;
    snprintf(out, out_size, "%s", text);
    return true;
}

static bool read_number(const json_t *root, const char *key, uint64_t *out)
{
    const char *text = json_string_value(json_object_get(root, key));
    if (text == NULL || !isdigit((unsigned char)text[0])) return false;
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool identity_read(struct identity *s, const json_t *root)
{
    s->stream_epoch[0] = '\0';
    bool epoch = json_object_get(root, "stream_epoch") == NULL || read_text(root, "stream_epoch", s->stream_epoch, sizeof s->stream_epoch);
    return epoch && read_text(root, "device_id", s->device_id, sizeof s->device_id) && s->device_id[0] != '\0' &&
           read_number(root, "user_id", &s->user_id) && read_text(root, "name", s->name, sizeof s->name) &&
           read_text(root, "display_name", s->display_name, sizeof s->display_name) &&
           read_text(root, "access_token", s->access_token, sizeof s->access_token) &&
           read_number(root, "access_expires_ms", &s->access_expires_ms) &&
           read_text(root, "refresh_token", s->refresh_token, sizeof s->refresh_token) &&
           read_number(root, "refresh_expires_ms", &s->refresh_expires_ms) && read_number(root, "sync_key", &s->sync_key);
}

/* `text` gets words only where the result says too little. */
static enum result identity_load(struct identity *identity, char *text, size_t text_size)
{
    int fd = open(identity->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? RESULT_MISSING : result_from_errno(errno);
    enum result private = secret_check_file(fd, identity->path, SECRET_OURS, text, text_size);
    if (private != RESULT_OK) {
        close(fd);
        return private;
    }
    json_error_t error;
    json_t *root = json_loadfd(fd, JSON_REJECT_DUPLICATES, &error);
    close(fd);
    if (root == NULL) return RESULT_CORRUPT;
    struct identity *read = malloc(sizeof *read);
    enum result res = RESULT_NOMEM;
    if (read != NULL) {
        *read = *identity;
        res = identity_read(read, root) ? RESULT_OK : RESULT_CORRUPT;
        if (res == RESULT_OK) *identity = *read;
        explicit_bzero(read, sizeof *read);
        free(read);
    }
    json_decref(root);
    return res;
}

enum result identity_open(struct identity *identity, const char *server, const char *profile, char *text, size_t text_size)
{
    *identity = (struct identity){.lock_fd = -1};
    if (!is_file_name(server, IDENTITY_SERVER_MAX, ":.-_[]") || !is_file_name(profile, IDENTITY_PROFILE_MAX, "-_.")) {
        snprintf(text, text_size, "the server or the profile has characters that a name cannot have: %s %s", server, profile);
        return RESULT_MALFORMED;
    }
    snprintf(identity->server, sizeof identity->server, "%s", server);
    if (identity_find_path(identity, profile) != RESULT_OK) {
        snprintf(text, text_size, "no place for the identity file: set HOME or XDG_STATE_HOME to an absolute path");
        return RESULT_MALFORMED;
    }
    text[0] = '\0';
    enum result res = identity_load(identity, text, text_size);
    if (res == RESULT_MISSING) {
        uint64_t random;
        clock_random(&random, sizeof random);
        snprintf(identity->device_id, sizeof identity->device_id, "cli-%016llx", (unsigned long long)random);
        return RESULT_OK;
    }
    if (res != RESULT_OK && text[0] == '\0')
        snprintf(text, text_size, "%s: %s", identity->path,
                 res == RESULT_CORRUPT ? "not an identity file; remove it and log in again" : result_text(res));
    return res;
}

void identity_close(struct identity *identity)
{
    identity_unlock(identity);
    explicit_bzero(identity->access_token, sizeof identity->access_token);
    explicit_bzero(identity->refresh_token, sizeof identity->refresh_token);
}

bool identity_is_logged_in(const struct identity *identity)
{
    return identity->user_id != 0;
}

/* ---- changing ---- */

enum result identity_lock(struct identity *identity, bool wait)
{
    ASSERT(identity->lock_fd < 0);
    char path[IDENTITY_PATH_MAX + 8];
    enum result res = make_directories(identity->path);
    if (res != RESULT_OK) return res;
    snprintf(path, sizeof path, "%s.lock", identity->path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return result_from_errno(errno);
    while (flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB)) != 0) {
        if (errno == EINTR) continue;
        res = errno == EWOULDBLOCK ? RESULT_BUSY : result_from_errno(errno);
        close(fd);
        return res;
    }
    identity->lock_fd = fd;
    return RESULT_OK;
}

void identity_unlock(struct identity *identity)
{
    if (identity->lock_fd >= 0) close(identity->lock_fd);
    identity->lock_fd = -1;
}

enum result identity_reload(struct identity *identity)
{
    ASSERT(identity->lock_fd >= 0);
    char text[IDENTITY_PATH_MAX + 256];
    enum result res = identity_load(identity, text, sizeof text);
    if (res != RESULT_MISSING) return res;
    identity_forget_user(identity);
    return RESULT_OK;
}

static json_t *identity_to_json(const struct identity *s)
{
    char user_id[24], access_expires[24], refresh_expires[24], sync_key[24];
    snprintf(user_id, sizeof user_id, "%llu", (unsigned long long)s->user_id);
    snprintf(access_expires, sizeof access_expires, "%llu", (unsigned long long)s->access_expires_ms);
    snprintf(refresh_expires, sizeof refresh_expires, "%llu", (unsigned long long)s->refresh_expires_ms);
    snprintf(sync_key, sizeof sync_key, "%llu", (unsigned long long)s->sync_key);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "device_id", s->device_id, "user_id", user_id, "name", s->name,
                     "display_name", s->display_name, "access_token", s->access_token, "access_expires_ms", access_expires, "refresh_token",
                     s->refresh_token, "refresh_expires_ms", refresh_expires, "sync_key", sync_key, "stream_epoch", s->stream_epoch);
}

static enum result write_and_sync(int fd, const json_t *root)
{
    if (json_dumpfd(root, fd, JSON_INDENT(2)) != 0) return errno == ENOSPC ? RESULT_FULL : RESULT_IO;
    return fsync(fd) == 0 ? RESULT_OK : result_from_errno(errno);
}

enum result identity_save(struct identity *identity)
{
    ASSERT(identity->lock_fd >= 0);
    char path[IDENTITY_PATH_MAX + 8];
    snprintf(path, sizeof path, "%s.new", identity->path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return result_from_errno(errno);
    json_t *root = identity_to_json(identity);
    enum result res = root != NULL ? write_and_sync(fd, root) : RESULT_NOMEM;
    json_decref(root);
    close(fd);
    if (res == RESULT_OK && rename(path, identity->path) != 0) res = result_from_errno(errno);
    if (res != RESULT_OK) unlink(path);
    return res;
}

void identity_set_user(struct identity *identity, uint64_t user_id, const char *name, const char *display_name)
{
    if (identity->user_id != user_id) {
        identity->sync_key = 0;
        identity->stream_epoch[0] = '\0';
    }
    identity->user_id = user_id;
    snprintf(identity->name, sizeof identity->name, "%s", name);
    snprintf(identity->display_name, sizeof identity->display_name, "%s", display_name);
}

enum result identity_set_tokens(struct identity *identity, const char *access, uint64_t access_expires_ms, const char *refresh,
                               uint64_t refresh_expires_ms)
{
    if (strlen(access) > TOKEN_SIZE_MAX || strlen(refresh) > TOKEN_REFRESH_MAX) return RESULT_TOO_LARGE;
    snprintf(identity->access_token, sizeof identity->access_token, "%s", access);
    snprintf(identity->refresh_token, sizeof identity->refresh_token, "%s", refresh);
    identity->access_expires_ms = access_expires_ms;
    identity->refresh_expires_ms = refresh_expires_ms;
    return RESULT_OK;
}

void identity_forget_user(struct identity *identity)
{
    identity->user_id = identity->sync_key = identity->access_expires_ms = identity->refresh_expires_ms = 0;
    identity->name[0] = identity->display_name[0] = identity->stream_epoch[0] = '\0';
    explicit_bzero(identity->access_token, sizeof identity->access_token);
    explicit_bzero(identity->refresh_token, sizeof identity->refresh_token);
}

static bool same_epoch(const struct identity *identity, const char *stream_epoch)
{
    return strcmp(identity->stream_epoch, stream_epoch) == 0;
}

static enum result position_put(struct identity *identity, uint64_t sync_key, const char *stream_epoch, bool wait, bool back)
{
    bool held = identity->lock_fd >= 0;
    enum result res = held ? RESULT_OK : identity_lock(identity, wait);
    if (res != RESULT_OK) return res;
    uint64_t user_id = identity->user_id, key_before = identity->sync_key;
    char epoch_before[IDENTITY_EPOCH_MAX + 1];
    memcpy(epoch_before, identity->stream_epoch, sizeof epoch_before);
    res = identity_reload(identity);
    bool untouched = identity->sync_key == key_before && same_epoch(identity, epoch_before);
    bool moves = identity->sync_key < sync_key || (identity->sync_key == sync_key && !same_epoch(identity, stream_epoch)) || (back && untouched);
    if (res == RESULT_OK && identity->user_id == user_id && moves) {
        identity->sync_key = sync_key;
        snprintf(identity->stream_epoch, sizeof identity->stream_epoch, "%s", stream_epoch);
        res = identity_save(identity);
    }
    if (!held) identity_unlock(identity);
    return res;
}


enum result identity_advance(struct identity *identity, uint64_t sync_key, const char *stream_epoch, bool wait)
{
    return position_put(identity, sync_key, stream_epoch, wait, false);
}

enum result identity_move(struct identity *identity, uint64_t sync_key, const char *stream_epoch, bool wait)
{
    return position_put(identity, sync_key, stream_epoch, wait, true);
}
