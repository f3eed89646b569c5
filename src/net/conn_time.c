/* net/conn_time.c - every deadline of a connection, on its one timer.
 * Happy path: the timer fires at a deadline that has moved meanwhile, looks for the nearest one and is armed for that.
 * So receiving and sending only note the time; nothing is moved per frame.
 *
 *   state, door            deadline                                        then
 *   any, send in flight    write_timeout_ms without progress               abort, reset
 *   OPEN, head incomplete  header_timeout_ms from accept or first byte     408, or just close when nothing came
 *   OPEN, HTTP idle        keep_alive_timeout_ms from the last response    close
 *   OPEN, part of a body   1 KiB in each 5 s, whole in 30 s                408; 1008 (WebSocket); close (TCP)
 *     or message
 *   OPEN, frames, no login authenticate_timeout_ms from opening            4401
 *   OPEN, frames           heartbeat_interval_ms of silence (+-20 %)       ping, or empty TCP frame
 *                          heartbeat_timeout_ms of silence                 4408
 *   OPEN, MQTT             1.5 times its keep-alive of silence             close
 *   FAREWELL               write_timeout_ms to flush, 1 s for the peer     next step of the farewell */
#include "core/check.h"
#include "net/conn_internal.h"

enum conn_due { CONN_DUE_NOTHING, CONN_DUE_WRITE, CONN_DUE_PARTIAL, CONN_DUE_SILENCE, CONN_DUE_PHASE };

struct conn_deadline {
    enum conn_due due;
    uint64_t at_ms;
};

void conn_watch(struct conn *conn, uint64_t deadline_ms)
{
    if (timer_armed(&conn->timer) && conn->timer.deadline_ms <= deadline_ms) return;
    timer_arm(conn->server->timers, &conn->timer, deadline_ms);
}

void conn_set_phase_deadline(struct conn *conn, uint64_t deadline_ms)
{
    conn->phase_deadline_ms = deadline_ms;
    if (deadline_ms != 0) conn_watch(conn, deadline_ms);
}

void conn_heard(struct conn *conn)
{
    conn->received_ms = (uint32_t)conn_now_ms(conn);
}

/* Differences of the low halves are right for 49 days of silence, which nothing survives. */
static uint32_t conn_silence_ms(const struct conn *conn)
{
    return (uint32_t)conn_now_ms(conn) - conn->received_ms;
}

static uint32_t conn_heartbeat_ms_min(const struct conn *conn)
{
    return conn->server->options.heartbeat_interval_ms / 5 * 4;
}

/* One interval, +-20 %, so that connections of one moment do not beat in step for ever. */
static uint32_t conn_heartbeat_ms(struct conn *conn)
{
    uint32_t spread_ms = conn->server->options.heartbeat_interval_ms / 5 * 2;
    return conn_heartbeat_ms_min(conn) + server_random(conn->server) % (spread_ms + 1);
}

bool conn_control_allowed(struct conn *conn)
{
    uint16_t second = (uint16_t)(conn_now_ms(conn) / 1000);
    if (conn->control_second != second) {
        conn->control_second = second;
        conn->control_count = 0;
    }
    if (conn->control_count == CONN_CONTROLS_PER_S_MAX) return false;
    conn->control_count++;
    return true;
}

bool conn_has_frames(const struct conn *conn)
{
    return conn->door == CONN_DOOR_WEBSOCKET || conn->door == CONN_DOOR_TCP || conn->door == CONN_DOOR_MQTT;
}

/* How long the peer may be silent once it is authenticated; 0: for ever. */
static uint32_t conn_silence_ms_max(const struct conn *conn)
{
    if (conn->door == CONN_DOOR_MQTT) return conn->keep_alive_s * 1500u;
    return conn->server->options.heartbeat_timeout_ms;
}

