/* perf/floor/topics.h - topics by name, each with its subscribers. Open addressing; a topic stays when its last subscriber leaves. */
#ifndef FLOOR_TOPICS_H
#define FLOOR_TOPICS_H

#include <stddef.h>
#include <stdint.h>

struct connection;

struct subscriber {
    struct connection *connection;
    uint8_t qos;
};

struct topic {
    struct subscriber *subscribers;
    uint32_t subscriber_count, subscriber_capacity;
    uint64_t hash;
    uint16_t name_len;
    char name[];
};

struct topics {
    struct topic **slots; /* NULL: free */
    size_t slot_count, used_count;
};

void topics_init(struct topics *topics);
/* NULL: nobody ever subscribed to it. */
struct topic *topics_find(const struct topics *topics, const void *name, size_t name_len);
struct topic *topics_find_or_add(struct topics *topics, const void *name, size_t name_len);
/* A second subscription of the same connection replaces its QoS; returns whether it is a new one. */
int topic_subscribe(struct topic *topic, struct connection *connection, uint8_t qos);
void topic_unsubscribe(struct topic *topic, const struct connection *connection);

#endif
