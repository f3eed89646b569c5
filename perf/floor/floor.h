/* perf/floor/floor.h - the floor: a yardstick, not a server. One thread, one ring, just enough MQTT 3.1.1 to pass messages on, and nothing
 * else that costs time: what is left is the price of the kernel's sockets.
 *
 *   floor            stores nothing: what a core can pass on at all
 *   floor --log F    the logging floor: a message is acknowledged and delivered when a group-committed log has it on disk, the promise
 *                    that Ringpost makes; what a core can pass on with that promise
 *
 *   floor.c        command line, ring, the turn                     connection.c   sockets: accept, receive, send once a turn, close
 *   packets.c      MQTT packets to actions, deliveries to bytes     topics.c       a hash table of topics with their subscribers
 *   grouplog.c     the log: one write in flight                     buffer.c       buffers by size class
 *
 * Understood: CONNECT, SUBSCRIBE without wildcards, PUBLISH and PUBACK of QoS 0 and 1, PINGREQ, DISCONNECT. Left out, because no workload
 * needs it: sessions that outlive their connection, retained messages, wills, keep-alive, UNSUBSCRIBE, repetition of what was not
 * acknowledged (over TCP nothing is lost while the connection lives). It shares no code with the server it is a yardstick for. */
#ifndef FLOOR_FLOOR_H
#define FLOOR_FLOOR_H

#include "perf/floor/buffer.h"
#include "perf/floor/grouplog.h"
#include "perf/floor/topics.h"
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

#define RECEIVE_BUFFER_SIZE  8192u
#define RECEIVE_BUFFER_COUNT 512u /* a power of two */

struct slice {
    const uint8_t *data;
    size_t len;
};

/* One client. Lives until nothing refers to it: no receive, no send, no message of its own in the log. */
struct connection {
    int fd;
    uint16_t packet_id;            /* the last one given to a delivery */
    bool connected, closing;       /* CONNECT has come; nothing is read or written any more */
    bool receiving, sending;       /* an operation of the ring is armed */
    bool dirty;                    /* in the list of what has something to send */
    uint32_t logged_count;         /* messages in the log that are not acknowledged yet */
    uint32_t topic_count;
    struct topic **topics;         /* that it listens to */
    struct buffer *partial;        /* the beginning of a packet whose end has not come */
    struct buffer *filling, *sent; /* collects this turn's bytes; belongs to the kernel */
    struct connection *dirty_next;
};

struct floor {
    struct io_uring ring;
    struct io_uring_buf_ring *receive_ring; /* the buffers that multishot receives choose from */
    uint8_t *receive_memory;
    struct topics topics;
    struct grouplog *log; /* NULL: nothing is stored */
    struct connection *dirty;
    int listener;
};

/* What a completion is about: the low bits of its user data; the rest points to the connection, if it has one. */
enum operation { OPERATION_ACCEPT, OPERATION_RECEIVE, OPERATION_SEND, OPERATION_LOG, OPERATION_MASK = 7 };

/* floor.c */
/* An entry of the submission queue; submits when that is full. The caller prepares it and then says what it is about. */
struct io_uring_sqe *floor_sqe(struct floor *floor);
void floor_tag(struct io_uring_sqe *sqe, enum operation operation, struct connection *connection);
__attribute__((noreturn, format(printf, 1, 2))) void floor_die(const char *format, ...);

/* connection.c */
void connection_accept(struct floor *floor);
void connection_on_accept(struct floor *floor, const struct io_uring_cqe *cqe);
void connection_on_receive(struct floor *floor, struct connection *connection, const struct io_uring_cqe *cqe);
void connection_on_send(struct floor *floor, struct connection *connection, int result);
/* Room for `size` bytes that leave at the end of the turn; NULL: the connection is closing, also because too much waits for it. */
uint8_t *connection_write(struct floor *floor, struct connection *connection, size_t size);
void connection_flush_dirty(struct floor *floor);
void connection_add_topic(struct connection *connection, struct topic *topic);
/* `why`: said on stderr; NULL: an ordinary end. */
void connection_close(struct connection *connection, const char *why);
/* Frees it if nothing refers to it any more. */
void connection_release(struct floor *floor, struct connection *connection);

/* packets.c: acts on the whole packets at the front of `in`; returns their bytes. Closes the connection on what it does not understand. */
size_t packets_take(struct floor *floor, struct connection *connection, struct slice in);
/* A message is as durable as it gets: deliver it, acknowledge it. `flags` is the first byte of its PUBLISH, `body` what follows the length. */
void packets_on_durable(struct floor *floor, struct connection *publisher, uint8_t flags, struct slice body);

#endif
