/* shard/domain/presence/watch.h - who looks at whom: sessions subscribed to the presence of users and to the typing in rooms.
 * Owns:    on the watched side, the watchers of this shard's users and rooms (they pin the inboxes and memberships they look at);
 *          on the watching side, the list of shards a session was subscribed at.
 * Thread:  the shard's worker.    Depends: shard/domain/delivery/session.h, shard/engine/request.h.  Start at: shard/engine/shard.h
 * Not part of the machine's state: nothing here is logged, a restart forgets it, clients subscribe again with their new session.
 *
 *   session's shard                                    shard of the users and rooms
 *   subscribe -> WATCH {session, users, rooms} ------> entities loaded, watchers replaced
 *             <- WATCHED {their presence now} <------- (a shard tells itself through the same letters)
 *   push to the session <----- NOTIFY {sessions} <---- presence_changed, watch_tell_typing
 *   session closed -> UNWATCH {session} -------------> its watchers are gone
 *
 * Letters between two shards arrive in order, and a session's newest WATCH is noted when it arrives, before anything is loaded for
 * it: one that was overtaken by an UNWATCH or by a newer WATCH while it waited leaves no watcher behind.
 * Limits: WATCH_USERS_MAX and WATCH_ROOMS_MAX per session; WATCHERS_MAX sessions per user or room, later ones see the state once
 * and are not told of changes. */
#ifndef SHARD_PRESENCE_WATCH_H
#define SHARD_PRESENCE_WATCH_H

#include "shard/domain/letters.h"
#include "shard/engine/request.h"
#include "shard/domain/delivery/session.h"

#define WATCH_USERS_MAX 128
#define WATCH_ROOMS_MAX 16
#define WATCH_SHARDS_MAX (WATCH_USERS_MAX + WATCH_ROOMS_MAX)
#define WATCHERS_MAX 4096
#define WATCH_PLATFORMS_MAX 16 /* told per user */

/* LETTER_WATCH, number = call. Ids: u64 little-endian, one after another. session_id 0: tell the presence, watch nothing. */
#define WATCH_FIELDS(F) F(u64, session_id) F(u64, user_id) F(bytes, user_ids) F(bytes, room_ids)
RECORD(watch, WATCH_FIELDS)
/* LETTER_WATCHED, number = call: u8 NONE or ROOM_NOT_FOUND, which watches nothing; then one record per user that exists. */
#define PRESENCE_FIELDS(F) F(u64, user_id) F(bytes, packed) /* a Presence message */
RECORD(presence, PRESENCE_FIELDS)
/* LETTER_UNWATCH: number = session id; payload = u64 call: what a later call has subscribed stays, for letters may overtake each other.
 * A NOTIFY for a session that does not look there (any more) is answered with one, for the first may be lost.
 * LETTER_NOTIFY: u32 count | u64 session id, count of them | u32 field of Push | packed message */

/* What this shard's users and rooms are watched by. */
struct watch_table;
NODISCARD enum result watch_open(struct machine *machine, void **state);
/* Unpins what the watchers look at. */
void watch_close(struct machine *machine, void *state);

/* Where a session of this shard is subscribed: session->watching. */
struct watch_list {
    uint64_t call; /* of the subscribe that made it */
    uint32_t shard_count;
    uint16_t shards[WATCH_SHARDS_MAX];
};

/* A letter of that kind; takes it. */
void watch_receive(struct shard *shard, struct letter *letter);
void watch_receive_unwatch(struct shard *shard, struct letter *letter);
void watch_receive_notify(struct shard *shard, struct letter *letter);
/* The session goes: frees session->watching and tells the shards in it. */
void watch_forget(struct session *session);

/* A session of the inbox's user opened or closed (inbox->sessions is as it is now): tells the watchers. */
void presence_changed(struct shard *shard, struct inbox *inbox);
/* A command was applied: tells the watchers of users whom it has changed (PUSH_USER). */
void watch_perform(struct shard *shard, const struct effects *effects);
/* Tells those who look at the room, but not the user who types. */
void watch_tell_typing(struct shard *shard, uint64_t room_id, uint64_t user_id, struct slice packed_notice);

/* The session is subscribed at the shards of `next` (may be NULL; taken) from now on; the others it was subscribed at are told UNWATCH. */
void watch_list_replace(struct session *session, struct watch_list *next);

#endif
