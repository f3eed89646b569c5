/* shard/domain/room/member.c - one member of a room, on the room's shard. A user who is none is an entity too: exists ==
 * false. */
#include "shard/domain/keys.h"
#include "shard/engine/memory.h"
#include "shard/domain/room/room.h"

static bool member_read(struct entity *fresh, struct slice value)
{
    struct member *member = member_of(fresh);
    struct member_record record;
    if (!member_record_is(&record, value)) return false;
    member->role = record.role;
    member->joined_ms = record.joined_ms;
    member->joined_seq = record.joined_seq;
    member->name = memory_text(record.name);
    return true;
}

static void member_drop(struct machine *machine, struct entity *entity)
{
    (void)machine;
    free(member_of(entity)->name);
}

const struct entity_type member_type = {.kind = ENTITY_MEMBER,
                                        .name = "member",
                                        .size_bytes = sizeof(struct member),
                                        .row_key = KEY_MEMBER,
                                        .row_of_two = true,
                                        .read = member_read,
                                        .drop = member_drop};

void member_put(struct member *member, struct effects *effects)
{
    ASSERT(member->entity.exists);
    struct key key = key_two(KEY_MEMBER, member->entity.key.a, member->entity.key.b);
    struct member_record record = {.role = member->role,
                                   .joined_ms = member->joined_ms,
                                   .name = slice_text(member->name),
                                   .joined_seq = member->joined_seq};
    EFFECTS_PUT_ROW(effects, &key, member, &record, &member->entity.row_hash);
}
