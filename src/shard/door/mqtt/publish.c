/* shard/door/mqtt/publish.c - messages from the client: a PUBLISH becomes the method `send`, its answer the acknowledgement.
 * Happy path: topic -> room or user (a name is looked up once and remembered) -> send -> durable -> PUBACK or PUBREC, in the order
 * the messages came. Failure: MQTT 5 hears why; to 3.1.1, which knows no refusal, the connection ends, because an acknowledgement
 * would be a lie. A refused message of QoS 0 is dropped.
 *
 * Once and only once: a message's client_msg_id is the user property of that name, or made from the connection's epoch, the turn
 * of its packet ids and the packet id. One sent again (DUP) gets the id it had: in this connection and the one before from
 * `recent`, and after a crash of ours by what clients do, packet ids that count up. The window of repeated sends does the rest.
 * A client may take the lowest free packet id again and again, and DUP does not say that we have this message: with QoS 2 PUBREL says
 * that the packet id is free; with QoS 1 another body shows it, then the connection ends and what is sent again gets an id of its own. */
#include "shard/domain/domain.h"
#include "api/utf8.h"
#include "api/wire.h"
#include "core/refusal.h"
#include "shard/domain/account/account.h"
#include "shard/domain/letters.h"
#include "shard/domain/mqtt/wills.h"
#include "shard/engine/memory.h"
#include "shard/door/mqtt/mqtt_internal.h"
#include <stdio.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define RECEIPTS_MIN 8
#define EPOCH_DIGITS 11 /* of six bits */
#define ROUND_RELEASED (1u << 31) /* as stored */
#define ID_SIZE      (2 * EPOCH_DIGITS + 1)

/* ---- topics ----------------------------------------------------------------------------------------------------------------- */

/* Digits without a leading zero. */
static bool read_id(struct slice text, uint64_t *id)
{
    *id = 0;
    if (text.len == 0 || text.len > 20 || text.data[0] == '0') return false;
    for (uint32_t i = 0; i < text.len; i++) {
        uint64_t digit = text.data[i] - (uint64_t)'0';
        if (digit > 9 || __builtin_mul_overflow(*id, 10u, id) || __builtin_add_overflow(*id, digit, id)) return false;
    }
    return true;
}

struct mqtt_target mqtt_target_of(struct slice topic)
{
    struct mqtt_target target = {.kind = MQTT_TARGET_NONE};
    if (topic.len < 3 || topic.data[1] != '/') return target;
    struct slice rest = slice_of(topic.data + 2, topic.len - 2);
    if (topic.data[0] == 'r' && read_id(rest, &target.id) && id_type(target.id) == ID_ROOM) {
        target.kind = MQTT_TARGET_ROOM;
    } else if (topic.data[0] == 'u' && read_id(rest, &target.id) && id_type(target.id) == ID_USER) {
        target.kind = MQTT_TARGET_USER;
    } else if (topic.data[0] == 'u' && account_name_valid(rest)) {
        target.kind = MQTT_TARGET_NAME;
        target.name = rest;
    }
    return target;
}

/* Clients write to the same place again and again. */
static struct mqtt_target target_of(struct mqtt_sender *sender, struct slice topic)
{
    if (topic.len == sender->topic_len && memcmp(topic.data, sender->topic, topic.len) == 0) return sender->target;
    struct mqtt_target target = mqtt_target_of(topic);
    if (target.kind == MQTT_TARGET_USER || target.kind == MQTT_TARGET_ROOM) {
        ASSERT(topic.len <= sizeof sender->topic);
        memcpy(sender->topic, topic.data, topic.len);
        sender->topic_len = (uint8_t)topic.len;
        sender->target = target;
    }
    return target;
}

/* ---- the sender --------------------------------------------------------------------------------------------------------------- */

void mqtt_sender_destroy(struct mqtt_sender *sender)
{
    if (sender == NULL) return;
    for (uint32_t i = 0; sender->aliases != NULL && i < MQTT_ALIASES_MAX; i++) free(sender->aliases[i]);
    free(sender->aliases);
    free(sender->receipts);
    free(sender->own);
    free(sender);
}

static struct mqtt_sender *sender_of(struct mqtt *mqtt)
{
    if (mqtt->sender == NULL) mqtt->sender = memory_alloc(sizeof *mqtt->sender);
    return mqtt->sender;
}

static struct mqtt_receipt *receipt_at(struct mqtt_sender *sender, uint64_t number)
{
    return &sender->receipts[number & (sender->receipt_capacity - 1)];
}

