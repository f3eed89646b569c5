/* shard/domain/records.h - every flat record of the domain: log commands, relays between shards, store values.
 * Thread:  any.  Depends: core/record.h (which draws the bytes), shard/engine/records.h.  Start at: shard/engine/shard.h
 * Logs and stores outlive versions: a record grows only at its end (RECORD_GROWN), by fields that mean the former behaviour when they
 * are zero, and what a field that is there means never changes. */
#ifndef SHARD_DOMAIN_RECORDS_H
#define SHARD_DOMAIN_RECORDS_H

#include "shard/domain/commands.h"
#include "shard/domain/keys.h"
#include "shard/domain/relays.h"
#include "shard/engine/records.h"

/* ---- the log: body = command_record, then the record of its type ---- */

/* account/ */
#define USER_CREATE_FIELDS(F) F(bytes, name) F(bytes, display_name) F(bytes, password_hash)
RECORD(user_create, USER_CREATE_FIELDS)
/* issued_s: of a backend's token that the device is listed for, 0: of none; family: of the new refresh token; frees: the device that
 * gives its place where there is none left, empty: none; temporary: it takes none */
#define DEVICE_PUT_FIELDS(F, SINCE)                                                                                    \
    F(u64, user_id) F(bytes, device_id) F(bytes, platform) F(bytes, name) F(bytes, refresh_hash) F(u64, refresh_expires_ms)\
    SINCE(2) F(u64, issued_s) F(u64, family) F(bytes, frees) F(u8, temporary)
RECORD_GROWN(device_put, DEVICE_PUT_FIELDS)
#define REFRESH_FIELDS(F, SINCE)                                                                                       \
    F(u64, user_id) F(bytes, device_id) F(bytes, old_hash) F(bytes, new_hash) F(u64, refresh_expires_ms)               \
    SINCE(2) F(u64, family) F(u32, number)
RECORD_GROWN(refresh, REFRESH_FIELDS)
#define DEVICE_REVOKE_FIELDS(F) F(u64, user_id) F(bytes, device_id)
RECORD(device_revoke, DEVICE_REVOKE_FIELDS)
#define REVOCATION_TIME_FIELDS(F) F(u64, user_id) F(bytes, device_id)
RECORD(revocation_time, REVOCATION_TIME_FIELDS)
/* of the actor; empty: the user name */
#define USER_RENAME_FIELDS(F) F(bytes, display_name)
RECORD(user_rename, USER_RENAME_FIELDS)
#define SEEN_FIELDS(F) F(u64, user_id) F(bytes, device_id)
RECORD(seen, SEEN_FIELDS)

/* chat/ : properties = a packed Properties, empty: none; room_id 0 = the direct conversation of low_id and high_id; peer_name is the other one's display name */
/* published_qos: enum PublishedQos */
#define SEND_FIELDS(F, SINCE)                                                                                          \
    F(u64, room_id) F(u64, low_id) F(u64, high_id) F(u8, kind) F(bytes, client_msg_id) F(bytes, sender_name)           \
    F(bytes, peer_name) F(bytes, body) F(bytes, properties)                                                            \
    SINCE(2) F(u8, published_qos)
RECORD_GROWN(send, SEND_FIELDS)
#define READ_FIELDS(F) F(u64, user_id) F(u64, room_id) F(u64, seq)
RECORD(read, READ_FIELDS)

/* room/ : `people` = person_records one after another */
#define PERSON_FIELDS(F) F(u64, user_id) F(bytes, name)
RECORD(person, PERSON_FIELDS)
/* history: enum RoomHistory; 0 is ALL where a room is made, unchanged where it is changed */
#define ROOM_CREATE_FIELDS(F, SINCE)                                                                                   \
    F(bytes, name) F(u8, joinable) F(bytes, client_room_id) F(bytes, owner_name) F(bytes, people)                      \
    SINCE(2) F(u8, history)
RECORD_GROWN(room_create, ROOM_CREATE_FIELDS)
#define ROOM_UPDATE_FIELDS(F, SINCE)                                                                                   \
    F(u64, room_id) F(bytes, name) F(u8, joinable)                                                                     \
    SINCE(2) F(u8, history)
RECORD_GROWN(room_update, ROOM_UPDATE_FIELDS)
#define ROOM_DISMISS_FIELDS(F) F(u64, room_id)
RECORD(room_dismiss, ROOM_DISMISS_FIELDS)
#define MEMBERS_ADD_FIELDS(F) F(u64, room_id) F(u8, invited) F(bytes, people)
RECORD(members_add, MEMBERS_ADD_FIELDS)
#define MEMBERS_REMOVE_FIELDS(F) F(u64, room_id) F(bytes, people)
RECORD(members_remove, MEMBERS_REMOVE_FIELDS)
#define ROLE_SET_FIELDS(F) F(u64, room_id) F(u64, user_id) F(u8, role)
RECORD(role_set, ROLE_SET_FIELDS)

