/* shard/domain/room/create.c - making a group. It lives on its creator's home shard.
 * Happy path: the handler asks who the first members are -> ROOM_CREATE with their names -> apply gives the id, the
 * members, and tells each. A repeat with the same client_room_id gives the first result again, as it was: everything in
 * it is in the command and the window. */
#include "api/utf8.h"
#include "shard/domain/delivery/lookup.h"
#include "shard/domain/fields.h"
#include "shard/domain/delivery/inbox.h"
#include "shard/domain/room/room_internal.h"
#include "shard/domain/setup.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

/* ---- the command ---- */

static bool create_since_join(const struct room_create_record *create)
{
    return create->history == RINGPOST__V1__ROOM_HISTORY__SINCE_JOIN;
}

/* The window's entry of this command; result fields empty. The content is all that the creator gave: what he gives anew belongs in here,
 * so that the content of who does not give it stays what it was. */
static struct dedup_entry create_entry(const struct room_create_record *create, uint64_t actor_id)
{
    struct dedup_entry entry = {0};
    dedup_id(&entry, 0, actor_id, create->client_room_id);
    uint64_t seed = (uint64_t)create->joinable | (uint64_t)create_since_join(create) << 1;
    uint64_t hash = XXH3_64bits_withSeed(create->name.data, create->name.len, seed);
    struct cursor people = cursor_of(create->people);
    struct person_record person;
    while (person_next(&people, &person)) hash = XXH3_64bits_withSeed(&person.user_id, sizeof person.user_id, hash);
    entry.content = (uint32_t)hash;
    return entry;
}

static const struct dedup_entry *create_first(const struct machine *machine, const struct room_create_record *create,
                                              const struct dedup_entry *entry)
{
    return create->client_room_id.len == 0 ? NULL : dedup_find(machine->dedup, entry);
}

static uint32_t create_people(const struct room_create_record *create, uint64_t actor_id, struct person_record *people)
{
    uint32_t count = 0;
    people[count++] = (struct person_record){.user_id = actor_id, .name = create->owner_name};
    struct cursor guests = cursor_of(create->people);
    while (count <= ROOM_GUESTS_MAX && person_next(&guests, &people[count])) count++;
    return count;
}

static void needs_room_create(struct needs *needs, const struct command *command)
{
    struct room_create_record create = COMMAND_RECORD(room_create, command);
    struct person_record people[ROOM_GUESTS_MAX + 1];
    uint32_t count = create_people(&create, command->actor_id, people);
    for (uint32_t i = 0; i < count; i++)
        if (machine_is_home(needs->machine, people[i].user_id)) needs_entity(needs, ENTITY_INBOX, people[i].user_id, 0);
}

static enum error check_room_create(struct machine *machine, const struct command *command)
{
    struct room_create_record create = COMMAND_RECORD(room_create, command);
    struct dedup_entry entry = create_entry(&create, command->actor_id);
    const struct dedup_entry *first = create_first(machine, &create, &entry);
    if (first != NULL) return dedup_same(first, &entry, entry.content) ? ERROR_NONE : ERROR_CLIENT_ID_CONFLICT;
    struct person_record people[ROOM_GUESTS_MAX + 1];
    uint32_t count = create_people(&create, command->actor_id, people);
    return count > room_member_max(machine, TYPE_GROUP) ? ERROR_ROOM_FULL : ERROR_NONE;
}

/* The room as it was when it had just been made. */
static void create_reply(struct effects *effects, const struct machine *machine, const struct command *command,
                         const struct room_create_record *create, uint32_t member_count, const struct dedup_entry *made)
{
    if (!effects->wants_reply) return;
    char name[NAME_SIZE_MAX + 1] = "";
    ASSERT(create->name.len < sizeof name);
    memcpy(name, create->name.data, create->name.len);
    Ringpost__V1__Room room;
    ringpost__v1__room__init(&room);
    room.room_id = made->room_id;
    room.name = name;
    room.owner_id = command->actor_id;
    room.member_count = member_count;
    room.member_max = room_member_max(machine, TYPE_GROUP);
    room.created_ms = made->time_ms;
    room.joinable = create->joinable != 0;
    room.large = member_count > machine_limit(machine, LIMIT_FANOUT_THRESHOLD);
    room.history = room_history(create_since_join(create));
    Ringpost__V1__CreateRoomResponse response = RINGPOST__V1__CREATE_ROOM_RESPONSE__INIT;
    response.room = &room;
    effects_reply(effects, &response.base);
}

