/* shard/door/mqtt/subscribe.c - what a client listens to.
 * Happy path: the filters of a SUBSCRIBE are granted one after another; for a room it is asked whether it is a large one, and its
 * history, which at once says whether the client is a member and what the retained message is -> SUBACK, when the subscriptions of a
 * persistent session are durable. UNSUBACK likewise. Packets behind wait meanwhile.
 * Safe filters only: u/<me>, r/<room of mine>, r/+ (all rooms I am a member of). Others are refused one by one. */
#include "api/wire.h"
#include "shard/engine/memory.h"
#include "shard/door/mqtt/mqtt_internal.h"

#define FILTERS_MAX 64 /* of one packet: 0x97 */

enum history_field { HISTORY_MESSAGES = 1, HISTORY_HEAD_SEQ = 4 };

struct mqtt_subscribing { /* heap: a SUBSCRIBE or UNSUBSCRIBE under way */
    struct writer reasons;
    uint32_t next, count;
    uint16_t packet_id;
    uint8_t answer; /* MQTT_SUBACK or MQTT_UNSUBACK */
    bool saving;    /* granted; the answer waits until that is durable */
    bool large;     /* the room that is being asked about */
    bool failed;    /* some shard did not say what it is asked of that room */
    uint64_t unretained_seq; /* likewise: no message up to it is retained */
    struct wanted {
        struct mqtt_subscription subscription;
        uint8_t retain_handling, refusal;
    } wanted[]; /* count; none for UNSUBSCRIBE */
};

void mqtt_subscribing_destroy(struct mqtt_subscribing *subscribing)
{
    if (subscribing == NULL) return;
    writer_deinit(&subscribing->reasons);
    free(subscribing);
}

/* ---- the subscriptions ----------------------------------------------------------------------------------------------------- */

static struct mqtt_subscription *find(struct mqtt *mqtt, const struct mqtt_subscription *like)
{
    for (uint32_t i = 0; i < mqtt->subscription_count; i++)
        if (mqtt->subscriptions[i].kind == like->kind && mqtt->subscriptions[i].room_id == like->room_id)
            return &mqtt->subscriptions[i];
    return NULL;
}

/* A subscription that was there keeps what it had not delivered yet. */
static void put(struct mqtt *mqtt, const struct mqtt_subscription *subscription)
{
    struct mqtt_subscription *old = find(mqtt, subscription);
    uint64_t since_key = old == NULL ? subscription->since_key : old->since_key;
    if (old == NULL) {
        mqtt->subscriptions = memory_resize(mqtt->subscriptions, (mqtt->subscription_count + 1u) * sizeof *mqtt->subscriptions);
        old = &mqtt->subscriptions[mqtt->subscription_count++];
    }
    *old = *subscription;
    old->since_key = since_key;
}

void mqtt_write_subscriptions(const struct mqtt *mqtt, struct writer *out)
{
    for (uint32_t i = 0; i < mqtt->subscription_count; i++) {
        const struct mqtt_subscription *subscription = &mqtt->subscriptions[i];
        writer_u8(out, subscription->kind);
        writer_u8(out, (uint8_t)(subscription->qos | (subscription->no_local ? 4 : 0)));
        writer_u64(out, subscription->room_id);
        writer_u64(out, subscription->since_key);
        writer_u32(out, subscription->identifier);
    }
}

void mqtt_read_subscriptions(struct mqtt *mqtt, struct slice list)
{
    struct cursor c = cursor_of(list);
    while (cursor_left(&c) > 0 && !c.bad) {
        struct mqtt_subscription subscription = {.kind = cursor_u8(&c)};
        uint8_t options = cursor_u8(&c);
        subscription.qos = options & 3;
        subscription.no_local = (options & 4) != 0;
        subscription.room_id = cursor_u64(&c);
        subscription.since_key = cursor_u64(&c);
        subscription.identifier = cursor_u32(&c);
        if (!c.bad) put(mqtt, &subscription);
    }
}

/* ---- matching ----------------------------------------------------------------------------------------------------------------- */

static bool listens(const struct client *client, const struct mqtt_subscription *subscription, const struct mqtt_message *message,
                    bool direct, uint64_t sync_key)
{
    if (sync_key <= subscription->since_key) return false;
    bool mine = subscription->kind == MQTT_MY_ID || subscription->kind == MQTT_MY_NAME;
    if (direct != mine) return false;
    if (subscription->kind == MQTT_ROOM && subscription->room_id != message->room_id) return false;
    return !subscription->no_local || !mqtt_is_own(client, message);
}

