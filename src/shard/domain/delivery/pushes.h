/* shard/domain/delivery/pushes.h - what a command tells the sessions of this shard: events of streams, messages of large rooms, kicks.
 * Thread:  apply: the shard's worker.  Depends: shard/engine/effects.h, shard/domain/delivery/inbox.h.  Start at: shard/engine/effects.h
 * Said in apply, carried out by perform.c once the command is answered: first all events, then messages, what was missed, kicks. */
#ifndef SHARD_DELIVERY_PUSHES_H
#define SHARD_DELIVERY_PUSHES_H

#include "shard/domain/delivery/inbox.h"
#include "shard/engine/effects.h"

enum push_effect {
    PUSH_EVENT, /* entity: the inbox; number: its sync_key; bytes: packed fields of Event after sync_key */
    PUSH_ROOM,  /* number: the room; bytes: packed Message for the online members of a large room on this shard */
    PUSH_OTHERS, /* entity and number: a large room of this shard; bytes: relay_message_record for the other shards (room/large.h) */
    PUSH_MISSED, /* entity: an inbox; messages of a large room may have gone by its sessions */
    PUSH_KICK,  /* entity: the inbox; bytes: id of a device whose sessions end */
    PUSH_USER,  /* entity: the inbox; whoever looks at its user is shown them as they are now: presence/watch.c */
};

/* Begins an event; write its packed fields to effects->bytes, then end. */
static inline struct event_bytes push_event_begin(const struct effects *effects)
{
    return (struct event_bytes){.start = effects_mark(effects)};
}
static inline void push_event_end(const struct effects *effects, struct event_bytes *event)
{
    event->len = effects_mark(effects) - event->start;
}
/* The event is shared by all it is pushed to. */
static inline void push_event(struct effects *effects, struct inbox *inbox, uint64_t sync_key, struct event_bytes event)
{
    effects_add(effects, &(struct effect){&inbox->entity, sync_key, event.start, event.len, PUSH_EVENT});
}
/* Its sessions have to sync to hear of what may have gone by in a large room. */
void push_missed(struct effects *effects, struct inbox *inbox);
void push_room(struct effects *effects, uint64_t room_id, struct slice packed_message);
void push_kick(struct effects *effects, struct inbox *inbox, struct slice device_id);
static inline void push_user(struct effects *effects, struct inbox *inbox)
{
    effects_add(effects, &(struct effect){.entity = &inbox->entity, .kind = PUSH_USER});
}

#endif
