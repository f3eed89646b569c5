/* shard/domain/chat/send.c - the one path of a message: to a room, or to a person, which is to the room of the two.
 * Happy path: handle_send (fields) -> SEND: check (member? repeated?) … durable -> apply: seq and msg_id, timeline,
 * local members, relays -> reply. The first message between two people makes their room; then the handler has asked who
 * the other one is. A repeat with the same client_msg_id and body gives the first result again and changes nothing;
 * another body is a conflict. */
#include "api/utf8.h"
#include "api/wire.h"
#include "shard/domain/delivery/lookup.h"
#include "shard/domain/bounds.h"
#include "shard/domain/delivery/inbox.h"
#include "shard/domain/methods.h"
#include "shard/domain/room/room.h"
#include "shard/domain/room/view.h"
#include "shard/domain/setup.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

/* ---- the command ---- */

static const struct direct *send_direct(struct machine *machine, const struct send_record *send)
{
    return direct_of(machine_entity(machine, ENTITY_DIRECT, send->low_id, send->high_id));
}

/* 0: the two have no room yet. */
static uint64_t send_room_id(struct machine *machine, const struct send_record *send)
{
    if (send->room_id != 0) return send->room_id;
    const struct direct *direct = send_direct(machine, send);
    return direct->entity.exists ? direct->room_id : 0;
}

/* All that the sender gave, whatever it is: what he gives anew belongs in here. */
static uint64_t send_content(const struct send_record *send)
{
    uint64_t hash = XXH3_64bits_withSeed(send->body.data, send->body.len, send->kind);
    return send->properties.len == 0 ? hash : XXH3_64bits_withSeed(send->properties.data, send->properties.len, hash);
}

static struct dedup_entry send_entry(const struct send_record *send, uint64_t room_id, uint64_t sender_id, uint64_t content)
{
    struct dedup_entry entry = {.room_id = room_id, .content = (uint32_t)content};
    dedup_id(&entry, room_id, sender_id, send->client_msg_id);
    return entry;
}

/* As it was before properties counted. */
static uint64_t send_former_content(const struct send_record *send)
{
    return XXH3_64bits_withSeed(send->body.data, send->body.len, send->kind);
}

static void needs_send(struct needs *needs, const struct command *command)
{
    struct send_record send = COMMAND_RECORD(send, command);
    uint64_t room_id = send.room_id;
    if (room_id == 0) {
        struct entity *direct = needs_entity(needs, ENTITY_DIRECT, send.low_id, send.high_id);
        if (direct == NULL) return;
        if (!direct->exists) {
            needs_entity(needs, ENTITY_INBOX, send.low_id, 0);
            if (machine_is_home(needs->machine, send.high_id)) needs_entity(needs, ENTITY_INBOX, send.high_id, 0);
            return;
        }
        room_id = direct_of(direct)->room_id;
    }
    needs_entity(needs, ENTITY_ROOM, room_id, 0);
    needs_entity(needs, ENTITY_MEMBER, room_id, command->actor_id);
    view_needs_message(needs, room_id, command->actor_id);
}

static enum error send_admits(struct machine *machine, uint64_t room_id, uint64_t sender_id)
{
    const struct room *room = room_of(machine_entity(machine, ENTITY_ROOM, room_id, 0));
    bool is_member = machine_entity(machine, ENTITY_MEMBER, room_id, sender_id)->exists;
    if (!room->entity.exists || !is_member) return ERROR_ROOM_NOT_FOUND;
    return room->dismissed ? ERROR_ROOM_DISMISSED : ERROR_NONE;
}

/* Who may not send any more still gets the first result of a repeat. */
static enum error check_send(struct machine *machine, const struct command *command)
{
    struct send_record send = COMMAND_RECORD(send, command);
    uint64_t room_id = send_room_id(machine, &send);
    if (room_id == 0) return ERROR_NONE;
    enum error error = send_admits(machine, room_id, command->actor_id);
    if (error == ERROR_NONE) return ERROR_NONE; /* apply detects a repeat; the lookup is the most expensive part of a send, and is done once */
    struct dedup_entry entry = send_entry(&send, room_id, command->actor_id, 0);
    return dedup_find(machine->dedup, &entry) != NULL ? ERROR_NONE : error;
}

static struct room *send_make_room(struct machine *machine, const struct send_record *send,
                                   const struct command *command, struct effects *effects)
{
    bool sender_is_low = command->actor_id == send->low_id;
    struct person_record people[2] = {
        {.user_id = send->low_id, .name = sender_is_low ? send->sender_name : send->peer_name},
        {.user_id = send->high_id, .name = sender_is_low ? send->peer_name : send->sender_name}};
    return direct_create(machine, people, command->actor_id, command->time_ms, effects);
}

