/* tests/shard/room_world.h - a few shards with users, rooms and messages between them, in short words for the tests of
 * room/ and chat/. */
#ifndef TESTS_SHARD_ROOM_WORLD_H
#define TESTS_SHARD_ROOM_WORLD_H

#include "shard/machine_fixture.h"
#include "shard/domain/room/conversation.h"
#include "shard/domain/delivery/inbox.h"
#include "shard/domain/chat/pages.h"
#include "shard/domain/room/members.h"
#include "shard/domain/room/room.h"
#include "shard/domain/room/view.h"

#define WORLD_SHARDS_MAX 4
#define WORLD_PAGE_COST_MAX (64u << 10) /* bytes of JSON before the last row of a page */

struct world {
    struct fixture *shards[WORLD_SHARDS_MAX];
    uint16_t count;
};

/* `options` for every shard; their numbers are filled in. */
struct world world_create(struct machine_options options);
void world_destroy(struct world *world);
struct fixture *world_home(struct world *world, uint64_t id); /* the shard an id names */
uint64_t world_user(struct world *world, uint16_t shard, const char *name);
void world_settle(struct world *world);

/* Records with their people: valid until the next call. */
struct slice world_people(const uint64_t *user_ids, uint32_t count);

/* Commands, each a batch of its own; relays wait for world_settle. */
uint64_t world_create_room(struct world *world, uint64_t owner_id, const uint64_t *guest_ids, uint32_t count,
                           bool joinable);
enum error world_send(struct world *world, uint64_t sender_id, uint64_t room_id, const char *client_id,
                      const char *body);
enum error world_send_to(struct world *world, uint64_t sender_id, uint64_t peer_id, const char *client_id,
                         const char *body);
enum error world_join(struct world *world, uint64_t user_id, uint64_t room_id);
enum error world_invite(struct world *world, uint64_t actor_id, uint64_t room_id, const uint64_t *user_ids,
                        uint32_t count);
enum error world_leave(struct world *world, uint64_t user_id, uint64_t room_id);
enum error world_remove(struct world *world, uint64_t actor_id, uint64_t room_id, const uint64_t *user_ids,
                        uint32_t count);
enum error world_set_role(struct world *world, uint64_t actor_id, uint64_t room_id, uint64_t user_id, uint8_t role);
enum error world_update(struct world *world, uint64_t actor_id, uint64_t room_id, const char *name, bool joinable);
enum error world_dismiss(struct world *world, uint64_t actor_id, uint64_t room_id);
enum error world_read(struct world *world, uint64_t user_id, uint64_t room_id, uint64_t seq);

struct send_record world_draft(uint64_t room_id, const char *client_id, const char *body);
struct send_record world_draft_to(uint64_t sender_id, uint64_t peer_id, const char *client_id, const char *body);
/* What SEND answered last on that shard. */
struct world_sent {
    uint64_t msg_id, room_id, seq, time_ms;
};
struct world_sent world_sent(struct fixture *shard);

/* Pages, read as the storage thread would; the caller frees with protobuf_c_message_free_unpacked. */
Ringpost__V1__SyncResponse *world_sync(struct world *world, uint64_t user_id, uint64_t sync_key, uint32_t limit);
/* `seq`: after_seq when upwards, else before_seq. */
Ringpost__V1__HistoryResponse *world_history(struct world *world, uint64_t room_id, bool upwards, uint64_t seq, uint32_t limit);
Ringpost__V1__ConversationsResponse *world_conversations(struct world *world, uint64_t user_id, uint64_t cursor,
                                                         uint32_t limit);
Ringpost__V1__MembersResponse *world_members(struct world *world, uint64_t room_id, uint64_t cursor, uint32_t limit);
#define WORLD_FREE(message) protobuf_c_message_free_unpacked(&(message)->base, NULL)

struct room *world_room(struct world *world, uint64_t room_id);
struct inbox *world_inbox(struct world *world, uint64_t user_id);
struct view *world_view(struct world *world, uint16_t shard, uint64_t room_id);

#endif
