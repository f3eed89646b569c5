/* shard/mqtt/subscribe.c - what a client listens to.
 * Happy path: the filters of a SUBSCRIBE are granted one after another; for a room its history is asked for, which at once says
 * whether the client is a member and what the retained message is -> SUBACK. Packets behind it wait meanwhile.
 * Safe filters only: u/<me>, r/<room of mine>, r/+ (all rooms I am a member of). Others are refused one by one. */
#include "api/wire.h"
#include "shard/memory.h"
#include "shard/mqtt/mqtt_internal.h"
#include <stdio.h>

#define FILTERS_MAX 64 /* of one packet; the rest is refused: 0x97 */

struct mqtt_subscribing { /* heap: a SUBSCRIBE under way */
    struct writer reasons;
    uint32_t next, count;
    uint16_t packet_id;
    bool saving; /* granted; SUBACK waits until that is durable */
    struct wanted {
        struct mqtt_subscription subscription;
        uint8_t retain_handling, refusal;
    } wanted[FILTERS_MAX];
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
        mqtt->subscriptions = memory_resize(mqtt->subscriptions, (mqtt->subscription_count + 1) * sizeof *mqtt->subscriptions);
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
        if (!c.bad) put(mqtt, &subscription);
    }
}

/* ---- filters ------------------------------------------------------------------------------------------------------------------ */

/* What a filter means to this client, or in the result why it may not have it. */
static enum mqtt_reason understand(const struct client *client, const struct mqtt_filter *filter,
                                   struct mqtt_subscription *subscription)
{
    const struct inbox *inbox = client->session->inbox;
    *subscription = (struct mqtt_subscription){.qos = filter->qos, .no_local = filter->no_local, .since_key = inbox->head};
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
    mqtt_encode_suback(&client->door->mqtt_out, (enum mqtt_version)mqtt->version, MQTT_SUBACK, subscribing->packet_id,
                       writer_slice(&subscribing->reasons));
    mqtt->subscribing = NULL;
    mqtt_subscribing_destroy(subscribing);
    mqtt_send(client);
}

void mqtt_subscribe_saved(struct client *client)
{
    const struct mqtt_subscribing *subscribing = client->mqtt->subscribing;
    if (subscribing != NULL && subscribing->saving) acknowledge(client);
}

/* Grants until a room must be asked about; at the end SUBACK. */
static void subscribe_step(struct client *client)
{
    struct mqtt *mqtt = client->mqtt;
    struct mqtt_subscribing *subscribing = mqtt->subscribing;
    while (subscribing->next < subscribing->count) {
        const struct wanted *wanted = &subscribing->wanted[subscribing->next];
        if (wanted->refusal == MQTT_SUCCESS && wanted->subscription.kind == MQTT_ROOM) {
            ask_history(client, wanted->subscription.room_id);
            return;
        }
        grant(mqtt, wanted, (enum mqtt_reason)wanted->refusal);
    }
    subscribing->saving = mqtt_persistent(mqtt);
    if (subscribing->saving) mqtt_save(client, true);
    else acknowledge(client);
}

void mqtt_subscribe(struct client *client, struct mqtt_subscribe *subscribe)
{
    struct mqtt *mqtt = client->mqtt;
    if (mqtt_property_number(&subscribe->properties, MQTT_SUBSCRIPTION_ID, 0) != 0) {
        mqtt_end(client, MQTT_NO_SUBSCRIPTION_IDS);
        return;
    }
    struct mqtt_subscribing *subscribing = memory_alloc(sizeof *subscribing);
    writer_init(&subscribing->reasons, 0);
    subscribing->packet_id = subscribe->packet_id;
    mqtt->subscribing = subscribing;
    struct mqtt_filter filter;
    uint32_t refused = 0;
    while (mqtt_filter_next(subscribe, MQTT_SUBSCRIBE, (enum mqtt_version)mqtt->version, &filter)) {
        if (subscribing->count == FILTERS_MAX) {
            refused++;
            continue;
        }
        struct wanted *wanted = &subscribing->wanted[subscribing->count++];
        wanted->refusal = (uint8_t)understand(client, &filter, &wanted->subscription);
        wanted->retain_handling = filter.retain_handling;
    }
    if (refused > 0) { /* more than anybody needs at once */
        mqtt->subscribing = NULL;
        mqtt_subscribing_destroy(subscribing);
        mqtt_end(client, MQTT_QUOTA_EXCEEDED);
        return;
    }
    subscribe_step(client);
    if (mqtt->subscribing != NULL) mqtt_wait(client);
}

void mqtt_subscribe_answer(struct client *client, const struct letter *letter)
{
    struct mqtt *mqtt = client->mqtt;
    struct mqtt_subscribing *subscribing = mqtt->subscribing;
    const struct wanted *wanted = &subscribing->wanted[subscribing->next];
    bool fresh = find(mqtt, &wanted->subscription) == NULL;
    enum mqtt_reason refusal = letter->error == ERROR_NONE ? MQTT_SUCCESS : MQTT_NOT_AUTHORIZED;
    if (letter->error == ERROR_SERVER_BUSY || letter->error == ERROR_INTERNAL) refusal = MQTT_UNSPECIFIED;
    bool retained = refusal == MQTT_SUCCESS && (wanted->retain_handling == 0 || (wanted->retain_handling == 1 && fresh));
    grant(mqtt, wanted, refusal);
    struct slice packed = SLICE_EMPTY;
    struct mqtt_message message;
    if (retained && envelope_peek_bytes(letter_payload(letter), 1, &packed) == RESULT_OK && packed.len > 0 &&
        mqtt_message_read(&message, packed))
        mqtt_send_retained(client, &message);
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
    struct writer reasons;
    writer_init(&reasons, 0);
    struct mqtt_filter filter;
    struct mqtt_subscription like;
    while (mqtt_filter_next(unsubscribe, MQTT_UNSUBSCRIBE, (enum mqtt_version)mqtt->version, &filter)) {
        bool known = understand(client, &filter, &like) == MQTT_SUCCESS && take_out(mqtt, &like);
        writer_u8(&reasons, known ? MQTT_SUCCESS : MQTT_NO_SUBSCRIPTION);
    }
    mqtt_encode_suback(&client->door->mqtt_out, (enum mqtt_version)mqtt->version, MQTT_UNSUBACK, unsubscribe->packet_id,
                       writer_slice(&reasons));
    writer_deinit(&reasons);
    mqtt_send(client);
    if (mqtt->phase == MQTT_SERVING && mqtt_persistent(mqtt)) mqtt_save(client, true);
}