static void send_reply(struct effects *effects, const struct dedup_entry *result)
{
    if (!effects->wants_reply) return;
    writer_reset(&effects->reply); /* a SendResponse */
    wire_write_u64(&effects->reply, 1, result->result_id);
    wire_write_u64(&effects->reply, 2, result->room_id);
    wire_write_u64(&effects->reply, 3, result->seq);
    wire_write_u64(&effects->reply, 4, result->time_ms);
}

static void apply_send(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct send_record send = COMMAND_RECORD(send, command);
    uint64_t room_id = send_room_id(machine, &send);
    if (room_id == 0) room_id = send_make_room(machine, &send, command, effects)->entity.key.a;
    uint64_t content = send_content(&send);
    struct dedup_entry entry = send_entry(&send, room_id, command->actor_id, content);
    const struct dedup_entry *first = dedup_find(machine->dedup, &entry);
    if (first != NULL) {
        if (dedup_same(first, &entry, send_former_content(&send))) send_reply(effects, first);
        else effects->error = ERROR_CLIENT_ID_CONFLICT;
        return;
    }
    struct message_record draft = {.sender_id = command->actor_id,
                                   .time_ms = command->time_ms,
                                   .kind = send.kind,
                                   .sender_name = send.sender_name,
                                   .client_msg_id = send.client_msg_id,
                                   .body = send.body,
                                   .properties = send.properties,
                                   .published_qos = send.published_qos};
    struct room *room = room_of(machine_entity(machine, ENTITY_ROOM, room_id, 0));
    struct message_record message = room_append(machine, room, &draft, state_hash_fold(entry.id_low, content), effects);
    entry.result_id = message.msg_id;
    entry.seq = message.seq;
    entry.time_ms = message.time_ms;
    dedup_add(machine->dedup, &entry, command->time_ms);
    send_reply(effects, &entry);
}

static uint32_t size_max_send(const struct domain *domain, uint32_t body_size_max)
{
    (void)domain;
    return send_record_size(&(struct send_record){.client_msg_id = slice_of_len(ENVELOPE_CLIENT_MSG_ID_MAX),
                                                       .sender_name = slice_of_len(NAME_SIZE_MAX),
                                                       .peer_name = slice_of_len(NAME_SIZE_MAX),
                                                       .body = slice_of_len(body_size_max),
                                                       .properties = slice_of_len(PROPERTIES_SIZE_MAX)});
}

static void count_send(struct metrics *metrics) { metrics_add(&metrics->messages_stored, 1); }

const struct command_row send_command = {.type = COMMAND_SEND,
                                         .record_version = send_record_version,
                                         .name = "SEND",
                                         .needs = needs_send,
                                         .check = check_send,
                                         .apply = apply_send,
                                         .size_max = size_max_send,
                                         .count = count_send};

/* ---- the method ---- */

/* What is wrong with the fields, and in *error which refusal that is; NULL: nothing. */
static const char *send_fault(const struct shard *shard, const struct request *request,
                              const struct envelope_send *in, enum error *error)
{
    bool is_text = in->kind == RINGPOST__V1__MESSAGE_KIND__TEXT || in->kind == RINGPOST__V1__MESSAGE_KIND__EMOJI;
    *error = ERROR_BAD_FIELD;
    if ((in->room_id == 0) == (in->to_user_id == 0)) return "room_id, to_user_id: exactly one of the two";
    if (in->to_user_id == request->actor.user_id) return "to_user_id: not yourself";
    if (in->client_msg_id.len == 0 || in->client_msg_id.len > ENVELOPE_CLIENT_MSG_ID_MAX)
        return "client_msg_id: 1 to 64 bytes of UTF-8";
    if (in->properties != NULL && protobuf_c_message_get_packed_size(&in->properties->base) > PROPERTIES_SIZE_MAX)
        return "properties: at most 4096 bytes packed";
    if (in->kind < 0 || in->kind > RINGPOST__V1__MESSAGE_KIND__CUSTOM) return "kind: not a MessageKind";
    bool known_qos = in->published_qos >= 0 && in->published_qos <= RINGPOST__V1__PUBLISHED_QOS__EXACTLY_ONCE;
    if (!known_qos) return "published_qos: not a PublishedQos";
    if (is_text && in->body.len == 0) return "body: must not be empty";
    *error = ERROR_BODY_TOO_LARGE;
    if (in->body.len > domain_options(shard)->body_size_max_bytes) return error_row(ERROR_BODY_TOO_LARGE)->message;
    *error = ERROR_BAD_FIELD;
    return is_text && utf8_valid_len(in->body) != in->body.len ? "body: text must be UTF-8" : NULL;
}

