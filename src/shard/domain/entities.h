/* shard/domain/entities.h - the kinds of the domain's entities: what the shard holds in memory by key.
 * Thread: any.  Depends: nothing.  Start at: shard/engine/entity.h
 * The numbers are in no file and on no wire. */
#ifndef SHARD_DOMAIN_ENTITIES_H
#define SHARD_DOMAIN_ENTITIES_H

enum domain_entity_kind {
    ENTITY_NAME,         /* a, b = hash of a user name -> user id            account/name.c */
    ENTITY_ACCOUNT,      /* a = user: password, devices                      account/account.c */
    ENTITY_INBOX,        /* a = user: stream head, sessions, name            delivery/inbox.c */
    ENTITY_CONVERSATION, /* a = user, b = room: how far the user has read    room/conversation.c */
    ENTITY_ROOM,         /* a = room                                         room/room.c */
    ENTITY_MEMBER,       /* a = room, b = user                               room/member.c */
    ENTITY_DIRECT,       /* a = lower user, b = higher user -> room          room/direct.c */
    ENTITY_VIEW,         /* a = room: its members of this shard              room/view.c */
    ENTITY_MQTT,         /* a = user: its persistent MQTT sessions           mqtt/state.c */
    ENTITY_WILLS,        /* a = user: the wills of its MQTT clients          mqtt/wills.c */
};

#endif
