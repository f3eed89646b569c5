/* layers: mqtt api core */
/* tests/fuzz/mqtt_fuzz.c - MQTT packets: nothing is read past the end; what has an encoder comes back as the same bytes. */
#include "core/check.h"
#include "mqtt/mqtt.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_up_everything(const struct mqtt_properties *properties)
{
    for (unsigned id = MQTT_PAYLOAD_FORMAT; id <= MQTT_SHARED_AVAILABLE; id++) {
        (void)mqtt_property_number(properties, (enum mqtt_property)id, 0);
        (void)mqtt_property_bytes(properties, (enum mqtt_property)id);
    }
    (void)mqtt_property_user(properties, SLICE_TEXT("client_msg_id"));
}

static void publish_again(const struct mqtt_publish *publish, enum mqtt_version version, struct slice bytes)
{
    struct writer out;
    writer_init(&out, 0);
    mqtt_encode_publish(&out, version, publish, publish->payload.len);
    ASSERT(slice_equal(writer_slice(&out), bytes));
    writer_deinit(&out);
}

/* The shortest form is not the only one: what is encoded decodes to the same. */
static void ack_again(enum mqtt_type type, const struct mqtt_ack *ack, enum mqtt_version version)
{
    struct writer out;
    struct mqtt_packet again;
    writer_init(&out, 0);
    mqtt_encode_ack(&out, version, type, ack->packet_id, (enum mqtt_reason)ack->reason, ack->properties.block);
    ASSERT(mqtt_decode(&again, version, writer_slice(&out)) == MQTT_SUCCESS && again.type == type);
    ASSERT(again.as.ack.packet_id == ack->packet_id && again.as.ack.reason == ack->reason);
    ASSERT(slice_equal(again.as.ack.properties.block, ack->properties.block));
    writer_deinit(&out);
}

static void walk_filters(struct mqtt_subscribe *subscribe, enum mqtt_type type, enum mqtt_version version)
{
    struct mqtt_filter filter;
    uint32_t count = 0;
    while (mqtt_filter_next(subscribe, type, version, &filter)) count++;
    ASSERT(count == subscribe->filter_count && count > 0);
}

/* The first byte chooses the version; the rest is a heap block of its own, so that a byte too far is found. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    enum mqtt_version version = (data[0] & 1) != 0 ? MQTT_5 : MQTT_3_1_1;
    uint8_t *copy = malloc(size);
    ASSERT(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    struct slice bytes = slice_of(copy, size - 1);
    struct mqtt_packet packet;
    if (mqtt_decode(&packet, version, bytes) == MQTT_SUCCESS) {
        if (packet.type == MQTT_CONNECT) look_up_everything(&packet.as.connect.properties);
        if (packet.type == MQTT_PUBLISH) look_up_everything(&packet.as.publish.properties);
        if (packet.type == MQTT_PUBLISH) publish_again(&packet.as.publish, version, bytes);
        if (packet.type >= MQTT_PUBACK && packet.type <= MQTT_PUBCOMP) ack_again(packet.type, &packet.as.ack, version);
        if (packet.type == MQTT_SUBSCRIBE || packet.type == MQTT_UNSUBSCRIBE) walk_filters(&packet.as.subscribe, packet.type, version);
    }
    free(copy);
    return 0;
}
