/* tests/sim/doors.h - the outside of each worker: the real server, doors and MQTT sessions over simulated sockets (wires.h).
 * Owns:    per shard, which is a worker here: io, timers, server, door, payload pool.
 * Thread:  one.                   Depends: sim/world.h, sim/wires.h.      Start at: sim/world.h
 *
 * Only in worlds of guests (profile.guests > 0): there nobody else uses the server. What a worker does in one turn stands here as one step,
 * which comes at any time between those of the shard. Answers from other shards come as letters, and so may be lost, late or repeated. */
#ifndef TESTS_SIM_DOORS_H
#define TESTS_SIM_DOORS_H

#include "core/io.h"
#include "sim/world.h"

#define DOORS_WORKER 1000u /* and above: workers, as origins name them */

struct doors;
struct session_event;
struct session_frame;

struct doors *doors_create(struct world *world);
void doors_destroy(struct doors *doors);
/* With every start of the process, behind the shards. */
void doors_open(struct world *world);
/* The process is dying (mute): connections and whatever is on its way to doors end here. The shards are there still. */
void doors_lose(struct world *world);
/* A stop in good order begins: connections are closed from this side. */
void doors_stop(struct world *world);
bool doors_are_idle(const struct world *world);
/* One turn of that worker's outside; false: nothing moved. */
bool doors_turn(struct world *world, uint16_t shard);
/* About once a second. */
void doors_tick(struct world *world, uint16_t shard);
struct io *doors_io(const struct world *world, uint16_t shard);

/* ---- letters ---- */
/* A letter of a shard is about to leave it. */
void doors_note_leaving(struct world *world, const struct letter *letter);
/* Kinds that no shard receives: REPLY, DOOR_MAIL_MOVE; false: this is another. Takes it then. */
bool doors_receive(struct world *world, struct letter *letter);
bool doors_is_mail(const struct letter *letter);

/* ---- ports of the shards ---- */
void doors_on_reply(struct world *world, const struct letter *letter);
bool doors_on_bind(struct world *world, const struct origin *origin, struct session *session);
enum result doors_on_push(struct world *world, struct session *session, struct slice head, struct buf *body, bool *above_soft);
void doors_on_event(struct world *world, struct session *session, uint64_t sync_key, struct session_event *event);
void doors_on_room(struct world *world, struct session *session, struct session_frame *message);
void doors_on_missed(struct world *world, struct session *session);
void doors_on_end(struct world *world, struct session *session, uint16_t close_code, const char *reason);

#endif
