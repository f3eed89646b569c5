/* shard/domain/keys.h - the kinds of the domain's keys in the store, for ever.
 * Thread: any.  Depends: shard/engine/keys.h, which makes keys.  Start at: shard/engine/shard.h */
#ifndef SHARD_DOMAIN_KEYS_H
#define SHARD_DOMAIN_KEYS_H

#include "shard/engine/keys.h"

enum domain_key_kind {
    KEY_NAME = 0x10,         /* xxh3-128 of the name  -> name_record */
    KEY_ACCOUNT = 0x11,      /* user                  -> account_record */
    KEY_DEVICE = 0x12,       /* user | device id      -> device_record */
    KEY_INBOX = 0x13,        /* user                  -> inbox_record */
    KEY_EVENT = 0x14,        /* user | last sync_key  -> block (block.h) of: u8 event kind | event record */
    KEY_CONVERSATION = 0x15, /* user | room           -> conversation_record */
    KEY_MQTT = 0x16,         /* user | client id      -> mqtt_session_record */
    KEY_WILL = 0x17,         /* user | log index      -> will_record */
    KEY_ROOM = 0x20,         /* room                  -> room_record */
    KEY_MEMBER = 0x21,       /* room | user           -> member_record */
    KEY_DIRECT = 0x22,       /* lower user | higher   -> u64 room */
    KEY_MESSAGE = 0x23,      /* room | ~first seq     -> block of message_records; newest first, because forward scans are the fast ones */
    KEY_VIEW = 0x24,         /* room                  -> snapshot_record, u64 head_seq, u64 opener_id: a room with members on this shard */
    KEY_LOCAL = 0x25,        /* room | user           -> empty: a member whose home is this shard */
};

#endif
