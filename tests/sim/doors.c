/* tests/sim/doors.c - see doors.h. What worker.c does between sockets and shards, done here by the steps of the world. */
#include "sim/doors.h"
#include "core/check.h"
#include "core/timer.h"
#include "net/server.h"
#include "shard/domain/letters.h"
#include "shard/domain/delivery/session.h"
#include "shard/door/door.h"
#include "shard/worker/mailbox.h"
#include "sim/letters.h"
#include "sim/report.h"
#include "sim/wires.h"
#include <fcntl.h>
#include <stdlib.h>

#define TURN_COMPLETIONS_MAX 24u
#define CLOSE_ROUNDS_MAX     100000u
#define CLOSE_STEP_MS        100u
#define POOL_BYTES           (4u << 20)

struct outside { /* of one worker */
    struct world *world;
    uint16_t number;
    struct io *io; /* NULL: between two lives */
    struct timer_wheel timers;
    struct server *server;
    struct door *door;
    struct buf_pool *pool;
    struct origin last_left; /* planted bug late_reply_taken */
    uint16_t last_method;
};

struct doors {
    struct outside outsides[SHARDS_MAX];
    struct host_pages pages;
    uint64_t ended_ms; /* how far the timers of dying servers ran ahead */
};

static struct outside *outside(const struct world *w, uint16_t shard)
{
    ASSERT(shard < world_shard_count(w));
    return &w->doors->outsides[shard];
}

struct io *doors_io(const struct world *w, uint16_t shard) { return outside(w, shard)->io; }

/* ---- chance -------------------------------------------------------------------------------------------------------------------------- */

/* What servers and MQTT doors ask the system for comes from the seed. */
void __wrap_clock_random(void *out, size_t len);
void __real_clock_random(void *out, size_t len);
static struct world *world_of_chance;

void __wrap_clock_random(void *out, size_t len)
{
    uint8_t *bytes = out;
    if (world_of_chance == NULL) __real_clock_random(out, len);
    for (size_t i = 0; i < len && world_of_chance != NULL; i++) bytes[i] = (uint8_t)dice_next(&world_of_chance->dice);
}

/* ---- ports of a door ------------------------------------------------------------------------------------------------------ */

static void port_post(void *context, struct letter *letter)
{
    struct outside *o = context;
    struct world *w = o->world;
    letter->from_shard = o->number;
    if (w->mute && letter->kind == DOOR_MAIL_MOVE) door_drop_move(outside(w, letter->to_shard)->door, letter);
    else if (w->mute) letter_free(letter);
    else {
        doors_note_leaving(w, letter);
        letters_post(w, letter);
    }
}

static bool port_is_local(void *context, uint16_t shard) { return ((struct outside *)context)->number == shard; }

static bool port_is_full(void *context, uint16_t shard)
{
    struct outside *o = context;
    if (shard == o->number) return shard_is_full(o->world->nodes[shard].shard);
    uint32_t share = o->world->profile.limits.requests_parked_max / world_shard_count(o->world);
    return door_asked(o->door, shard) >= (share > 0 ? share : 1);
}

static struct io *port_io_of(void *context, uint16_t shard) { return doors_io(((struct outside *)context)->world, shard); }

static uint64_t port_now_ms(void *context) { return world_now_ms(((struct outside *)context)->world); }

static uint64_t port_now_ns(void *context) { return ((struct outside *)context)->world->now_ns; }

/* ---- life ------------------------------------------------------------------------------------------------------------------ */

struct doors *doors_create(struct world *w)
{
    struct doors *doors = calloc(1, sizeof *doors);
    ASSERT(doors != NULL);
    doors->pages.state = HOST_SERVING;
    for (uint16_t i = 0; i < world_shard_count(w); i++) {
        struct outside *o = &doors->outsides[i];
        o->world = w;
        o->number = i;
        enum result result = buf_pool_create(&o->pool, POOL_BYTES);
        ASSERT(result == RESULT_OK);
        w->nodes[i].options.pool = o->pool;
    }
    return doors;
}

void doors_destroy(struct doors *doors)
{
    world_of_chance = NULL;
    if (doors == NULL) return;
    for (uint32_t i = 0; i < SHARDS_MAX; i++)
        if (doors->outsides[i].pool != NULL) buf_pool_destroy(doors->outsides[i].pool);
    free(doors);
}