/* The number of a new receipt. */
static uint64_t receipt_add(struct mqtt_sender *sender, const struct mqtt_publish *publish)
{
    uint64_t count = sender->receipt_next - sender->receipt_first;
    if (count == sender->receipt_capacity) {
        uint32_t capacity = count == 0 ? RECEIPTS_MIN : sender->receipt_capacity * 2;
        struct mqtt_receipt *grown = memory_alloc(capacity * sizeof *grown);
        for (uint64_t n = sender->receipt_first; n < sender->receipt_next; n++) grown[n & (capacity - 1)] = *receipt_at(sender, n);
        free(sender->receipts);
        sender->receipts = grown;
        sender->receipt_capacity = capacity;
    }
    *receipt_at(sender, sender->receipt_next) = (struct mqtt_receipt){.packet_id = publish->packet_id, .qos = publish->qos};
    return sender->receipt_next++;
}

static bool receipt_pending(struct mqtt_sender *sender, uint16_t packet_id)
{
    for (uint64_t n = sender->receipt_first; n < sender->receipt_next; n++)
        if (receipt_at(sender, n)->packet_id == packet_id) return true;
    return false;
}

/* ---- ids of messages ------------------------------------------------------------------------------------------------------------ */

static bool is_newer(const struct mqtt_recent *recent, const struct mqtt_recent *than)
{
    if (recent->epoch != than->epoch) return true;
    return recent->round > than->round || (recent->round == than->round && recent->packet_id > than->packet_id);
}

static void remember(struct mqtt_sender *sender, const struct mqtt_recent *recent)
{
    if (is_newer(recent, &sender->newest)) sender->newest = *recent;
    sender->recent[sender->recent_next++ % MQTT_RECENT_COUNT] = *recent;
    if (sender->recent_count < MQTT_RECENT_COUNT) sender->recent_count++;
}

/* The newest that packet id had; NULL: it is not known any more. */
static struct mqtt_recent *recall(struct mqtt_sender *sender, uint16_t packet_id)
{
    for (uint32_t n = 1; n <= sender->recent_count; n++) {
        struct mqtt_recent *recent = &sender->recent[(sender->recent_next - n) % MQTT_RECENT_COUNT];
        if (recent->packet_id == packet_id) return recent;
    }
    return NULL;
}

/* A new turn begins when a packet id does not count up: within one turn each is used once. */
static struct mqtt_recent recent_new(struct mqtt *mqtt, struct mqtt_sender *sender, uint16_t packet_id)
{
    if (packet_id <= sender->last_packet_id) {
        sender->round++;
        mqtt->unsaved = true;
    }
    sender->last_packet_id = packet_id;
    return (struct mqtt_recent){.epoch = mqtt->epoch, .round = sender->round, .packet_id = packet_id};
}

/* Sent in a connection before, too long ago to be remembered or after that was saved last: packet ids count up, and what is on its
 * way together lies within half a turn. What came after the newest we know came in the last connection that published anew: its first
 * such message waited until the session said so (announces()), and with it the ids of all that had been sent again before. */
static struct mqtt_recent recent_guess(const struct mqtt *mqtt, const struct mqtt_sender *sender, uint16_t packet_id)
{
    const struct mqtt_recent *newest = &sender->newest;
    struct mqtt_recent guess = {.epoch = mqtt->publisher, .packet_id = packet_id};
    bool later = (int16_t)(packet_id - newest->packet_id) > 0;
    if (newest->epoch == 0 || (later && newest->epoch != mqtt->publisher)) return guess;
    guess.epoch = newest->epoch;
    guess.round = newest->round;
    if (later && packet_id < newest->packet_id) guess.round++;
    if (!later && packet_id > newest->packet_id) guess.round--;
    return guess;
}

static struct mqtt_recent recent_of(struct mqtt *mqtt, struct mqtt_sender *sender, const struct mqtt_publish *publish)
{
    const struct mqtt_recent *recent = publish->duplicate ? recall(sender, publish->packet_id) : NULL;
    if (recent != NULL && !recent->released) return *recent;
    if (recent == NULL && publish->duplicate && mqtt->publisher != 0) return recent_guess(mqtt, sender, publish->packet_id);
    return recent_new(mqtt, sender, publish->packet_id);
}

