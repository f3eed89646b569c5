/* mqtt/mqtt.h - MQTT 3.1.1 and 5 as bytes: packets and their properties, nothing of connections, sessions or messages.
 * Reading order: properties.h packet.h
 * Threads: any. Includes core/ and api/utf8.h only; the frames on a socket are net/mqttframe.h, the meaning is shard/mqtt/. */
#ifndef MQTT_MQTT_H
#define MQTT_MQTT_H

#include "mqtt/packet.h"
#include "mqtt/properties.h"

#endif