void conn_set_authenticated(struct conn *conn)
{
    if (conn->state != CONN_OPEN && conn->state != CONN_LEAVING) return;
    ASSERT(conn_has_frames(conn));
    conn->authenticated = true;
    if (conn->door == CONN_DOOR_MQTT) {
        conn_set_phase_deadline(conn, 0);
        return;
    }
    conn_set_phase_deadline(conn, conn_now_ms(conn) + conn_heartbeat_ms(conn));
    conn_watch_silence(conn);
}

void conn_set_keep_alive(struct conn *conn, uint16_t seconds)
{
    ASSERT(conn->authenticated);
    if (conn->door != CONN_DOOR_MQTT) return; /* over WebSocket its pings and pongs tell */
    conn->keep_alive_s = seconds;
    conn_watch_silence(conn);
}

void conn_watch_silence(struct conn *conn)
{
    uint32_t limit_ms = conn_silence_ms_max(conn);
    if (conn->authenticated && limit_ms != 0) conn_watch(conn, conn_now_ms(conn) + limit_ms);
}

/* ---- which comes first ------------------------------------------------------------------------------------------- */

static void deadline_earlier(struct conn_deadline *nearest, enum conn_due due, uint64_t at_ms)
{
    if (at_ms < nearest->at_ms) *nearest = (struct conn_deadline){due, at_ms};
}

/* A partial counts while its bytes are taken; the head of a request has its own deadline. */
static bool conn_partial_counts(const struct conn *conn)
{
    if (conn->partial == NULL || conn_blocked(conn)) return false;
    return conn->door != CONN_DOOR_HTTP || http_reader_in_body(&conn->partial->as.http);
}

static struct conn_deadline conn_nearest_deadline(const struct conn *conn)
{
    struct conn_deadline nearest = {CONN_DUE_NOTHING, UINT64_MAX};
    const struct server_options *options = &conn->server->options;
    if (conn->send.armed) deadline_earlier(&nearest, CONN_DUE_WRITE, conn->progress_ms + options->write_timeout_ms);
    if (conn->state == CONN_OPEN && conn_partial_counts(conn)) {
        deadline_earlier(&nearest, CONN_DUE_PARTIAL, conn->partial->checked_ms + CONN_PROGRESS_MS);
        deadline_earlier(&nearest, CONN_DUE_PARTIAL, conn->partial->started_ms + CONN_WHOLE_MS);
    }
    if (conn->state == CONN_OPEN && conn->authenticated && !conn->paused && conn_silence_ms_max(conn) != 0) {
        uint64_t received_ms = conn_now_ms(conn) - conn_silence_ms(conn);
        deadline_earlier(&nearest, CONN_DUE_SILENCE, received_ms + conn_silence_ms_max(conn));
    }
    bool phase = conn->state == CONN_OPEN || conn->state == CONN_FAREWELL;
    if (phase && conn->phase_deadline_ms != 0) deadline_earlier(&nearest, CONN_DUE_PHASE, conn->phase_deadline_ms);
    return nearest;
}

/* ---- what happens then ------------------------------------------------------------------------------------------- */

static void conn_timed_out(struct conn *conn)
{
    metrics_add(&conn->server->metrics->connections_timed_out, 1);
}

static void conn_time_out(struct conn *conn, uint16_t websocket_code, const char *reason)
{
    conn_timed_out(conn);
    conn_close(conn, (struct conn_goodbye){websocket_code, reason});
}

/* A reset instead of a farewell: it frees what the kernel still holds for a peer that does not take it. */
static void conn_write_stalled(struct conn *conn)
{
    conn_timed_out(conn);
    conn->reset = true;
    conn_abort(conn);
}

static void conn_on_unsent(struct io_op *op, int32_t res, struct slice bytes)
{
    (void)bytes;
    struct conn *conn = CONTAINER_OF(op, struct conn, aside);
    uint32_t acked = conn->sent_bytes - (uint32_t)res;
    bool moved = !conn->send.armed || (res >= 0 && acked != conn->acked_bytes);
    bool ending = conn->state == CONN_CLOSING || conn->lost;
    if (moved && !ending) conn->acked_bytes = acked;
    else if (!ending) conn_write_stalled(conn);
    conn_settle(conn); /* last line: conn may be gone */
}