static void apply_room_create(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct room_create_record create = COMMAND_RECORD(room_create, command);
    struct person_record people[ROOM_GUESTS_MAX + 1];
    uint32_t count = create_people(&create, command->actor_id, people);
    struct dedup_entry entry = create_entry(&create, command->actor_id);
    const struct dedup_entry *first = create_first(machine, &create, &entry);
    if (first == NULL) {
        struct room_draft draft = {.type = TYPE_GROUP,
                                   .owner_id = command->actor_id,
                                   .actor_id = command->actor_id,
                                   .time_ms = command->time_ms,
                                   .name = create.name,
                                   .joinable = create.joinable != 0,
                                   .since_join = create_since_join(&create),
                                   .people = people,
                                   .people_count = count};
        entry.room_id = entry.result_id = room_create(machine, &draft, effects)->entity.key.a;
        entry.time_ms = command->time_ms;
        if (create.client_room_id.len > 0) dedup_add(machine->dedup, &entry, command->time_ms);
    }
    create_reply(effects, machine, command, &create, count, first != NULL ? first : &entry);
}

COMMAND_SIZE_MAX(room_create, .name = slice_of_len(NAME_SIZE_MAX), .client_room_id = slice_of_len(CLIENT_ROOM_ID_SIZE_MAX),
                              .owner_name = slice_of_len(NAME_SIZE_MAX), .people = slice_of_len(people_size_max()))
COMMAND_ROW(room_create, ROOM_CREATE, .needs = needs_room_create, .check = check_room_create);

/* ---- the method ---- */

static const char *create_fault(const Ringpost__V1__CreateRoomRequest *in)
{
    struct slice client_id = slice_text(in->client_room_id);
    if (client_id.len > CLIENT_ROOM_ID_SIZE_MAX || utf8_valid_len(client_id) != client_id.len)
        return "client_room_id: at most 64 bytes of UTF-8";
    return room_history_fault((int32_t)in->history);
}

/* True: somebody has all the rooms they may have, and the request was refused. */
static bool create_refuse_full(struct shard *shard, struct request *request, const struct guests *guests,
                                const struct user_found *people)
{
    struct entity *own = request_entity(shard, request, ENTITY_INBOX, request->actor.user_id, 0);
    bool full = inbox_group_count(inbox_of(own)) >= domain_options(shard)->rooms_per_user_max;
    for (uint32_t i = 0; i < guests->count; i++) full = full || guest_rooms_full(shard, &people[i]);
    if (full) request_refuse(shard, request, ERROR_TOO_MANY_ROOMS);
    return full;
}

void handle_create_room(struct shard *shard, struct request *request)
{
    Ringpost__V1__CreateRoomRequest *in = REQUEST_UNPACK(shard, request, CreateRoomRequest);
    if (in == NULL) return;
    const char *fault = create_fault(in);
    if (fault != NULL) {
        request_refuse_because(shard, request, ERROR_BAD_FIELD, fault);
        return;
    }
    struct name_text name;
    if (!field_clean_name(shard, request, &name, "name", in->name, true)) return;
    struct guests guests;
    if (!guests_collect(&guests, shard, request, "member_ids", in->member_ids, in->n_member_ids)) return;
    if (request_entity(shard, request, ENTITY_INBOX, request->actor.user_id, 0) == NULL) return;
    const struct user_found *people = guests_ask(&guests, shard, request);
    if (people == NULL) return;

    struct writer list, bytes;
    writer_init(&list, 0);
    writer_init(&bytes, 0);
    for (uint32_t i = 0; i < guests.count; i++) {
        struct person_record person = {.user_id = guests.ids[i], .name = people[i].name};
        person_record_write(&list, &person);
    }
    struct room_create_record record = {.name = name_slice(&name),
                                        .joinable = in->joinable != 0,
                                        .history = (uint8_t)in->history,
                                        .client_room_id = slice_text(in->client_room_id),
                                        .owner_name = request->actor.name,
                                        .people = writer_slice(&list)};
    room_create_record_write(&bytes, &record);
    struct dedup_entry entry = create_entry(&record, request->actor.user_id);
    bool again = create_first(request_machine(shard), &record, &entry) != NULL; /* makes no room: no limit */
    if (again || !create_refuse_full(shard, request, &guests, people))
        request_propose(shard, request, COMMAND_ROOM_CREATE, writer_slice(&bytes));
    writer_deinit(&list);
    writer_deinit(&bytes);
}