void mqtt_released(struct mqtt *mqtt, uint16_t packet_id)
{
    struct mqtt_recent *recent = mqtt->sender == NULL ? NULL : recall(mqtt->sender, packet_id);
    if (recent == NULL || recent->released) return;
    recent->released = true;
    mqtt->unsaved = true;
}

/* Six bits a character, the lowest first, and no fewer characters than said. */
static char *put_digits(char *at, uint64_t number, uint32_t count_min)
{
    for (; number != 0 || count_min > 0; number >>= 6) {
        *at++ = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"[number & 63];
        if (count_min > 0) count_min--;
    }
    return at;
}

/* <epoch>.<round and packet id>; with QoS 0 ~ and a count instead. Every message needs one and is stored with it: it is short. */
static struct slice make_id(char id[ID_SIZE], struct mqtt *mqtt, struct mqtt_sender *sender, const struct mqtt_publish *publish)
{
    struct mqtt_recent recent = {.epoch = mqtt->epoch};
    uint64_t number = 0;
    if (publish->qos == 0) {
        number = ++sender->count;
    } else {
        recent = recent_of(mqtt, sender, publish);
        remember(sender, &recent);
        number = (uint64_t)recent.round << 16 | recent.packet_id;
    }
    char *at = put_digits(id, recent.epoch, EPOCH_DIGITS);
    *at++ = publish->qos == 0 ? '~' : '.';
    at = put_digits(at, number, 1);
    return slice_of(id, (size_t)(at - id));
}

void mqtt_write_recent(const struct mqtt *mqtt, struct writer *out)
{
    const struct mqtt_sender *sender = mqtt->sender;
    for (uint32_t n = sender == NULL ? 0 : sender->recent_count; n > 0; n--) {
        const struct mqtt_recent *recent = &sender->recent[(sender->recent_next - n) % MQTT_RECENT_COUNT];
        writer_u16(out, recent->packet_id);
        writer_u32(out, recent->round | (recent->released ? ROUND_RELEASED : 0));
        writer_u64(out, recent->epoch);
    }
}

void mqtt_read_recent(struct mqtt *mqtt, struct slice list)
{
    struct cursor c = cursor_of(list);
    while (cursor_left(&c) > 0 && !c.bad) {
        struct mqtt_recent recent = {.packet_id = cursor_u16(&c)};
        uint32_t round = cursor_u32(&c);
        recent.round = round & ~ROUND_RELEASED;
        recent.released = (round & ROUND_RELEASED) != 0;
        recent.epoch = cursor_u64(&c);
        if (!c.bad) remember(sender_of(mqtt), &recent);
    }
}

/* ---- no local ---------------------------------------------------------------------------------------------------------------------- */

/* Messages to a person never come back; those to a room do. */
static void own_add(const struct mqtt *mqtt, struct mqtt_sender *sender, const struct mqtt_target *target, struct slice id)
{
    bool asked = false;
    for (uint32_t i = 0; i < mqtt->subscription_count; i++) asked |= mqtt->subscriptions[i].no_local;
    if (!asked || target->kind != MQTT_TARGET_ROOM) return;
    if (sender->own == NULL) sender->own = memory_alloc(MQTT_OWN_COUNT * sizeof *sender->own);
    sender->own[sender->own_next++ % MQTT_OWN_COUNT] = (struct mqtt_own){target->id, XXH3_64bits(id.data, id.len)};
}

/* Is it an id that we made for a connection of that epoch? */
static bool id_is_of(struct slice id, uint64_t epoch)
{
    char digits[EPOCH_DIGITS];
    if (epoch == 0 || id.len <= EPOCH_DIGITS || (id.data[EPOCH_DIGITS] != '.' && id.data[EPOCH_DIGITS] != '~')) return false;
    (void)put_digits(digits, epoch, EPOCH_DIGITS);
    return memcmp(id.data, digits, EPOCH_DIGITS) == 0;
}

/* Made for this connection, or for an earlier one of the session. */
static bool id_is_ours(const struct mqtt *mqtt, struct slice id)
{
    if (id_is_of(id, mqtt->epoch) || id_is_of(id, mqtt->old_epoch)) return true;
    const struct mqtt_sender *sender = mqtt->sender;
    uint64_t looked_at = 0;
    for (uint32_t i = 0; sender != NULL && i < sender->recent_count; i++) {
        if (sender->recent[i].epoch != looked_at && id_is_of(id, sender->recent[i].epoch)) return true;
        looked_at = sender->recent[i].epoch;
    }
    return false;
}

/* A client_msg_id alone says nothing: others may copy it. Of one user it names one message in its room, and what it was sent to by
 * this connection is remembered; beyond that, the ids we make name the connection. */
