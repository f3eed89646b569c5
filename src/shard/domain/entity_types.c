/* shard/domain/entity_types.c - one row per kind of entity; the behaviour stands with its domain. */
#include "shard/domain/account/account.h"
#include "shard/domain/room/conversation.h"
#include "shard/domain/delivery/inbox.h"
#include "shard/domain/mqtt/state.h"
#include "shard/domain/room/room.h"
#include "shard/domain/room/view.h"

const struct entity_type *const entity_types[ENTITY_KIND_COUNT] = {
    [ENTITY_NAME] = &name_type,     [ENTITY_ACCOUNT] = &account_type, [ENTITY_INBOX] = &inbox_type,
    [ENTITY_CONVERSATION] = &conversation_type, [ENTITY_ROOM] = &room_type, [ENTITY_MEMBER] = &member_type,
    [ENTITY_DIRECT] = &direct_type, [ENTITY_VIEW] = &view_type,
    [ENTITY_MQTT] = &mqtt_state_type,
};