/* A send in flight has taken nothing yet: progress is what the peer acknowledged since the last look, one period ago.
 * So a peer that stops altogether is found after one to two periods. */
static void conn_write_due(struct conn *conn)
{
    conn->progress_ms = conn_now_ms(conn); /* until the answer */
    if (conn->aside.armed) return;
    conn->aside.done = conn_on_unsent;
    io_unsent(conn->server->io, &conn->aside, conn->socket);
}

static void conn_partial_due(struct conn *conn)
{
    struct conn_partial *partial = conn->partial;
    uint64_t now_ms = conn_now_ms(conn);
    bool enough = partial->bytes >= CONN_PROGRESS_BYTES && now_ms < partial->started_ms + CONN_WHOLE_MS;
    if (enough) {
        partial->checked_ms = now_ms;
        partial->bytes = 0;
    } else if (conn->door == CONN_DOOR_HTTP) {
        conn_timed_out(conn);
        door_http_refuse(conn, HTTP_REFUSAL_TIMEOUT);
    } else {
        conn_time_out(conn, WEBSOCKET_CODE_POLICY, "message did not arrive in time");
    }
}

static void conn_heartbeat_due(struct conn *conn)
{
    uint32_t silence_ms = conn_silence_ms(conn);
    bool lives = silence_ms < conn_heartbeat_ms_min(conn);
    conn_set_phase_deadline(conn, conn_now_ms(conn) + conn_heartbeat_ms(conn) - (lives ? silence_ms : 0));
    if (lives) return;
    if (conn->door == CONN_DOOR_WEBSOCKET)
        door_websocket_ping(conn);
    else
        door_tcp_heartbeat(conn);
}

static void conn_head_due(struct conn *conn)
{
    bool begun = conn->partial != NULL;
    bool idle = conn->request_count > 0 && !begun;
    if (!idle) conn_timed_out(conn);
    if (begun)
        door_http_refuse(conn, HTTP_REFUSAL_TIMEOUT);
    else
        conn_close(conn, (struct conn_goodbye){WEBSOCKET_CODE_NORMAL, NULL});
}

static void conn_phase_due(struct conn *conn)
{
    if (conn->state == CONN_FAREWELL) {
        bool unsent = conn->farewell == CONN_FAREWELL_FLUSH && conn_has_output(conn);
        if (unsent) conn_timed_out(conn);
        if (unsent) conn_abort(conn);
        conn->phase_deadline_ms = 0; /* conn_settle() sees that it passed */
    } else if (!conn_has_frames(conn)) {
        conn_head_due(conn);
    } else if (conn->authenticated) {
        conn_heartbeat_due(conn);
    } else {
        conn_time_out(conn, 4401, "not authenticated in time");
    }
}

void conn_on_timer(struct timer *timer)
{
    struct conn *conn = CONTAINER_OF(timer, struct conn, timer);
    ASSERT(conn->state != CONN_CLOSED);
    struct conn_deadline nearest = conn_nearest_deadline(conn);
    if (nearest.at_ms <= conn_now_ms(conn)) {
        switch (nearest.due) {
        case CONN_DUE_WRITE: conn_write_due(conn); break;
        case CONN_DUE_PARTIAL: conn_partial_due(conn); break;
        case CONN_DUE_SILENCE: conn_time_out(conn, 4408, "nothing heard for too long"); break;
        case CONN_DUE_PHASE: conn_phase_due(conn); break;
        case CONN_DUE_NOTHING: break;
        }
        nearest = conn_nearest_deadline(conn);
    }
    if (nearest.due != CONN_DUE_NOTHING) conn_watch(conn, nearest.at_ms);
    conn_settle(conn); /* last line: conn may be gone */
}