/* mqtt/ : a persistent session; also the value under KEY_MQTT. The lists are drawn in mqtt/state.h. */
#define MQTT_SESSION_FIELDS(F, SINCE)                                                                                  \
    F(bytes, client_id) F(u64, epoch) F(u8, opens) F(u8, connected) F(u32, expiry_s) F(u64, saved_ms) F(u64, sync_key)      \
    F(u64, sent_key) F(bytes, subscriptions) F(bytes, rooms) F(bytes, releasing) F(bytes, recent)                     \
    SINCE(2) F(u64, publisher) /* epoch of the last connection that has published anew; 0: none, or an older version did not note it */
RECORD_GROWN(mqtt_session, MQTT_SESSION_FIELDS)
#define RETAINED_CLEAR_FIELDS(F) F(u64, room_id)
RECORD(retained_clear, RETAINED_CLEAR_FIELDS)
/* A will; also the value under KEY_WILL. state: enum will_word in the log, enum will_state in the store. send: a packed SendRequest, or empty
 * where a room's retained message is cleared instead. due_ms: of its state, 0 in the log */
#define WILL_FIELDS(F)                                                                                                     F(u8, state) F(bytes, client_id) F(u64, epoch) F(u8, clean) F(u32, delay_s) F(u32, expiry_s) F(bytes, device_id)            F(u64, clears_room_id) F(bytes, send) F(u64, due_ms)
RECORD(will, WILL_FIELDS)
#define WILL_SENT_FIELDS(F) F(u64, number)
RECORD(will_sent, WILL_SENT_FIELDS)
/* The client has its CONNACK; epoch: of that connection */
#define WILL_BACK_FIELDS(F) F(bytes, client_id) F(u64, epoch)
RECORD(will_back, WILL_BACK_FIELDS)

/* ---- relays: what a room's shard tells the shards of its members; also applied directly on its own ---- */
#define MESSAGE_FIELDS(F, SINCE)                                                                                       \
    F(u64, msg_id) F(u64, seq) F(u64, sender_id) F(u64, time_ms) F(u8, kind) F(bytes, sender_name) F(bytes, client_msg_id)\
    F(bytes, body) F(bytes, properties)                                                                                \
    SINCE(2) F(u8, published_qos)
RECORD_GROWN(message, MESSAGE_FIELDS)
#define RELAY_MESSAGE_FIELDS(F) F(u64, room_id) F(u8, large) F(bytes, message)
RECORD(relay_message, RELAY_MESSAGE_FIELDS)
/* What a member's shard keeps of a room. */
/* since_join: the room's history is SINCE_JOIN, else ALL */
#define SNAPSHOT_FIELDS(F, SINCE)                                                                                      \
    F(u64, room_id) F(u8, type) F(bytes, name) F(u64, owner_id) F(u32, member_count) F(u32, member_max) F(u64, created_ms)\
    F(u8, dismissed) F(u8, joinable) F(u8, large)                                                                      \
    SINCE(2) F(u8, since_join)
RECORD_GROWN(snapshot, SNAPSHOT_FIELDS)
/* change = RoomChangeKind; target 0 = none; peer_*: DIRECT, as the target sees it; head_seq: of the room at the change */
#define RELAY_CHANGE_FIELDS(F)                                                                                         \
    F(u8, change) F(bytes, snapshot) F(u64, actor_id) F(u64, target_id) F(bytes, target_name) F(u8, role) F(u64, time_ms)   \
    F(u64, peer_id) F(bytes, peer_name) F(u64, head_seq)
RECORD(relay_change, RELAY_CHANGE_FIELDS)

/* What the outbox keeps of a message, whose body is in the store already, on the same shard, in its room's timeline. */
#define RELAY_NAME_FIELDS(F) F(u64, room_id) F(u64, seq) F(u8, large)
RECORD(relay_name, RELAY_NAME_FIELDS)
/* What the log of another shard keeps of it: what that shard does does not depend on its body. */
#define RELAY_HEARD_FIELDS(F) F(u64, room_id) F(u64, seq) F(u64, sender_id) F(u8, large)
RECORD(relay_heard, RELAY_HEARD_FIELDS)

/* ---- letters: what a page needs of rooms of another shard, see room/owner_read.h, which draws the lists ---- */
#define ROOMS_QUESTION_FIELDS(F) F(u64, user_id) F(u8, last_messages) F(bytes, names) F(bytes, marks)
RECORD(rooms_question, ROOMS_QUESTION_FIELDS)
#define ROOMS_ANSWER_FIELDS(F) F(bytes, messages) F(bytes, heads)
RECORD(rooms_answer, ROOMS_ANSWER_FIELDS)