bool mqtt_is_own(const struct client *client, const struct mqtt_message *message)
{
    const struct mqtt *mqtt = client->mqtt;
    struct slice id = message->client_msg_id;
    if (message->sender_id != client->session->inbox->entity.key.a) return false;
    uint64_t hash = XXH3_64bits(id.data, id.len);
    bool to_another = false;
    for (uint32_t i = 0; mqtt->sender != NULL && mqtt->sender->own != NULL && i < MQTT_OWN_COUNT; i++) {
        const struct mqtt_own *own = &mqtt->sender->own[i];
        if (own->room_id == 0 || own->id_hash != hash) continue;
        if (own->room_id == message->room_id) return true;
        to_another = true;
    }
    return !to_another && id_is_ours(mqtt, id);
}

/* ---- acknowledging ---------------------------------------------------------------------------------------------------------------- */

static void acknowledge(struct client *client, const struct mqtt_receipt *receipt)
{
    struct mqtt *mqtt = client->mqtt;
    struct door *d = client->door;
    enum mqtt_reason reason = receipt->unheard ? MQTT_NO_SUBSCRIBERS : mqtt_reason_of((enum error)receipt->error);
    struct slice block = SLICE_EMPTY;
    if (receipt->error != ERROR_NONE && mqtt->problem_info)
        block = mqtt_reason_string(client, error_row((enum error)receipt->error)->reason);
    mqtt_encode_ack(&d->mqtt->out, (enum mqtt_version)mqtt->version, receipt->qos == 1 ? MQTT_PUBACK : MQTT_PUBREC,
                    receipt->packet_id, reason, block);
}

/* A new id for what comes with that packet id and DUP. */
static void reserve(struct mqtt *mqtt, uint16_t packet_id)
{
    struct mqtt_recent recent = recent_new(mqtt, mqtt->sender, packet_id);
    remember(mqtt->sender, &recent);
    mqtt->unsaved = true;
}

/* A message that went nowhere, and the client cannot hear why. */
static void note_refusal(struct client *client, enum error error)
{
    const struct session *session = client->session;
    struct in6_addr address = conn_address(client->conn);
    refusal_note(REFUSAL_MQTT_MESSAGE, &address, "user_id=%llu device=%s why=%s", (unsigned long long)session->inbox->entity.key.a,
                 session->device_id, error_row(error)->reason);
}

bool mqtt_is_answered(const struct mqtt *mqtt)
{
    return mqtt->sender == NULL || mqtt->sender->receipt_first == mqtt->sender->receipt_next;
}

/* A refusal that is no answer: MQTT 3.1.1 knows none, a packet id of another message is given up with its connection, and what may have been
 * carried out is sent again under the same id by a client that comes back. */
static bool ends_connection(const struct mqtt *mqtt, const struct mqtt_receipt *receipt, enum mqtt_reason *reason)
{
    bool another = receipt->error == ERROR_CLIENT_ID_CONFLICT && receipt->again; /* than the one that had its packet id */
    bool unknown = receipt->error == ERROR_NO_ANSWER;
    *reason = another ? MQTT_IMPLEMENTATION : unknown ? MQTT_SERVER_BUSY : MQTT_SUCCESS;
    return another || unknown || (receipt->error != ERROR_NONE && mqtt->version == MQTT_3_1_1);
}

/* Acknowledges from the front what is done. */
static void acknowledge_done(struct client *client)
{
    struct mqtt *mqtt = client->mqtt;
    struct mqtt_sender *sender = mqtt->sender;
    enum mqtt_reason reason;
    while (sender->receipt_first < sender->receipt_next && receipt_at(sender, sender->receipt_first)->done) {
        const struct mqtt_receipt *receipt = receipt_at(sender, sender->receipt_first++);
        if (!ends_connection(mqtt, receipt, &reason)) {
            acknowledge(client, receipt);
            continue;
        }
        if (reason == MQTT_IMPLEMENTATION) reserve(mqtt, receipt->packet_id);
        else note_refusal(client, (enum error)receipt->error);
        mqtt_end_when_answered(client, reason);
        if (mqtt->phase == MQTT_ENDED) return; /* with what was in door->mqtt->out */
    }
    if (client->door->mqtt->out.len > 0) mqtt_send(client);
    if (mqtt->leaving && mqtt_is_answered(mqtt)) mqtt_end(client, (enum mqtt_reason)mqtt->leave_reason);
}