static struct door_options door_options(struct outside *o)
{
    struct world *w = o->world;
    return (struct door_options){
        .ports = {.context = o, .post = port_post, .is_local = port_is_local, .is_full = port_is_full, .io_of = port_io_of,
                  .now_ms = port_now_ms, .now_ns = port_now_ns},
        .worker = (uint16_t)(DOORS_WORKER + o->number),
        .shard_count = world_shard_count(w),
        .token_keys = w->keys,
        .token_terms = {.leeway_s = w->profile.options.token_leeway_s, .lifetime_max_s = w->profile.options.access_token_ttl_s},
        .heartbeat_interval_ms = 25000,
        .frame_size_max = 65536,
        .authenticate_timeout_ms = 10000,
        .outbound_soft_bytes = w->profile.outbound_soft_bytes,
        .pages = &w->doors->pages,
        .metrics = &w->nodes[o->number].metrics,
        .timers = &o->timers,
        .server_version = "sim",
        .first_generation = dice_next(&w->dice),
    };
}

static struct server_options server_options(const struct world *w)
{
    return (struct server_options){
        .connections_max = 64,
        .frame_size_max = 65536,
        .http_head_size_max = 16384,
        .http_body_size_max = 65536,
        .outbound_soft_bytes = w->profile.outbound_soft_bytes,
        .outbound_hard_bytes = w->profile.outbound_hard_bytes,
        .header_timeout_ms = 5000,
        .authenticate_timeout_ms = 10000,
        .keep_alive_timeout_ms = 30000,
        .keep_alive_requests_max = 100,
        .heartbeat_interval_ms = 25000,
        .heartbeat_timeout_ms = 60000,
        .write_timeout_ms = 10000,
        .accepts_per_turn_max = 2,
    };
}

static void open_outside(struct outside *o)
{
    struct world *w = o->world;
    char text[64];
    const struct io_options io = {0};
    const struct door_options door = door_options(o);
    const struct server_options server = server_options(w);
    timer_wheel_init(&o->timers, w->now_ns / 1000000);
    enum result result = io_create(&o->io, &io, text, sizeof text);
    if (result == RESULT_OK) result = door_create(&o->door, &door);
    if (result == RESULT_OK)
        result = server_create(&o->server, &server, o->io, &o->timers, o->pool, door.metrics, open("/dev/null", O_RDONLY | O_CLOEXEC),
                               &door_events, o->door);
    ASSERT(result == RESULT_OK);
    door_set_server(o->door, o->server);
    server_start(o->server);
}

void doors_open(struct world *w)
{
    if (w->doors == NULL) return;
    world_of_chance = w;
    wires_begin(&w->dice, w->plant == PLANT_short_send_whole);
    for (uint16_t i = 0; i < world_shard_count(w); i++) open_outside(outside(w, i));
}

/* ---- turns ------------------------------------------------------------------------------------------------------------------ */

static bool turn(struct outside *o, uint64_t now_ms, uint32_t budget)
{
    bool moved = io_turn(o->io, 0, budget) > 0;
    timer_wheel_advance(&o->timers, now_ms, 512);
    moved |= door_release(o->door);
    server_flush(o->server);
    return moved;
}

bool doors_turn(struct world *w, uint16_t shard)
{
    return turn(outside(w, shard), w->now_ns / 1000000, dice_between(&w->dice, 1, TURN_COMPLETIONS_MAX));
}

void doors_tick(struct world *w, uint16_t shard)
{
    if (w->doors != NULL && w->plant != PLANT_overdue_unanswered) door_tick(outside(w, shard)->door);
}

/* ---- ends ------------------------------------------------------------------------------------------------------------------- */

void doors_stop(struct world *w)
{
    for (uint16_t i = 0; i < world_shard_count(w) && w->doors != NULL; i++)
        server_stop(outside(w, i)->server, (struct conn_goodbye){CLOSE_GOING_AWAY, "server is stopping"});
}

bool doors_are_idle(const struct world *w)
{
    bool idle = true;
    for (uint16_t i = 0; i < world_shard_count(w) && w->doors != NULL; i++) idle &= server_idle(outside(w, i)->server);
    return idle;
}

/* Connections that are on their way between two workers. */
static void drop_mail(struct world *w)
{
    struct letter *letter;
    for (uint16_t from = 0; from < world_shard_count(w); from++) letters_publish(w, from);
    for (uint16_t to = 0; to < world_shard_count(w); to++) {
        while ((letter = letters_take_any(w, to)) != NULL) {
            if (letter->kind == DOOR_MAIL_MOVE) door_drop_move(outside(w, letter->to_shard)->door, letter);
            else letter_free(letter);
        }
    }
}

