/* shard/engine/records.h - the flat records of the engine itself: the frame of a command, streams, counters.
 * Thread: any.  Depends: core/record.h (which draws the bytes).  Start at: shard/engine/shard.h
 * Logs and stores outlive versions: a record grows only at its end (RECORD_GROWN), by fields that mean the former behaviour when they
 * are zero, and what a field that is there means never changes. */
#ifndef SHARD_RECORDS_H
#define SHARD_RECORDS_H

#include "core/record.h"

/* ---- the log: body = command_record, then the record of its type ---- */
#define COMMAND_FIELDS(F) F(u64, time_ms) F(u64, actor_id)
RECORD(command, COMMAND_FIELDS)

/* incarnation.c: the first command of a start; also the value under KEY_INCARNATION */
#define INCARNATION_FIELDS(F) F(u32, ordinal) F(u32, random)
RECORD(incarnation, INCARNATION_FIELDS)

/* follower.c: start = enum follower_start, number: for FOLLOWER_AFTER. An end that says lost
 * counts only for who is still at `number`. An ack says up to where all is done: place_kind, a and b while it
 * is rebuilding. The place in a record: api/follower_place.h. */
#define FOLLOWER_BEGIN_FIELDS(F) F(bytes, name) F(u8, temporary) F(u8, start) F(u64, number)
RECORD(follower_begin, FOLLOWER_BEGIN_FIELDS)
#define FOLLOWER_ACK_FIELDS(F) \
    F(bytes, name) F(u64, generation) F(u64, number) F(u8, rebuilding) F(u32, place_kind) F(u64, a) F(u64, b)
RECORD(follower_ack, FOLLOWER_ACK_FIELDS)
#define FOLLOWER_END_FIELDS(F) F(bytes, name) F(u64, generation) F(u8, lost) F(u64, number)
RECORD(follower_end, FOLLOWER_END_FIELDS)
#define FOLLOWER_FIELDS(F) \
    F(u8, temporary) F(u8, lost) F(u64, generation) F(u64, number) F(u8, rebuilding) F(u32, place_kind) F(u64, a) F(u64, b)
RECORD(follower, FOLLOWER_FIELDS)

/* timers.c: entries = { u64 slot | u64 id }…, keys of KEY_DUE whose time has come */
#define DUE_FIELDS(F) F(bytes, entries)
RECORD(due, DUE_FIELDS)

/* streams: `count` consecutive entries of one kind, from number `first` on; entries = {u32 len, payload}… The value in the outbox of
 * their source (see outbox.h), the payload of a letter, and what is logged here before it is acknowledged there. */
#define RELAY_FIELDS(F) F(u16, source) F(u64, first) F(u32, count) F(u16, kind) F(bytes, entries)
RECORD(relay, RELAY_FIELDS)
/* acknowledge.c: what others have applied of our streams; acks = acknowledged_records one after another, one for each of those peers */
#define STREAM_ACK_FIELDS(F) F(bytes, acks)
RECORD(stream_ack, STREAM_ACK_FIELDS)
#define ACKNOWLEDGED_FIELDS(F) F(u16, peer) F(u64, index)
RECORD(acknowledged, ACKNOWLEDGED_FIELDS)
/* Payload of a STREAM_ACK letter: the index of the last entry taken in, applied or not; gap: what came next is missing, post it again */
#define RECEIVED_FIELDS(F) F(u64, received) F(u8, gap)
RECORD(received, RECEIVED_FIELDS)

/* ---- the store ---- */
/* last_id_ms: when the newest of those ids was given, so that time does not go back either */
/* the sums of state_hash.h; hash_from 0: nothing was counted yet. newest_ms: time of the last command */
#define META_FIELDS(F, SINCE)                                                                                          \
    F(u64, next_user) F(u64, next_room) F(u64, next_message) F(u64, last_id_ms)                                        \
    SINCE(2) F(u64, rows_hash) F(u64, records_hash) F(u64, hash_from) F(u64, newest_ms)
RECORD_GROWN(meta, META_FIELDS)
/* acknowledged 0: what is in the outbox begins behind it */
#define STREAM_FIELDS(F, SINCE)                                                                                        \
    F(u64, emitted) F(u64, applied)                                                                                    \
    SINCE(2) F(u64, acknowledged)
RECORD_GROWN(stream, STREAM_FIELDS)
/* waiting: rows of KEY_DUE */
#define TIMER_COUNT_FIELDS(F) F(u64, waiting)
RECORD(timer_count, TIMER_COUNT_FIELDS)

#endif
