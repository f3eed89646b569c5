/* perf/session.h - one connection of one person, and the loop that serves all of them.
 * Owns:    the loop owns its sessions; a session owns its socket and its buffers.
 * States:  CONNECTING -> SECURING (with TLS) -> LOGIN -> READY -> LEAVING -> CLOSED; any -> CLOSED.
 *          A closed session is freed at the end of the loop's turn.
 * A turn: take what epoll reports, hand it to the drivers, then one send per session that has something to say. */
#ifndef PERF_SESSION_H
#define PERF_SESSION_H

#include "perf/driver.h"
#include "perf/tls.h"
#include "perf/users.h"
#include <netinet/in.h>

enum session_state { SESSION_CONNECTING, SESSION_SECURING, SESSION_LOGIN, SESSION_READY, SESSION_LEAVING, SESSION_CLOSED };

struct answer { /* to one request; everything is borrowed for the callback */
    uint64_t id;
    bool refused, retryable;
    uint32_t retry_after_ms;
    struct slice reason;       /* of a refusal */
    uint32_t method;           /* of a result: its field in Response */
    struct slice result;       /* of a result: packed */
    struct slice packed;       /* the whole Response */
};

struct incoming { /* a message that reached this session */
    uint64_t room_id, seq, sender_id; /* 0: the protocol does not say */
    struct slice body;
    bool repeated; /* the server says that it may have come before */
};

struct session_events { /* NULL: of no interest */
    void (*on_ready)(struct session *session);
    void (*on_answer)(struct session *session, const struct answer *answer);
    void (*on_message)(struct session *session, const struct incoming *message);
    /* The server or the network ended it; not called for session_close(). */
    void (*on_closed)(struct session *session, const char *reason);
    void (*on_left)(struct session *session);
};

struct login { /* who comes, and what for; MQTT wants to know, on the other doors a login hears everything */
    uint64_t user_id;  /* 0: nobody logs in; ready as soon as requests are taken */
    uint64_t room_id;  /* listens to this room; 0: to none */
    bool hears_direct; /* listens to what is written to the person */
    bool persistent;   /* what it misses is kept for it */
    tls_ticket *ticket; /* TLS: of the person's last connection, to resume it; NULL: a full handshake */
};

struct session {
    const struct driver *driver;
    const struct session_events *events;
    void *context; /* the workload's */
    struct loop *loop;
    struct session *next_dirty, *next_closed;
    struct call *call; /* the one being waited for */
    struct bytes out, partial;
    size_t out_start;
    struct tls *tls;    /* NULL: plain */
    void *driver_state; /* the driver's; freed with the session */
    struct login login;
    uint64_t sync_key; /* newest of the user's stream that this session knows */
    uint64_t heard_key; /* newest that it heard of */
    int fd;
    uint8_t driver_stage; /* the driver's */
    enum session_state state;
    bool dirty, ignores_pushes;
    bool resumed; /* the server had kept this session */
};

struct loop_counters { /* of all sessions */
    uint64_t ready, closed_by_server;
    uint64_t stream_holes; /* an event's sync_key was not the last one plus one */
    uint64_t behind;       /* the server stopped pushing to a session: it read too slowly */
};

struct loop {
    int epoll_fd;
    struct sockaddr_in server;
    struct token_mint tokens;
    struct broker broker;
    struct tls_client *tls; /* NULL: sessions are plain */
    char tls_described[80]; /* of the last handshake */
    struct session *dirty, *closed;
    uint8_t *receive_buffer;
    uint64_t now_ns; /* when the bytes being handled were received */
    uint64_t session_count, opened_count;
    struct loop_counters counters;
};

/* `address`: 127.0.0.1:7800. `tokens`: NULL at a plain broker. */
void loop_init(struct loop *loop, const char *address, const struct broker *broker, const struct token_mint *tokens);
void loop_deinit(struct loop *loop);
/* One turn; waits for at most `wait_ns`. */
void loop_turn(struct loop *loop, uint64_t wait_ns);
/* Turns for so long. */
void loop_turn_for(struct loop *loop, double seconds);
/* Turns until `done` says so; false after `timeout_s`. */
bool loop_until(struct loop *loop, bool (*done)(void *context), void *context, double timeout_s);

struct session *session_open(struct loop *loop, const struct driver *driver, const struct login *login,
                             const struct session_events *events, void *context);
/* Ends it, with the protocol's farewell when it has one, and without on_closed. */
void session_close(struct session *session);
/* The same, but waits for the server to close; what still arrives is let pass. A socket that is closed with unread bytes in it takes
 * back what it sent last, and with it acknowledgements. `on_left` of the events says when. */
void session_leave(struct session *session);
/* Opens `count` sessions, at most some hundreds at a time, and waits until all are ready; ends the program when one is not. */
void session_open_all(struct loop *loop, const struct driver *driver, const struct login *logins, uint32_t count,
                      struct session **sessions);

/* MQTT: everybody comes once with a clean session, so that nothing is kept for anybody. */
void session_forget_all(struct loop *loop, const struct driver *driver, const struct login *logins, uint32_t count);

/* ---- for drivers ---- */
/* False: what else arrived is for nobody. */
static inline bool session_listens(const struct session *session) { return session->state < SESSION_LEAVING; }
/* Room for `len` bytes that go out at the end of the turn. */
uint8_t *session_write(struct session *session, size_t len);
void session_fail(struct session *session, const char *reason);
void session_on_ready(struct session *session);
void session_on_answer(struct session *session, const struct answer *answer);
void session_on_message(struct session *session, const struct incoming *message);
/* An event of the user's stream; `message` NULL: of another kind. */
void session_on_event(struct session *session, uint64_t sync_key, const struct incoming *message);

#endif
