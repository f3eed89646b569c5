/* client/session.c - the file behind a session.
 *
 *   {"device_id": "cli-…", "user_id": "42", "name": "alice", "display_name": "Alice", "access_token": "…", "access_expires_ms": "…",
 *    "refresh_token": "…", "refresh_expires_ms": "…", "sync_key": "7"}                 64-bit numbers are strings, as everywhere in JSON
 *
 * Failure modes: a file that is not that is reported, never overwritten unseen; a crash while saving leaves the old file and a
 * leftover SERVER.json.new, which the next save replaces. */
#include "client/session.h"
#include "core/check.h"
#include "core/clock.h"
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
    char part[SESSION_PATH_MAX];
    for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        if (mkdir(part, 0700) != 0 && errno != EEXIST) return result_from_errno(errno);
    }
    return RESULT_OK;
}

static enum result session_find_path(struct session *session, const char *profile)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char base[SESSION_PATH_MAX / 2];
    int len = state != NULL && state[0] == '/' ? snprintf(base, sizeof base, "%s", state)
                                               : snprintf(base, sizeof base, "%s/.local/state", home != NULL ? home : "");
    if (len < 0 || (size_t)len >= sizeof base || base[0] != '/') return RESULT_MALFORMED;
    len = snprintf(session->path, sizeof session->path, "%s/ringpost/%s%s%s.json", base, session->server, profile[0] != '\0' ? "+" : "",
                   profile);
    return len > 0 && (size_t)len < sizeof session->path ? RESULT_OK : RESULT_MALFORMED;
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

static bool session_read(struct session *s, const json_t *root)
{
    return read_text(root, "device_id", s->device_id, sizeof s->device_id) && s->device_id[0] != '\0' &&
           read_number(root, "user_id", &s->user_id) && read_text(root, "name", s->name, sizeof s->name) &&
           read_text(root, "display_name", s->display_name, sizeof s->display_name) &&
           read_text(root, "access_token", s->access_token, sizeof s->access_token) &&
           read_number(root, "access_expires_ms", &s->access_expires_ms) &&
           read_text(root, "refresh_token", s->refresh_token, sizeof s->refresh_token) &&
           read_number(root, "refresh_expires_ms", &s->refresh_expires_ms) && read_number(root, "sync_key", &s->sync_key);
}

static enum result session_load(struct session *session)
{
    int fd = open(session->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? RESULT_MISSING : result_from_errno(errno);
    json_error_t error;
    json_t *root = json_loadfd(fd, JSON_REJECT_DUPLICATES, &error);
    close(fd);
    if (root == NULL) return RESULT_CORRUPT;
    struct session *read = malloc(sizeof *read);
    enum result res = RESULT_NOMEM;
    if (read != NULL) {
        *read = *session;
        res = session_read(read, root) ? RESULT_OK : RESULT_CORRUPT;
        if (res == RESULT_OK) *session = *read;
        explicit_bzero(read, sizeof *read);
        free(read);
    }
    json_decref(root);
    return res;
}

enum result session_open(struct session *session, const char *server, const char *profile, char *text, size_t text_size)
{
    *session = (struct session){.lock_fd = -1};
    if (!is_file_name(server, SESSION_SERVER_MAX, ":.-_[]") || !is_file_name(profile, SESSION_PROFILE_MAX, "-_.")) {
        snprintf(text, text_size, "the server or the profile has characters that a name cannot have: %s %s", server, profile);
        return RESULT_MALFORMED;
    }
    snprintf(session->server, sizeof session->server, "%s", server);
    if (session_find_path(session, profile) != RESULT_OK) {
        snprintf(text, text_size, "no place for the session file: set HOME or XDG_STATE_HOME to an absolute path");
        return RESULT_MALFORMED;
    }
    enum result res = session_load(session);
    if (res == RESULT_MISSING) {
        uint64_t random;
        clock_random(&random, sizeof random);
        snprintf(session->device_id, sizeof session->device_id, "cli-%016llx", (unsigned long long)random);
        return RESULT_OK;
    }
    if (res != RESULT_OK)
        snprintf(text, text_size, "%s: %s", session->path,
                 res == RESULT_CORRUPT ? "not a session file; remove it and log in again" : result_text(res));
    return res;
}

void session_close(struct session *session)
{
    session_unlock(session);
    explicit_bzero(session->access_token, sizeof session->access_token);
    explicit_bzero(session->refresh_token, sizeof session->refresh_token);
}

bool session_is_logged_in(const struct session *session)
{
    return session->user_id != 0;
}

/* ---- changing ---- */

enum result session_lock(struct session *session, bool wait)
{
    ASSERT(session->lock_fd < 0);
    char path[SESSION_PATH_MAX + 8];
    enum result res = make_directories(session->path);
    if (res != RESULT_OK) return res;
    snprintf(path, sizeof path, "%s.lock", session->path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return result_from_errno(errno);
    while (flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB)) != 0) {
        if (errno == EINTR) continue;
        res = errno == EWOULDBLOCK ? RESULT_BUSY : result_from_errno(errno);
        close(fd);
        return res;
    }
    session->lock_fd = fd;
    return RESULT_OK;
}

