/* perf/driver.h - a protocol as the workloads see it. Sockets and buffers are the session's; a driver turns what a person does
 * into bytes and bytes into what a person learns (the session_on_ functions of perf/session.h).
 *
 * A driver logs in by itself: from `open` on it exchanges what its protocol asks for and then calls session_on_ready(). */
#ifndef PERF_DRIVER_H
#define PERF_DRIVER_H

#include "perf/bytes.h"
#include "perf/calls.h"

struct session;

struct outgoing {
    uint64_t id;         /* comes back in the answer */
    uint64_t room_id;    /* either this … */
    uint64_t to_user_id; /* … or that is 0 */
    struct slice client_msg_id, body;
};

/* What logs in where, beside the people themselves. */
struct broker {
    bool plain;                   /* no Ringpost: nobody is registered, topics are made by their use */
    const char *user, *password;  /* of everybody at a plain broker; NULL: none */
    uint8_t qos;                  /* 0 or 1, both ways; MQTT only */
};

struct driver {
    const char *name;
    /* The socket is connected: write what the protocol begins with. */
    void (*open)(struct session *session);
    /* Takes whole frames from the front of `in`; returns the bytes taken. */
    size_t (*receive)(struct session *session, struct slice in);
    void (*send)(struct session *session, const struct outgoing *message);
    /* Any method of the API; NULL when the protocol carries chat only. */
    void (*call)(struct session *session, const Ringpost__V1__Request *request);
    /* Writes a farewell; NULL: the protocol has none. */
    void (*close)(struct session *session);
};

extern const struct driver driver_tcp, driver_websocket, driver_mqtt;
/* NULL: there is no such driver. */
const struct driver *driver_named(const char *name);

#endif