/* With QoS 0. */
static void drop(struct client *client, enum error error)
{
    struct metrics *metrics = client->door->options.metrics;
    enum mqtt_reason reason = mqtt_reason_of(error);
    note_refusal(client, error);
    if (reason == MQTT_BAD_TOPIC) metrics_add(&metrics->mqtt_dropped_topic, 1);
    else if (reason == MQTT_NOT_AUTHORIZED) metrics_add(&metrics->mqtt_dropped_forbidden, 1);
    else if (reason == MQTT_QUOTA_EXCEEDED && error != ERROR_BODY_TOO_LARGE) metrics_add(&metrics->mqtt_dropped_busy, 1);
    else metrics_add(&metrics->mqtt_dropped_payload, 1);
}

static void receipt_done(struct client *client, uint64_t number, enum error error)
{
    struct mqtt_sender *sender = client->mqtt->sender;
    if (number == MQTT_NOBODY && error != ERROR_NONE) drop(client, error);
    if (number == MQTT_NOBODY) return;
    ASSERT(number >= sender->receipt_first && number < sender->receipt_next);
    struct mqtt_receipt *receipt = receipt_at(sender, number);
    receipt->done = true;
    receipt->error = (uint8_t)error;
    acknowledge_done(client);
    /* Many stand behind one that is under way: its answer lets more come. */
    if (sender->receipt_next - sender->receipt_first >= DOOR_IN_FLIGHT_MAX) door_client_pause(client);
}

void mqtt_published(struct client *client, uint64_t number, const struct letter *letter)
{
    receipt_done(client, number, (enum error)letter->error);
    if (client->mqtt->unsaved && mqtt_persistent(client->mqtt)) mqtt_save_in_time(client);
}

/* ---- rates ------------------------------------------------------------------------------------------------------------------------ */

static void on_slow(struct timer *timer)
{
    struct client *client = CONTAINER_OF(timer, struct mqtt_sender, slow)->client;
    client->mqtt->slowed = false;
    if (client->mqtt->phase != MQTT_ENDED) door_client_resume(client);
}

/* Nothing is read for `wait_ms`: a burst is neither refused nor dropped, it takes longer. */
static void slow_down(struct client *client, uint32_t wait_ms)
{
    struct mqtt_sender *sender = sender_of(client->mqtt);
    struct timer_wheel *timers = client->door->options.timers;
    metrics_add(&client->door->options.metrics->mqtt_slowed, 1);
    client->mqtt->slowed = true;
    mqtt_wait(client);
    sender->client = client;
    sender->slow.fired = on_slow;
    timer_arm(timers, &sender->slow, timers->now_ms + wait_ms);
}

void mqtt_stop_slowing(struct client *client)
{
    struct mqtt_sender *sender = client->mqtt->sender;
    if (sender != NULL) timer_cancel(client->door->options.timers, &sender->slow);
}

/* ---- names ------------------------------------------------------------------------------------------------------------------------ */

static const struct mqtt_name *name_find(const struct mqtt_sender *sender, struct slice name)
{
    for (uint32_t i = 0; i < MQTT_NAMES_COUNT; i++)
        if (slice_equal(slice_text(sender->names[i].name), name)) return &sender->names[i];
    return NULL;
}

static void ask_user(struct client *client, struct slice name)
{
    struct writer user;
    writer_init(&user, 0);
    wire_write_bytes(&user, 1, name);
    uint16_t home = id_partition(client->session->inbox->entity.key.a);
    struct letter *letter = mqtt_letter(client, home, RINGPOST__V1__REQUEST__METHOD_USER, writer_slice(&user));
    letter->admitted = false; /* the client chooses how often: its rate is looked at */
    mqtt_ask(client, letter, 0);
    writer_deinit(&user);
}

static bool user_of(const struct letter *letter, uint64_t *user_id)
{
    struct slice user = SLICE_EMPTY;
    return letter->error == ERROR_NONE && envelope_peek_bytes(letter_payload(letter), 1, &user) == RESULT_OK &&
           envelope_peek_u64(user, 1, user_id) == RESULT_OK;
}