/* ---- what followers are told: an entry is u8 kind, then one of these (domain/followed.h) ---- */
#define FOLLOWED_USER_FIELDS(F) F(u64, user_id) F(u64, time_ms)
RECORD(followed_user, FOLLOWED_USER_FIELDS)
#define FOLLOWED_DEVICE_FIELDS(F) F(u64, user_id) F(u64, time_ms) F(bytes, device_id)
RECORD(followed_device, FOLLOWED_DEVICE_FIELDS)
#define FOLLOWED_ROOM_FIELDS(F) F(u64, room_id) F(u64, actor_id) F(u64, time_ms)
RECORD(followed_room, FOLLOWED_ROOM_FIELDS)
#define FOLLOWED_MEMBER_FIELDS(F) F(u64, room_id) F(u64, user_id) F(u64, actor_id) F(u64, time_ms) F(u8, role)
RECORD(followed_member, FOLLOWED_MEMBER_FIELDS)
#define FOLLOWED_MESSAGE_FIELDS(F) F(u64, room_id) F(u64, seq)
RECORD(followed_message, FOLLOWED_MESSAGE_FIELDS)

/* ---- the store ---- */
#define NAME_FIELDS(F) F(u64, user_id) F(bytes, name)
RECORD(name, NAME_FIELDS)
#define ACCOUNT_FIELDS(F) F(bytes, name) F(bytes, display_name) F(bytes, password_hash) F(u64, created_ms)
RECORD(account, ACCOUNT_FIELDS)
/* generation: log index of the command that made or last revoked the device; family and number: of the refresh token that is good;
 * refreshed_ms: when that took the place of the one before */
#define DEVICE_FIELDS(F, SINCE)                                                                                        \
    F(bytes, platform) F(bytes, name) F(u64, created_ms) F(u64, last_seen_ms) F(u64, valid_after_s) F(u8, revoked)     \
    F(bytes, refresh_hash) F(u64, refresh_expires_ms)                                                                  \
    SINCE(2) F(u64, generation) F(u64, family) F(u32, refresh_number) F(u64, refreshed_ms) F(u8, temporary)
RECORD_GROWN(device, DEVICE_FIELDS)
/* counted: 1 when direct_count is known; else the conversations of two are counted when it is loaded */
/* incarnations: { u32 ordinal | u64 first sync_key given in it }…, ascending, at most INBOX_INCARNATIONS_MAX of the newest */
#define INBOX_FIELDS(F, SINCE)                                                                                         \
    F(u32, room_count) F(u32, large_count) F(u64, last_seen_ms)                                                        \
    SINCE(2) F(u8, counted) F(u32, direct_count) F(u32, unanswered_count) F(bytes, incarnations)
RECORD_GROWN(inbox, INBOX_FIELDS)
#define CONVERSATION_FIELDS(F) F(u64, joined_seq) F(u64, read_seq) F(u64, peer_id) F(bytes, peer_name)
RECORD(conversation, CONVERSATION_FIELDS)
/* shard_counts: u32 LE members per shard, shard_count of them */
/* unretained_seq: nothing up to there is retained for MQTT's subscribers; since_join: as in the snapshot */
#define ROOM_FIELDS(F, SINCE)                                                                                          \
    F(u8, type) F(bytes, name) F(u64, owner_id) F(u32, member_count) F(u64, created_ms) F(u8, dismissed) F(u8, joinable)\
    F(u8, large) F(bytes, shard_counts)                                                                                \
    SINCE(2) F(u64, unretained_seq) F(u8, since_join)
RECORD_GROWN(room, ROOM_FIELDS)
/* joined_seq: head of the room when the member came in; 0 for who came in before it was noted, too */
#define MEMBER_FIELDS(F, SINCE)                                                                                        \
    F(u8, role) F(u64, joined_ms) F(bytes, name)                                                                       \
    SINCE(2) F(u64, joined_seq)
RECORD_GROWN(member, MEMBER_FIELDS)

/* An event of a user's stream: u8 event_kind, then the record. Messages are stored on their room's shard and named here. */
enum event_kind { EVENT_MESSAGE = 1, EVENT_READ = 2, EVENT_CHANGE = 3, EVENT_DEVICE = 4 };
#define EVENT_MESSAGE_FIELDS(F) F(u64, room_id) F(u64, seq)
RECORD(event_message, EVENT_MESSAGE_FIELDS)
#define EVENT_READ_FIELDS(F) F(u64, room_id) F(u64, read_seq)
RECORD(event_read, EVENT_READ_FIELDS)
/* A device was logged out. for_device_id: the one that took its place; empty: it was revoked */
#define EVENT_DEVICE_FIELDS(F) F(bytes, device_id) F(bytes, name) F(bytes, for_device_id)
RECORD(event_device, EVENT_DEVICE_FIELDS)
/* EVENT_CHANGE: a relay_change_record, its `change` as this user sees it. */

#endif
