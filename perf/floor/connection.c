/* perf/floor/connection.c - sockets. A connection has one multishot receive armed for its life and at most one send in flight; what a turn
 * writes to it is collected and leaves with one send at the turn's end. Sends to a peer that reads slowly wait in `filling`.
 *
 * open -> closing (shutdown; nothing more is read or written) -> freed when receive, send and log have let go of it. */
#include "perf/floor/floor.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- beginning and end ---- */

void connection_accept(struct floor *floor)
{
    struct io_uring_sqe *sqe = floor_sqe(floor);
    io_uring_prep_multishot_accept(sqe, floor->listener, NULL, NULL, SOCK_CLOEXEC);
    floor_tag(sqe, OPERATION_ACCEPT, NULL);
}

static void connection_receive(struct floor *floor, struct connection *connection)
{
    struct io_uring_sqe *sqe = floor_sqe(floor);
    io_uring_prep_recv_multishot(sqe, connection->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    floor_tag(sqe, OPERATION_RECEIVE, connection);
    connection->receiving = true;
}

void connection_on_accept(struct floor *floor, const struct io_uring_cqe *cqe)
{
    if (!(cqe->flags & IORING_CQE_F_MORE)) connection_accept(floor);
    if (cqe->res < 0) {
        fprintf(stderr, "floor: accept: %s\n", strerror(-cqe->res));
        return;
    }
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL) floor_die("out of memory");
    connection->fd = cqe->res;
    connection_receive(floor, connection);
}

void connection_close(struct connection *connection, const char *why)
{
    if (connection->closing) return;
    if (why != NULL) fprintf(stderr, "floor: a connection is closed: %s\n", why);
    connection->closing = true;
    (void)shutdown(connection->fd, SHUT_RDWR); /* ends the receive and the send that may be armed */
}

void connection_release(struct floor *floor, struct connection *connection)
{
    if (!connection->closing || connection->receiving || connection->sending || connection->logged_count > 0) return;
    for (uint32_t i = 0; i < connection->topic_count; i++) topic_unsubscribe(connection->topics[i], connection);
    for (struct connection **link = &floor->dirty; connection->dirty; link = &(*link)->dirty_next) {
        if (*link != connection) continue;
        *link = connection->dirty_next;
        break;
    }
    (void)close(connection->fd);
    buffer_release(&connection->partial);
    buffer_release(&connection->filling);
    buffer_release(&connection->sent);
    free(connection->topics);
    free(connection);
}

void connection_add_topic(struct connection *connection, struct topic *topic)
{
    connection->topics = realloc(connection->topics, (connection->topic_count + 1) * sizeof(struct topic *));
    if (connection->topics == NULL) floor_die("out of memory");
    connection->topics[connection->topic_count++] = topic;
}

/* ---- receiving ---- */

static void keep_rest(struct connection *connection, struct slice rest)
{
    if (rest.len == 0 || connection->closing) return;
    uint8_t *room = buffer_extend(&connection->partial, rest.len);
    if (room != NULL) memcpy(room, rest.data, rest.len);
    else connection_close(connection, "a packet that is too large");
}

static void connection_feed(struct floor *floor, struct connection *connection, struct slice in)
{
    struct buffer *partial = NULL;
    if (connection->partial != NULL) { /* continue what the last receive left; parsed where it stands */
        keep_rest(connection, in);
        if (connection->closing) return;
        partial = connection->partial;
        connection->partial = NULL;
        in = (struct slice){partial->bytes, partial->used};
    }
    size_t taken = packets_take(floor, connection, in);
    keep_rest(connection, (struct slice){in.data + taken, in.len - taken});
    buffer_release(&partial);
}

static void receive_buffer_return(struct floor *floor, uint16_t id)
{
    uint8_t *bytes = floor->receive_memory + (size_t)id * RECEIVE_BUFFER_SIZE;
    io_uring_buf_ring_add(floor->receive_ring, bytes, RECEIVE_BUFFER_SIZE, id, io_uring_buf_ring_mask(RECEIVE_BUFFER_COUNT), 0);
    io_uring_buf_ring_advance(floor->receive_ring, 1);
}

void connection_on_receive(struct floor *floor, struct connection *connection, const struct io_uring_cqe *cqe)
{
    connection->receiving = (cqe->flags & IORING_CQE_F_MORE) != 0;
    if (cqe->res > 0) {
        uint16_t id = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        struct slice in = {floor->receive_memory + (size_t)id * RECEIVE_BUFFER_SIZE, (size_t)cqe->res};
        if (!connection->closing) connection_feed(floor, connection, in);
        receive_buffer_return(floor, id);
    } else if (cqe->res != -ENOBUFS) { /* the peer has ended it */
        connection_close(connection, NULL);
    }
    if (!connection->receiving && !connection->closing) connection_receive(floor, connection);
    connection_release(floor, connection);
}

/* ---- sending ---- */

static void connection_mark_dirty(struct floor *floor, struct connection *connection)
{
    if (connection->dirty) return;
    connection->dirty = true;
    connection->dirty_next = floor->dirty;
    floor->dirty = connection;
}

uint8_t *connection_write(struct floor *floor, struct connection *connection, size_t size)
{
    if (connection->closing) return NULL;
    uint8_t *room = buffer_extend(&connection->filling, size);
    if (room == NULL) {
        connection_close(connection, "it reads too slowly");
        return NULL;
    }
    if (!connection->sending) connection_mark_dirty(floor, connection);
    return room;
}

static void connection_send(struct floor *floor, struct connection *connection)
{
    struct io_uring_sqe *sqe = floor_sqe(floor);
    connection->sent = connection->filling;
    connection->filling = NULL;
    connection->sending = true;
    io_uring_prep_send(sqe, connection->fd, connection->sent->bytes, connection->sent->used, MSG_NOSIGNAL | MSG_WAITALL);
    floor_tag(sqe, OPERATION_SEND, connection);
}

void connection_flush_dirty(struct floor *floor)
{
    while (floor->dirty != NULL) {
        struct connection *connection = floor->dirty;
        floor->dirty = connection->dirty_next;
        connection->dirty = false;
        if (!connection->closing) connection_send(floor, connection);
    }
}

void connection_on_send(struct floor *floor, struct connection *connection, int result)
{
    connection->sending = false;
    if (result != (int)connection->sent->used) connection_close(connection, NULL);
    buffer_release(&connection->sent);
    if (connection->filling != NULL && !connection->closing) connection_mark_dirty(floor, connection);
    connection_release(floor, connection);
}