void mqtt_looked_up(struct client *client, const struct letter *letter)
{
    struct mqtt *mqtt = client->mqtt;
    struct mqtt_name *place = &mqtt->sender->names[(mqtt->sender->name_next - 1) % MQTT_NAMES_COUNT];
    bool found = user_of(letter, &place->user_id);
    mqtt->looking_up = false;
    if (found || letter->error == ERROR_USER_NOT_FOUND) return; /* the message goes on, or is refused, when it is taken again */
    *place = (struct mqtt_name){0};
    if (letter->error == ERROR_RATE_LIMITED) slow_down(client, letter->retry_after_ms);
    else mqtt_end_when_answered(client, MQTT_SERVER_BUSY);
}

static void look_up(struct client *client, struct slice name, struct slice packet)
{
    struct mqtt *mqtt = client->mqtt;
    struct mqtt_sender *sender = sender_of(mqtt);
    struct mqtt_name *place = &sender->names[sender->name_next++ % MQTT_NAMES_COUNT];
    *place = (struct mqtt_name){0};
    ASSERT(name.len < sizeof place->name); /* a valid name */
    memcpy(place->name, name.data, name.len);
    mqtt_put_back(client, packet);
    mqtt->looking_up = true;
    mqtt_wait(client);
    ask_user(client, slice_text(place->name));
}

/* ---- publishing --------------------------------------------------------------------------------------------------------------------- */

/* A SendRequest. `qos`: it was published with; of a will that is not what it is sent with. */
static void pack_send(struct client *client, struct writer *request, const struct mqtt_publish *publish, const struct mqtt_target *target,
                      uint8_t qos, struct slice id)
{
    if (target->kind == MQTT_TARGET_ROOM) wire_write_u64(request, 1, target->id);
    else wire_write_u64(request, 2, target->id);
    wire_write_bytes(request, 3, id);
    wire_write_u64(request, 4, mqtt_kind_of(publish));
    wire_write_bytes(request, 5, publish->payload);
    if (publish->properties.block.len > 0) {
        struct writer *properties = &client->door->mqtt->properties;
        writer_reset(properties);
        mqtt_pack_properties(properties, &publish->properties);
        wire_write_bytes(request, 6, writer_slice(properties));
    }
    wire_write_u64(request, 7, RINGPOST__V1__PUBLISHED_QOS__AT_MOST_ONCE + qos);
}

static void publish_to(struct client *client, const struct mqtt_publish *publish, const struct mqtt_target *target, uint8_t qos,
                       uint64_t number)
{
    struct mqtt *mqtt = client->mqtt;
    struct mqtt_sender *sender = sender_of(mqtt);
    char made[ID_SIZE];
    struct slice id = mqtt_property_user(&publish->properties, SLICE_TEXT("client_msg_id"));
    if (id.data == NULL) {
        id = make_id(made, mqtt, sender, publish);
        if (number != MQTT_NOBODY) receipt_at(sender, number)->again = publish->duplicate;
    }
    own_add(mqtt, sender, target, id);
    struct writer *request = &client->door->packed;
    writer_reset(request);
    pack_send(client, request, publish, target, qos, id);
    struct origin origin;
    if (!door_take(client->door, client->conn,
                   (struct inflight){.request_id = number, .method = RINGPOST__V1__REQUEST__METHOD_SEND}, &origin)) {
        mqtt_on_full(client);
        return;
    }
    if (++client->in_flight >= DOOR_IN_FLIGHT_MAX) door_client_pause(client);
    const struct method *send = method_by_number(ringpost_domain(), RINGPOST__V1__REQUEST__METHOD_SEND);
    door_client_asked(client, session_forward(client->session, send, writer_slice(request), &origin));
}

/* A retained PUBLISH without a payload is no message: from here on nothing of the room is retained. Of a person nothing ever is. */
static void clear_retained(struct client *client, const struct mqtt_target *target, uint64_t number)
{
    bool room = target->kind == MQTT_TARGET_ROOM, possible = id_partition(target->id) < client->door->options.shard_count;
    if (!room || !possible) {
        receipt_done(client, number, room ? ERROR_ROOM_NOT_FOUND : ERROR_NONE);
        return;
    }
    if (client->in_flight + 1 >= DOOR_IN_FLIGHT_MAX) door_client_pause(client);
    mqtt_ask_room(client, MQTT_CLEAR_RETAINED, target->id, number);
}

static void carry_out(struct client *client, const struct mqtt_publish *publish, const struct mqtt_target *target, uint8_t qos,
                      uint64_t number)
{
    if (publish->retain && publish->payload.len == 0) clear_retained(client, target, number);
    else publish_to(client, publish, target, qos, number);
}

static enum error take_rate(struct client *client, uint32_t *wait_ms)
{
    return session_take(client->session, method_by_number(ringpost_domain(), RINGPOST__V1__REQUEST__METHOD_SEND), wait_ms);
}