void session_unlock(struct session *session)
{
    if (session->lock_fd >= 0) close(session->lock_fd);
    session->lock_fd = -1;
}

enum result session_reload(struct session *session)
{
    ASSERT(session->lock_fd >= 0);
    enum result res = session_load(session);
    if (res != RESULT_MISSING) return res;
    session_forget_user(session);
    return RESULT_OK;
}

static json_t *session_to_json(const struct session *s)
{
    char user_id[24], access_expires[24], refresh_expires[24], sync_key[24];
    snprintf(user_id, sizeof user_id, "%llu", (unsigned long long)s->user_id);
    snprintf(access_expires, sizeof access_expires, "%llu", (unsigned long long)s->access_expires_ms);
    snprintf(refresh_expires, sizeof refresh_expires, "%llu", (unsigned long long)s->refresh_expires_ms);
    snprintf(sync_key, sizeof sync_key, "%llu", (unsigned long long)s->sync_key);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "device_id", s->device_id, "user_id", user_id, "name", s->name,
                     "display_name", s->display_name, "access_token", s->access_token, "access_expires_ms", access_expires, "refresh_token",
                     s->refresh_token, "refresh_expires_ms", refresh_expires, "sync_key", sync_key);
}

static enum result write_and_sync(int fd, const json_t *root)
{
    if (json_dumpfd(root, fd, JSON_INDENT(2)) != 0) return errno == ENOSPC ? RESULT_FULL : RESULT_IO;
    return fsync(fd) == 0 ? RESULT_OK : result_from_errno(errno);
}

enum result session_save(struct session *session)
{
    ASSERT(session->lock_fd >= 0);
    char path[SESSION_PATH_MAX + 8];
    snprintf(path, sizeof path, "%s.new", session->path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return result_from_errno(errno);
    json_t *root = session_to_json(session);
    enum result res = root != NULL ? write_and_sync(fd, root) : RESULT_NOMEM;
    json_decref(root);
    close(fd);
    if (res == RESULT_OK && rename(path, session->path) != 0) res = result_from_errno(errno);
    if (res != RESULT_OK) unlink(path);
    return res;
}

void session_set_user(struct session *session, uint64_t user_id, const char *name, const char *display_name)
{
    if (session->user_id != user_id) session->sync_key = 0;
    session->user_id = user_id;
    snprintf(session->name, sizeof session->name, "%s", name);
    snprintf(session->display_name, sizeof session->display_name, "%s", display_name);
}

enum result session_set_tokens(struct session *session, const char *access, uint64_t access_expires_ms, const char *refresh,
                               uint64_t refresh_expires_ms)
{
    if (strlen(access) > TOKEN_SIZE_MAX || strlen(refresh) > TOKEN_REFRESH_MAX) return RESULT_TOO_LARGE;
    snprintf(session->access_token, sizeof session->access_token, "%s", access);
    snprintf(session->refresh_token, sizeof session->refresh_token, "%s", refresh);
    session->access_expires_ms = access_expires_ms;
    session->refresh_expires_ms = refresh_expires_ms;
    return RESULT_OK;
}

void session_forget_user(struct session *session)
{
    session->user_id = session->sync_key = session->access_expires_ms = session->refresh_expires_ms = 0;
    session->name[0] = session->display_name[0] = '\0';
    explicit_bzero(session->access_token, sizeof session->access_token);
    explicit_bzero(session->refresh_token, sizeof session->refresh_token);
}

enum result session_advance(struct session *session, uint64_t sync_key, bool wait)
{
    bool held = session->lock_fd >= 0;
    enum result res = held ? RESULT_OK : session_lock(session, wait);
    if (res != RESULT_OK) return res;
    uint64_t user_id = session->user_id;
    res = session_reload(session);
    if (res == RESULT_OK && session->user_id == user_id && session->sync_key < sync_key) {
        session->sync_key = sync_key;
        res = session_save(session);
    }
    if (!held) session_unlock(session);
    return res;
}