void doors_lose(struct world *w)
{
    if (w->doors == NULL) return;
    uint64_t now_ms = w->now_ns / 1000000;
    ASSERT(w->mute);
    drop_mail(w);
    doors_stop(w);
    for (uint32_t round = 0; !doors_are_idle(w) || round < 2; round++) {
        EXPECT(round < CLOSE_ROUNDS_MAX, "connections do not end");
        now_ms += CLOSE_STEP_MS;
        for (uint16_t i = 0; i < world_shard_count(w); i++) turn(outside(w, i), now_ms, TURN_COMPLETIONS_MAX);
    }
    for (uint16_t i = 0; i < world_shard_count(w); i++) {
        struct outside *o = outside(w, i);
        server_destroy(o->server);
        door_destroy(o->door);
        io_destroy(o->io);
        o->server = NULL;
        o->door = NULL;
        o->io = NULL;
        EXPECT(buf_pool_used_bytes(o->pool) == 0, "%zu payload bytes are held by nobody", buf_pool_used_bytes(o->pool));
    }
}

/* ---- letters ------------------------------------------------------------------------------------------------------------------ */

static bool is_ours(const struct world *w, const struct origin *origin)
{
    return w->doors != NULL && origin->worker >= DOORS_WORKER && origin->worker < DOORS_WORKER + world_shard_count(w);
}

void doors_note_leaving(struct world *w, const struct letter *letter)
{
    bool asks = letter->kind == LETTER_REQUEST || letter->kind == LETTER_MQTT;
    if (!asks || !is_ours(w, &letter->origin) || letter->origin.worker - DOORS_WORKER != letter->from_shard) return;
    if (letter->to_shard == letter->from_shard) return;
    struct outside *o = outside(w, letter->from_shard);
    door_on_leave(o->door, letter);
    o->last_left = letter->origin;
    o->last_method = letter->method;
}

bool doors_is_mail(const struct letter *letter) { return letter->kind == DOOR_MAIL_MOVE; }

/* Planted bug: as it would be without generations. */
static void take_for_newest(const struct outside *o, struct letter *letter)
{
    if (o->world->plant == PLANT_late_reply_taken && letter->method == o->last_method) letter->origin = o->last_left;
}

bool doors_receive(struct world *w, struct letter *letter)
{
    if (letter->kind != LETTER_REPLY && letter->kind != DOOR_MAIL_MOVE) return false;
    struct outside *o = outside(w, letter->to_shard);
    if (letter->kind == DOOR_MAIL_MOVE) {
        door_on_move(o->door, letter);
    } else {
        take_for_newest(o, letter);
        door_on_reply(o->door, letter);
        letter_free(letter);
    }
    return true;
}

/* ---- ports of the shards --------------------------------------------------------------------------------------------------------- */

static struct door *door_of(const struct world *w, const struct session *session) { return outside(w, shard_number(session->shard))->door; }

void doors_on_reply(struct world *w, const struct letter *letter)
{
    uint16_t home = (uint16_t)(letter->origin.worker - DOORS_WORKER);
    if (home == letter->from_shard) {
        door_on_reply(outside(w, home)->door, letter);
        return;
    }
    struct letter *copy = letter_copy(letter);
    copy->to_shard = home;
    letters_post(w, copy);
}

bool doors_on_bind(struct world *w, const struct origin *origin, struct session *session)
{
    uint16_t home = (uint16_t)(origin->worker - DOORS_WORKER);
    return home == shard_number(session->shard) && door_session_bind(outside(w, home)->door, origin, session);
}

enum result doors_on_push(struct world *w, struct session *session, struct slice head, struct buf *body, bool *above_soft)
{
    return door_session_send(door_of(w, session), session, head, body, above_soft);
}

void doors_on_event(struct world *w, struct session *session, uint64_t sync_key, struct session_event *event)
{
    (void)w;
    door_session_event(session, sync_key, event);
}

void doors_on_room(struct world *w, struct session *session, struct session_frame *message)
{
    (void)w;
    door_session_room(session, message);
}

void doors_on_missed(struct world *w, struct session *session)
{
    (void)w;
    door_session_missed(session);
}

void doors_on_end(struct world *w, struct session *session, uint16_t close_code, const char *reason)
{
    door_session_end(door_of(w, session), session, close_code, reason);
}
