/* shard/domain/relays.h - the kinds of entries that travel between shards, for ever: they stand in logs and outboxes.
 * Thread: any.  Depends: nothing.  Start at: shard/engine/relay.h */
#ifndef SHARD_DOMAIN_RELAYS_H
#define SHARD_DOMAIN_RELAYS_H

enum domain_relay_kind {
    RELAY_MESSAGE = 1, /* relay_message_record        room/relays.c */
    RELAY_CHANGE = 2,  /* relay_change_record         room/relays.c */
    RELAY_NAME = 3,    /* relay_name_record: a message, as the outbox keeps it */
    RELAY_HEARD = 4,   /* relay_heard_record: a message, as the logs of other shards keep it */
};

#endif