static void send_propose(struct shard *shard, struct request *request, struct send_record *record,
                         const Ringpost__V1__Properties *given)
{
    struct dedup_entry entry;
    dedup_id(&entry, record->room_id, request->actor.user_id, record->client_msg_id);
    const struct dedup *dedup = request_machine(shard)->dedup;
    request->touches[0] = dedup_place(dedup, &entry);
    request->touches[1] = dedup_sender_place(dedup, request->actor.user_id);
    struct writer *bytes = shard_scratch(shard), properties;
    writer_init(&properties, 0);
    if (given != NULL) envelope_pack(&properties, &given->base);
    record->properties = writer_slice(&properties);
    send_record_write(bytes, record);
    request_propose(shard, request, COMMAND_SEND, writer_slice(bytes));
    writer_deinit(&properties);
}

/* True: `record` names the pair and the peer. False: refused, or waiting. */
static bool send_introduce(struct shard *shard, struct request *request, uint64_t peer_id, struct send_record *record)
{
    uint64_t ids[2] = {request->actor.user_id, peer_id};
    const struct user_found *people = NULL;
    if (!users_look_up(shard, request, ids, 2, &people)) return false;
    uint32_t unanswered_max = domain_options(shard)->unanswered_max;
    enum error error = ERROR_NONE;
    if (!people[0].exists || !people[1].exists)
        error = ERROR_USER_NOT_FOUND;
    else if (unanswered_max != 0 && people[0].unanswered_count >= unanswered_max)
        error = ERROR_TOO_MANY_UNANSWERED;
    if (error != ERROR_NONE) {
        request_refuse(shard, request, error);
        return false;
    }
    record->low_id = ids[0] < ids[1] ? ids[0] : ids[1];
    record->high_id = ids[0] < ids[1] ? ids[1] : ids[0];
    record->peer_name = people[1].name;
    return true;
}

/* False: earlier sends between these two still ask who the other one is. One that came later asks too, or it would overtake them
 * as soon as the first has made the room. Questions are answered in the order they were asked. */
static bool send_may_go(struct request *request, struct direct *direct)
{
    if (request->lookup == NULL) {
        if (direct->entity.exists && direct->introductions == 0) return true;
        direct->introductions++;
        request->state = direct; /* pinned by the request; until it is answered */
        return false;
    }
    if (request->state != NULL) {
        direct->introductions--;
        request->state = NULL;
    }
    return true;
}

/* False: refused. */
static bool send_read(struct shard *shard, struct request *request, struct envelope_send *in)
{
    if (envelope_unpack_send(in, letter_payload(request->letter))) return true;
    const Ringpost__V1__SendRequest *message = REQUEST_UNPACK(shard, request, SendRequest);
    if (message == NULL) return false;
    *in = (struct envelope_send){.room_id = message->room_id,
                                 .to_user_id = message->to_user_id,
                                 .client_msg_id = slice_text(message->client_msg_id),
                                 .kind = (int32_t)message->kind,
                                 .published_qos = (int32_t)message->published_qos,
                                 .body = slice_of(message->body.data, message->body.len),
                                 .properties = message->properties};
    return true;
}

void handle_send(struct shard *shard, struct request *request)
{
    struct envelope_send in;
    if (!send_read(shard, request, &in)) return;
    enum error error;
    const char *fault = send_fault(shard, request, &in, &error);
    if (fault != NULL) {
        request_refuse_because(shard, request, error, fault);
        return;
    }
    struct send_record record = {.room_id = in.room_id,
                                 .kind = (uint8_t)in.kind,
                                 .published_qos = (uint8_t)in.published_qos,
                                 .client_msg_id = in.client_msg_id,
                                 .sender_name = request->actor.name,
                                 .body = in.body};
    if (in.to_user_id != 0) {
        uint64_t actor_id = request->actor.user_id, peer_id = in.to_user_id;
        bool possible =
            id_type(peer_id) == ID_USER && id_partition(peer_id) < request_machine(shard)->options.shard_count;
        if (!possible) {
            request_refuse(shard, request, ERROR_USER_NOT_FOUND);
            return;
        }
        struct entity *direct = request_entity(shard, request, ENTITY_DIRECT, actor_id < peer_id ? actor_id : peer_id,
                                               actor_id < peer_id ? peer_id : actor_id);
        if (direct == NULL) return;
        if (send_may_go(request, direct_of(direct)) && direct->exists)
            record.room_id = direct_of(direct)->room_id;
        else if (!send_introduce(shard, request, peer_id, &record))
            return;
    }
    send_propose(shard, request, &record, in.properties);
}
