/* client/identity.h - who is logged in on this device, kept between runs.
 * Owns:    $XDG_STATE_HOME/ringpost/SERVER.json (SERVER+PROFILE.json for a named profile), mode 0600, in a directory of mode 0700;
 *          without XDG_STATE_HOME: ~/.local/state. Beside it a .lock file.
 * Thread:  one at a time; several processes may share a file.
 * Depends: core/, jansson.        Start at: client/client.h
 *
 * Several terminals of one person share one file, and a refresh token works once. So every change is made under the lock, to what is
 * on disk at that moment, and replaces the file by a rename: a reader sees an old or a new one, never a part of one. The holder of
 * the lock is the one who may spend the refresh token. `sync_key` and `stream_epoch` are the position of `ringpost tail`. */
#ifndef CLIENT_IDENTITY_H
#define CLIENT_IDENTITY_H

#include "api/token.h"
#include "core/result.h"
#include <stdbool.h>
#include <stdint.h>

#define IDENTITY_SERVER_MAX 255
#define IDENTITY_PROFILE_MAX 32
#define IDENTITY_PATH_MAX 1024
#define IDENTITY_NAME_MAX 32
#define IDENTITY_DISPLAY_NAME_MAX 256 /* bytes of 64 characters */
#define IDENTITY_EPOCH_MAX 63

struct identity {
    char server[IDENTITY_SERVER_MAX + 1]; /* "host:port" */
    char path[IDENTITY_PATH_MAX];
    int lock_fd;                         /* -1: not held by us */
    /* what the file holds */
    char device_id[TOKEN_DEVICE_MAX + 1]; /* made once; survives logout */
    uint64_t user_id;                     /* 0: nobody is logged in */
    char name[IDENTITY_NAME_MAX + 1];
    char display_name[IDENTITY_DISPLAY_NAME_MAX + 1];
    char access_token[TOKEN_SIZE_MAX + 1];
    uint64_t access_expires_ms;
    char refresh_token[TOKEN_REFRESH_MAX + 1];
    uint64_t refresh_expires_ms;
    uint64_t sync_key;
    char stream_epoch[IDENTITY_EPOCH_MAX + 1]; /* that came with it; "": unknown */
};

/* Reads what is kept for that server and profile ("" is the default one); a device that was never here gets a new device id, and no
 * file is written yet. MALFORMED: server or profile cannot be part of a file name; CORRUPT: the file is not one of ours; IO. `text` says
 * which file and why. The caller ends *identity with identity_close(). */
NODISCARD enum result identity_open(struct identity *identity, const char *server, const char *profile, char *text, size_t text_size);
void identity_close(struct identity *identity); /* releases the lock, wipes the tokens */
bool identity_is_logged_in(const struct identity *identity);

/* OK: ours until identity_unlock(). BUSY: another process has it (`wait` false only). IO. */
NODISCARD enum result identity_lock(struct identity *identity, bool wait);
void identity_unlock(struct identity *identity);
/* Takes over what another process may have written since; the lock must be held. A removed file is nobody logged in. */
NODISCARD enum result identity_reload(struct identity *identity);
/* Replaces the file by what *identity says; the lock must be held. FULL, IO. */
NODISCARD enum result identity_save(struct identity *identity);

/* A new login: another person starts with no position. Wipes what was there. */
void identity_set_user(struct identity *identity, uint64_t user_id, const char *name, const char *display_name);
/* TOO_LARGE: longer than a token can be. */
NODISCARD enum result identity_set_tokens(struct identity *identity, const char *access, uint64_t access_expires_ms, const char *refresh,
                                         uint64_t refresh_expires_ms);
void identity_forget_user(struct identity *identity);
/* Moves the kept position up to `sync_key`, unless another process went further or another person logged in. BUSY as identity_lock. */
NODISCARD enum result identity_advance(struct identity *identity, uint64_t sync_key, const char *stream_epoch, bool wait);
/* The same for a stream that begins anew: back, too, unless another process has moved it since we read it. */
NODISCARD enum result identity_move(struct identity *identity, uint64_t sync_key, const char *stream_epoch, bool wait);

#endif