/* True: `target` is a room or a user's id. False: the name is being looked up. */
static bool resolve(struct client *client, struct mqtt_target *target, struct slice packet)
{
    if (target->kind != MQTT_TARGET_NAME) return true;
    const struct mqtt_name *known = name_find(sender_of(client->mqtt), target->name);
    if (known == NULL) {
        look_up(client, target->name, packet);
        return false;
    }
    target->kind = known->user_id == 0 ? MQTT_TARGET_NONE : MQTT_TARGET_USER;
    target->id = known->user_id;
    return true;
}

/* A short number for a topic that the client gave before, or gives now. */
static enum mqtt_reason resolve_alias(struct mqtt *mqtt, const struct mqtt_publish *publish, struct slice *topic)
{
    uint32_t alias = mqtt_property_number(&publish->properties, MQTT_TOPIC_ALIAS, 0);
    if (alias == 0) return MQTT_SUCCESS;
    if (alias > MQTT_ALIASES_MAX) return MQTT_ALIAS_INVALID;
    struct mqtt_sender *sender = sender_of(mqtt);
    if (sender->aliases == NULL) sender->aliases = memory_alloc(MQTT_ALIASES_MAX * sizeof *sender->aliases);
    char **known = &sender->aliases[alias - 1];
    if (topic->len > 0) {
        free(*known);
        *known = memory_text(topic->len <= MQTT_TOPIC_MAX ? *topic : SLICE_TEXT("?")); /* a longer one is refused as well */
    }
    if (*known == NULL) return MQTT_PROTOCOL_ERROR;
    *topic = slice_text(*known);
    return MQTT_SUCCESS;
}

/* A topic of the broker's own, where a bridge says that it is there: nobody can listen to it here. */
static void publish_to_nobody(struct client *client, const struct mqtt_publish *publish)
{
    struct mqtt_sender *sender = sender_of(client->mqtt);
    metrics_add(&client->door->options.metrics->mqtt_dropped_reserved_topic, 1);
    if (publish->qos == 0) return;
    uint64_t number = receipt_add(sender, publish);
    receipt_at(sender, number)->unheard = true;
    receipt_done(client, number, ERROR_NONE);
}

/* True: the first message that this connection does not send again. It waits until the session says which connection its packet id is of:
 * after a crash, and connections that came to nothing, nobody else could tell. */
static bool announces(struct client *client, const struct mqtt_publish *publish, struct slice packet)
{
    struct mqtt *mqtt = client->mqtt;
    if (publish->qos == 0 || publish->duplicate || !mqtt_persistent(mqtt) || mqtt->publisher == mqtt->epoch) return false;
    mqtt->publisher = mqtt->epoch;
    mqtt->announcing = true;
    mqtt_put_back(client, packet);
    mqtt_wait(client);
    mqtt_save(client, true);
    return true;
}

void mqtt_announced(struct mqtt *mqtt) { mqtt->announcing = false; }

void mqtt_publish(struct client *client, const struct mqtt_publish *publish, struct slice packet)
{
    struct mqtt *mqtt = client->mqtt;
    struct slice topic = publish->topic;
    enum mqtt_reason reason = resolve_alias(mqtt, publish, &topic);
    if (reason != MQTT_SUCCESS) {
        mqtt_end_when_answered(client, reason);
        return;
    }
    if (topic.data[0] == '$') {
        publish_to_nobody(client, publish);
        return;
    }
    if (announces(client, publish, packet)) return;
    struct mqtt_sender *sender = sender_of(mqtt);
    struct mqtt_target target = target_of(sender, topic);
    if (!resolve(client, &target, packet)) return;
    if (publish->duplicate && receipt_pending(sender, publish->packet_id)) return; /* its acknowledgement is on the way */
    uint32_t wait_ms = 0;
    enum error error = ERROR_USER_NOT_FOUND;
    if (target.kind != MQTT_TARGET_NONE && target.id != client->session->inbox->entity.key.a) error = take_rate(client, &wait_ms);
    if (error == ERROR_RATE_LIMITED) {
        mqtt_put_back(client, packet); /* it is taken again */
        slow_down(client, wait_ms);
        return;
    }
    uint64_t number = publish->qos == 0 ? MQTT_NOBODY : receipt_add(sender, publish);
    if (error != ERROR_NONE) receipt_done(client, number, error);
    else carry_out(client, publish, &target, publish->qos, number);
}

