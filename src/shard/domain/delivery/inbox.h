/* shard/domain/delivery/inbox.h - a user's stream of events (SyncKey 1, 2, 3 …) and the sessions that listen to it.
 * Owns:    the head and the profile line; borrows the sessions.
 * Thread:  the shard's worker (the user's home shard).  Depends: shard/engine/machine.h.  Start at: shard/engine/shard.h
 * The light part of a user: what every delivery needs. Password and devices are in account/account.h. */
#ifndef SHARD_CHAT_INBOX_H
#define SHARD_CHAT_INBOX_H

#include "shard/domain/entities.h"
#include "shard/domain/limits.h"
#include "shard/engine/machine.h"

#define INBOX_INCARNATIONS_MAX 8 /* starts of the shard in which the user's stream grew; a device that was away for more is reset */
#define INBOX_TRIM_EVENTS 1024 /* of a user between two looks at what is not kept any more, or as many as are kept */

struct session;

struct inbox_incarnation { /* a start of the shard in which the stream grew */
    uint32_t ordinal;
    uint64_t first; /* sync_key given in it */
};

struct inbox { /* entity.exists: the user exists */
    struct entity entity;
    uint64_t head; /* newest sync_key; first kept = head - inbox_events_max + 1, at least 1 */
    uint64_t trimmed; /* entries before it were let go since it became resident; runtime only */
    uint32_t incarnation;       /* the last one of: */
    uint32_t incarnation_count;
    struct inbox_incarnation *incarnations; /* owned; ascending, the newest INBOX_INCARNATIONS_MAX */
    uint64_t last_seen_ms;
    uint32_t room_count;
    uint32_t large_count;     /* of them large: 0 spares sync the look at every room */
    uint32_t direct_count;    /* of them conversations of two, which do not count against rooms_per_user_max: others open them */
    uint32_t unanswered_count; /* of them opened by this user and not answered yet: the others have sent nothing in them */
    uint32_t roster_count;       /* large rooms it is listed in; runtime only */
    uint32_t membership_changes; /* rooms joined or left since it became resident; runtime only, counted by
                                    view_apply_change */
    char *name; /* owned, one allocation with: */
    char *display_name;
    struct session *sessions;    /* online devices; each pins this entity */
    struct watcher
        *watchers; /* sessions that subscribed to this user's presence; presence/watch.c; each pins this entity */
    uint64_t messages_bucket, requests_bucket; /* rate limits: rate_limit.h */
};
extern const struct entity_type inbox_type;
void inbox_set_names(struct inbox *inbox, struct slice name, struct slice display_name);

static inline struct inbox *inbox_of(struct entity *entity) { return ENTITY_CAST(struct inbox, ENTITY_INBOX, entity); }
static inline uint32_t inbox_group_count(const struct inbox *inbox) { return inbox->room_count - inbox->direct_count; }

/* May a client that has everything up to `sync_key`, by what `epoch` (NULL: it does not know) was when it was given that, go on from
 * there? TOO_OLD: entries behind it are not kept any more. OTHER_STREAM: that key was not given in the history of this shard, which was
 * restored from a backup, or it is too long ago to tell. */
enum inbox_answer { INBOX_GOES_ON, INBOX_TOO_OLD, INBOX_OTHER_STREAM };
enum inbox_answer inbox_judge(const struct machine *machine, const struct inbox *inbox, uint64_t sync_key, const struct epoch *epoch);
static inline uint64_t inbox_first_kept(const struct machine *machine, const struct inbox *inbox)
{
    uint64_t kept = machine_limit(machine, LIMIT_INBOX_EVENTS_MAX);
    return inbox->head > kept ? inbox->head - kept + 1 : 1;
}

struct event_bytes { /* in effects->bytes: packed fields of Event after sync_key, see pushes.h */
    uint32_t start, len;
};
/* Apply: the next entry of the user's stream; `event` is what their sessions get, `value` what the store keeps (u8 event_kind, record),
 * `content` a hash of that (state_hash.h). Now and then lets go of entries that left the kept window. */
void inbox_append(struct machine *machine, struct inbox *inbox, struct event_bytes event, struct slice value, uint64_t content,
                  struct effects *effects);

#endif