bool mqtt_match(const struct client *client, const struct mqtt_message *message, bool direct, uint64_t sync_key,
                struct mqtt_match *match)
{
    const struct mqtt *mqtt = client->mqtt;
    *match = (struct mqtt_match){0};
    if (direct && message->sender_id == client->session->inbox->entity.key.a) return false; /* it went to the other one */
    for (uint32_t i = 0; i < mqtt->subscription_count; i++) {
        const struct mqtt_subscription *subscription = &mqtt->subscriptions[i];
        if (!listens(client, subscription, message, direct, sync_key)) continue;
        if (match->kind == 0 || subscription->qos > match->qos) {
            match->kind = subscription->kind;
            match->qos = subscription->qos;
        }
        if (subscription->identifier == 0) continue;
        ASSERT(match->identifier_count < COUNT_OF(match->identifiers)); /* u/<name> and u/<id>, or r/<room> and r/+ */
        match->identifiers[match->identifier_count++] = subscription->identifier;
    }
    return match->kind != 0;
}

uint8_t mqtt_delivered_qos(const struct mqtt_message *message, uint8_t granted)
{
    if (message->published_qos == RINGPOST__V1__PUBLISHED_QOS__NOT_SAID) return granted;
    uint8_t published = (uint8_t)(message->published_qos - RINGPOST__V1__PUBLISHED_QOS__AT_MOST_ONCE);
    return granted < published ? granted : published;
}

bool mqtt_follows(const struct mqtt *mqtt, uint64_t room_id)
{
    for (uint32_t i = 0; i < mqtt->subscription_count; i++) {
        const struct mqtt_subscription *subscription = &mqtt->subscriptions[i];
        bool it = subscription->kind == MQTT_ALL_ROOMS || (subscription->kind == MQTT_ROOM && subscription->room_id == room_id);
        if (it && subscription->qos > 0) return true;
    }
    return false;
}

/* ---- filters ------------------------------------------------------------------------------------------------------------------ */

/* What a filter means to this client, or in the result why it may not have it. */
static enum mqtt_reason understand(const struct client *client, const struct mqtt_filter *filter,
                                   struct mqtt_subscription *subscription)
{
    const struct inbox *inbox = client->session->inbox;
    *subscription = (struct mqtt_subscription){.qos = filter->qos, .no_local = filter->no_local || client->mqtt->bridge, .since_key = inbox->head};
    if (slice_equal(filter->text, SLICE_TEXT("r/+"))) {
        subscription->kind = MQTT_ALL_ROOMS;
        return MQTT_SUCCESS;
    }
    if (filter->text.len >= 7 && memcmp(filter->text.data, "$share/", 7) == 0) return MQTT_NO_SHARED;
    struct mqtt_target target = mqtt_target_of(filter->text);
    switch (target.kind) {
    case MQTT_TARGET_NONE: return MQTT_BAD_FILTER;
    case MQTT_TARGET_USER:
        subscription->kind = MQTT_MY_ID;
        return target.id == inbox->entity.key.a ? MQTT_SUCCESS : MQTT_NOT_AUTHORIZED;
    case MQTT_TARGET_NAME:
        subscription->kind = MQTT_MY_NAME;
        return slice_equal(target.name, slice_text(inbox->name)) ? MQTT_SUCCESS : MQTT_NOT_AUTHORIZED;
    case MQTT_TARGET_ROOM: break;
    }
    subscription->kind = MQTT_ROOM;
    subscription->room_id = target.id;
    bool possible = id_partition(target.id) < client->door->options.shard_count;
    return possible ? MQTT_SUCCESS : MQTT_NOT_AUTHORIZED;
}

static uint8_t reason_code(const struct mqtt *mqtt, enum mqtt_reason reason)
{
    return mqtt->version == MQTT_5 ? (uint8_t)reason : MQTT_UNSPECIFIED;
}

/* ---- SUBSCRIBE ------------------------------------------------------------------------------------------------------------------ */

static void ask_history(struct client *client, uint64_t room_id)
{
    struct writer history;
    writer_init(&history, 0);
    wire_write_u64(&history, 1, room_id);
    wire_write_u64(&history, 4, 1); /* limit */
    mqtt_ask(client, mqtt_letter(client, id_partition(room_id), RINGPOST__V1__REQUEST__METHOD_HISTORY, writer_slice(&history)), 0);
    writer_deinit(&history);
}

