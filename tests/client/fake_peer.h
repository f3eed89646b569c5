/* tests/client/fake_peer.h - a server for client tests: a thread that speaks the TCP door's protocol and misbehaves on demand.
 * Owns:    its listener, its thread, one connection at a time (a new one waits until the old one ends).
 * Thread:  the script and the counts may be touched only between fake_peer_lock() and fake_peer_unlock(), before the start included.
 * The user's stream is made up: entry k is message k of room 1. */
#ifndef TESTS_CLIENT_FAKE_PEER_H
#define TESTS_CLIENT_FAKE_PEER_H

#include "core/cursor.h"
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define FAKE_SENDS_MAX 64

struct fake_peer {
    char port[8];
    /* script */
    uint32_t heartbeat_interval_ms;    /* told in the hello */
    char access_token[64];             /* the one that auth takes; any other is token_expired */
    char refresh_token[64];            /* works once: gives access_token, and "refresh-next" */
    uint32_t drops;                    /* so many calls (not logins) are carried out, then the connection ends instead of the answer */
    uint32_t busies;                   /* so many sends are refused with "try again later" */
    bool mute;                         /* calls are read and forgotten */
    bool garbage;                      /* the first bytes are no hello */
    uint64_t stream_length, stream_kept_after;
    const char *epoch;                 /* of the stream; NULL: an older server, which knows none */
    uint32_t heads;                    /* in each last page of sync */
    /* what happened */
    uint32_t connections, auths, refreshes, syncs, heartbeats, calls;
    char sends[FAKE_SENDS_MAX][32];    /* client_msg_id of each stored send, in order, repeats left out */
    uint32_t send_count, repeat_count;
    /* own */
    int listen_fd, conn_fd, stop_fd;
    pthread_t thread;
    pthread_mutex_t mutex;
    struct writer in;
};

void fake_peer_start(struct fake_peer *peer); /* *peer: zeroed or with a script */
void fake_peer_stop(struct fake_peer *peer);
void fake_peer_lock(struct fake_peer *peer);
void fake_peer_unlock(struct fake_peer *peer);
/* Reads one count under the lock. */
uint32_t fake_peer_read(struct fake_peer *peer, const uint32_t *count);

/* From the test, to whoever is connected now. */
void fake_peer_push_event(struct fake_peer *peer, uint64_t sync_key);
void fake_peer_push_behind(struct fake_peer *peer, uint64_t sync_key);
void fake_peer_push_session_end(struct fake_peer *peer, const char *reason);
void fake_peer_heartbeat(struct fake_peer *peer);
void fake_peer_raw(struct fake_peer *peer, struct slice bytes);
void fake_peer_kick(struct fake_peer *peer);

#endif