/* ---- the will ----------------------------------------------------------------------------------------------------------------------- */

bool mqtt_ask_will(struct client *client)
{
    const struct mqtt_will_kept *will = client->mqtt->will;
    if (will == NULL || will->target.kind != MQTT_TARGET_NAME) return false;
    ask_user(client, slice_text(will->name));
    return true;
}

bool mqtt_will_told(struct client *client, const struct letter *letter)
{
    struct mqtt_will_kept *will = client->mqtt->will;
    will->target.kind = MQTT_TARGET_USER;
    return user_of(letter, &will->target.id);
}

/* The message of a connection's will: the 0th of those without a packet id. */
static struct slice will_id(char id[ID_SIZE], const struct mqtt *mqtt)
{
    char *at = put_digits(id, mqtt->epoch, EPOCH_DIGITS);
    *at++ = '~';
    at = put_digits(at, 0, 1);
    return slice_of(id, (size_t)(at - id));
}

static void post_will(struct client *by, const struct will_record *will, uint64_t number)
{
    struct writer payload;
    writer_init(&payload, 0);
    will_record_write(&payload, will);
    uint16_t home = id_partition(by->session->inbox->entity.key.a);
    struct letter *letter = mqtt_letter(by, home, MQTT_WILL, writer_slice(&payload));
    letter->kind = LETTER_MQTT;
    mqtt_ask(by, letter, number);
    writer_deinit(&payload);
}

/* A retained PUBLISH without a payload is no message, as a will neither: of a room it clears what is retained, of a person nothing. */
static void take_kept(struct client *client, struct will_record *will, const struct mqtt_will_kept *kept, struct writer *send)
{
    struct mqtt_packet packet;
    enum mqtt_reason reason = mqtt_decode(&packet, (enum mqtt_version)client->mqtt->version, writer_slice(&kept->packet));
    ASSERT(reason == MQTT_SUCCESS);
    const struct mqtt_publish *publish = &packet.as.publish;
    will->delay_s = kept->delay_s;
    if (publish->retain && publish->payload.len == 0) {
        if (kept->target.kind == MQTT_TARGET_ROOM) will->clears_room_id = kept->target.id;
        return;
    }
    char made[ID_SIZE];
    struct slice id = mqtt_property_user(&publish->properties, SLICE_TEXT("client_msg_id"));
    pack_send(client, send, publish, &kept->target, kept->qos, id.data != NULL ? id : will_id(made, client->mqtt));
    will->send = writer_slice(send);
}

void mqtt_open_will(struct client *client)
{
    struct mqtt *mqtt = client->mqtt;
    char id[MQTT_CLIENT_ID_MAX + 1];
    struct will_record will = {.state = WILL_OPENS,
                               .client_id = mqtt_client_id(client, id),
                               .epoch = mqtt->epoch,
                               .clean = mqtt->entry->clean_start,
                               .expiry_s = mqtt->expiry_s,
                               .device_id = slice_text(client->session->device_id)};
    struct writer send;
    writer_init(&send, 0);
    if (mqtt->will != NULL) take_kept(client, &will, mqtt->will, &send);
    mqtt->has_will = will.send.len > 0 || will.clears_room_id != 0;
    post_will(client, &will, MQTT_WILL_OPENED);
    writer_deinit(&send);
}

void mqtt_meet_will(struct client *client)
{
    struct mqtt *mqtt = client->mqtt;
    if (!mqtt->will_waits) return;
    mqtt->will_waits = false;
    char id[MQTT_CLIENT_ID_MAX + 1];
    struct will_record will = {.state = WILL_BACK, .client_id = mqtt_client_id(client, id), .epoch = mqtt->epoch};
    post_will(client, &will, MQTT_WILL_MET);
}

void mqtt_close_will(struct client *client, struct client *by)
{
    struct mqtt *mqtt = client->mqtt;
    if (!mqtt->has_will) return;
    mqtt->has_will = false;
    uint32_t wait_ms = 0;
    bool released = mqtt->begun && !mqtt->will_is_off;
    enum error error = released ? take_rate(client, &wait_ms) : ERROR_NONE;
    if (error != ERROR_NONE) mqtt_note_will(client, error_row(error)->reason);
    struct will_record will = {.state = released && error == ERROR_NONE ? WILL_RELEASED : WILL_DROPPED, .epoch = mqtt->epoch, .expiry_s = mqtt->expiry_s};
    post_will(by, &will, 0);
}