static void grant(struct mqtt *mqtt, const struct wanted *wanted, enum mqtt_reason refusal)
{
    bool full = mqtt->subscription_count >= MQTT_SUBSCRIPTIONS_MAX && find(mqtt, &wanted->subscription) == NULL;
    if (refusal == MQTT_SUCCESS && full) refusal = MQTT_QUOTA_EXCEEDED;
    struct writer *reasons = &mqtt->subscribing->reasons;
    if (refusal != MQTT_SUCCESS) {
        writer_u8(reasons, reason_code(mqtt, refusal));
    } else {
        put(mqtt, &wanted->subscription);
        writer_u8(reasons, wanted->subscription.qos);
    }
    mqtt->subscribing->next++;
}

static void acknowledge(struct client *client)
{
    struct mqtt *mqtt = client->mqtt;
    struct mqtt_subscribing *subscribing = mqtt->subscribing;
    mqtt_encode_suback(&client->door->mqtt->out, (enum mqtt_version)mqtt->version, (enum mqtt_type)subscribing->answer,
                       subscribing->packet_id, writer_slice(&subscribing->reasons));
    mqtt->subscribing = NULL;
    mqtt_subscribing_destroy(subscribing);
    mqtt_send(client);
}

void mqtt_subscribe_saved(struct client *client)
{
    const struct mqtt_subscribing *subscribing = client->mqtt->subscribing;
    if (subscribing != NULL && subscribing->saving) acknowledge(client);
}

/* Everything is said: SUBACK or UNSUBACK, as soon as it will still hold after a crash. */
static void answer_durably(struct client *client)
{
    struct mqtt *mqtt = client->mqtt;
    mqtt->subscribing->saving = mqtt_persistent(mqtt);
    if (mqtt->subscribing->saving) mqtt_save(client, true);
    else acknowledge(client);
}

/* Grants until a room must be asked about; at the end SUBACK. */
static void subscribe_step(struct client *client)
{
    struct mqtt *mqtt = client->mqtt;
    struct mqtt_subscribing *subscribing = mqtt->subscribing;
    while (subscribing->next < subscribing->count) {
        const struct wanted *wanted = &subscribing->wanted[subscribing->next];
        if (wanted->refusal == MQTT_SUCCESS && wanted->subscription.kind == MQTT_ROOM) {
            mqtt_ask_room(client, MQTT_ASK_ROOM, wanted->subscription.room_id, 1);
            return;
        }
        grant(mqtt, wanted, (enum mqtt_reason)wanted->refusal);
    }
    answer_durably(client);
}

void mqtt_subscribe_told(struct client *client, const struct letter *letter)
{
    struct mqtt_subscribing *subscribing = client->mqtt->subscribing;
    struct cursor c = cursor_of(letter_payload(letter)); /* of a refusal: nothing is large then */
    (void)cursor_u64(&c);
    (void)cursor_u8(&c);
    subscribing->large = letter->error == ERROR_NONE && cursor_u8(&c) != 0;
    subscribing->failed = mqtt_is_passing((enum error)letter->error);
    mqtt_ask_room(client, MQTT_ASK_RETAINED, subscribing->wanted[subscribing->next].subscription.room_id, 1);
}

void mqtt_subscribe_retained(struct client *client, const struct letter *letter)
{
    struct mqtt_subscribing *subscribing = client->mqtt->subscribing;
    struct cursor c = cursor_of(letter_payload(letter)); /* of a refusal: the history will be refused as well */
    subscribing->unretained_seq = letter->error == ERROR_NONE ? cursor_u64(&c) : UINT64_MAX;
    subscribing->failed |= mqtt_is_passing((enum error)letter->error);
    ask_history(client, subscribing->wanted[subscribing->next].subscription.room_id);
}

static struct mqtt_subscribing *subscribing_begin(struct mqtt *mqtt, const struct mqtt_subscribe *subscribe, enum mqtt_type answer)
{
    size_t filters = answer == MQTT_SUBACK ? subscribe->filter_count : 0;
    struct mqtt_subscribing *subscribing = memory_alloc(sizeof *subscribing + filters * sizeof(struct wanted));
    writer_init(&subscribing->reasons, 0);
    subscribing->packet_id = subscribe->packet_id;
    subscribing->answer = (uint8_t)answer;
    mqtt->subscribing = subscribing;
    return subscribing;
}

void mqtt_subscribe(struct client *client, struct mqtt_subscribe *subscribe)
{
    struct mqtt *mqtt = client->mqtt;
    if (subscribe->filter_count > FILTERS_MAX) { /* more than anybody needs at once */
        mqtt_end_when_answered(client, MQTT_QUOTA_EXCEEDED);
        return;
    }
    uint32_t identifier = mqtt_property_number(&subscribe->properties, MQTT_SUBSCRIPTION_ID, 0);
    struct mqtt_subscribing *subscribing = subscribing_begin(mqtt, subscribe, MQTT_SUBACK);
    struct mqtt_filter filter;
    while (mqtt_filter_next(subscribe, MQTT_SUBSCRIBE, (enum mqtt_version)mqtt->version, &filter)) {
        struct wanted *wanted = &subscribing->wanted[subscribing->count++];
        wanted->refusal = (uint8_t)understand(client, &filter, &wanted->subscription);
        wanted->subscription.identifier = identifier;
        wanted->retain_handling = filter.retain_handling;
    }
    subscribe_step(client);
    if (mqtt->subscribing != NULL) mqtt_wait(client);
}

/* The room's last message with the retain flag, QoS 0. When that has expired nothing is retained: what it took the place of does not
 * come back. */
static void send_retained(struct client *client, const struct wanted *wanted, uint64_t unretained_seq, struct slice packed)
{
    struct mqtt_form form = {0};
    struct session_form shared = {0};
    struct mqtt_delivery delivery = {.retain = true, .match = {.kind = MQTT_ROOM}};
    if (wanted->subscription.identifier != 0) {
        delivery.match.identifier_count = 1;
        delivery.match.identifiers[0] = wanted->subscription.identifier;
    }
    mqtt_form_read_message(&form, packed);
    if (form.kind == MQTT_FORM_MESSAGE && form.message.seq > unretained_seq && !mqtt_expired(client, &form.message))
        (void)mqtt_send_message(client, &form, &shared, &delivery);
    session_form_done(&shared);
}

void mqtt_subscribe_answer(struct client *client, const struct letter *letter)
{
    struct mqtt *mqtt = client->mqtt;
    struct mqtt_subscribing *subscribing = mqtt->subscribing;
    const struct wanted *wanted = &subscribing->wanted[subscribing->next];
    bool fresh = find(mqtt, &wanted->subscription) == NULL;
    enum mqtt_reason refusal = letter->error == ERROR_NONE ? MQTT_SUCCESS : MQTT_NOT_AUTHORIZED;
    if (subscribing->failed || mqtt_is_passing((enum error)letter->error)) refusal = MQTT_UNSPECIFIED;
    bool retained = refusal == MQTT_SUCCESS && (wanted->retain_handling == 0 || (wanted->retain_handling == 1 && fresh));
    uint64_t head_seq = 0;
    if (refusal == MQTT_SUCCESS && envelope_peek_u64(letter_payload(letter), HISTORY_HEAD_SEQ, &head_seq) != RESULT_OK) {
        mqtt_end_unreadable(client, letter);
        return;
    }
    uint64_t room_id = wanted->subscription.room_id;
    bool enters = refusal == MQTT_SUCCESS && subscribing->large && wanted->subscription.qos > 0 && !mqtt_follows(mqtt, room_id);
    if (enters) mqtt_room_enter(mqtt, room_id, head_seq);
    uint64_t unretained_seq = subscribing->unretained_seq;
    grant(mqtt, wanted, refusal);
    struct slice packed = SLICE_EMPTY;
    if (retained && envelope_peek_bytes(letter_payload(letter), HISTORY_MESSAGES, &packed) == RESULT_OK && packed.len > 0)
        send_retained(client, wanted, unretained_seq, packed);
    if (mqtt->phase == MQTT_SERVING) subscribe_step(client);
}

/* ---- UNSUBSCRIBE -------------------------------------------------------------------------------------------------------------- */

static bool take_out(struct mqtt *mqtt, const struct mqtt_subscription *like)
{
    struct mqtt_subscription *subscription = find(mqtt, like);
    if (subscription == NULL) return false;
    *subscription = mqtt->subscriptions[--mqtt->subscription_count];
    return true;
}

void mqtt_unsubscribe(struct client *client, struct mqtt_subscribe *unsubscribe)
{
    struct mqtt *mqtt = client->mqtt;
    struct mqtt_subscribing *subscribing = subscribing_begin(mqtt, unsubscribe, MQTT_UNSUBACK);
    struct mqtt_filter filter;
    struct mqtt_subscription like;
    while (mqtt_filter_next(unsubscribe, MQTT_UNSUBSCRIBE, (enum mqtt_version)mqtt->version, &filter)) {
        bool known = understand(client, &filter, &like) == MQTT_SUCCESS && take_out(mqtt, &like);
        writer_u8(&subscribing->reasons, known ? MQTT_SUCCESS : MQTT_NO_SUBSCRIPTION);
    }
    answer_durably(client);
    if (mqtt->subscribing != NULL) mqtt_wait(client);
}
