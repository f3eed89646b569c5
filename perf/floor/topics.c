/* perf/floor/topics.c - see the header. */
#include "perf/floor/floor.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define SLOTS_MIN 1024u

static void *zeroed(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL) floor_die("out of memory");
    return memory;
}

void topics_init(struct topics *topics)
{
    *topics = (struct topics){.slots = zeroed(SLOTS_MIN, sizeof(struct topic *)), .slot_count = SLOTS_MIN};
}

/* The slot of that name, or the free one where it belongs. */
static struct topic **slot_of(const struct topics *topics, uint64_t hash, const void *name, size_t name_len)
{
    for (size_t i = (size_t)hash;; i++) {
        struct topic **slot = &topics->slots[i & (topics->slot_count - 1)];
        const struct topic *topic = *slot;
        if (topic == NULL) return slot;
        if (topic->hash == hash && topic->name_len == name_len && memcmp(topic->name, name, name_len) == 0) return slot;
    }
}

static void topics_grow(struct topics *topics)
{
    struct topics larger = {zeroed(topics->slot_count * 2, sizeof(struct topic *)), topics->slot_count * 2, topics->used_count};
    for (size_t i = 0; i < topics->slot_count; i++) {
        struct topic *topic = topics->slots[i];
        if (topic != NULL) *slot_of(&larger, topic->hash, topic->name, topic->name_len) = topic;
    }
    free(topics->slots);
    *topics = larger;
}

struct topic *topics_find(const struct topics *topics, const void *name, size_t name_len)
{
    return *slot_of(topics, XXH3_64bits(name, name_len), name, name_len);
}

struct topic *topics_find_or_add(struct topics *topics, const void *name, size_t name_len)
{
    if (topics->used_count * 2 >= topics->slot_count) topics_grow(topics);
    uint64_t hash = XXH3_64bits(name, name_len);
    struct topic **slot = slot_of(topics, hash, name, name_len);
    if (*slot == NULL) {
        *slot = zeroed(1, sizeof **slot + name_len);
        (*slot)->hash = hash;
        (*slot)->name_len = (uint16_t)name_len;
        memcpy((*slot)->name, name, name_len);
        topics->used_count++;
    }
    return *slot;
}

static struct subscriber *subscriber_of(const struct topic *topic, const struct connection *connection)
{
    for (uint32_t i = 0; i < topic->subscriber_count; i++)
        if (topic->subscribers[i].connection == connection) return &topic->subscribers[i];
    return NULL;
}

int topic_subscribe(struct topic *topic, struct connection *connection, uint8_t qos)
{
    struct subscriber *known = subscriber_of(topic, connection);
    if (known != NULL) {
        known->qos = qos;
        return 0;
    }
    if (topic->subscriber_count == topic->subscriber_capacity) {
        topic->subscriber_capacity = topic->subscriber_capacity == 0 ? 1 : topic->subscriber_capacity * 2;
        topic->subscribers = realloc(topic->subscribers, topic->subscriber_capacity * sizeof *topic->subscribers);
        if (topic->subscribers == NULL) floor_die("out of memory");
    }
    topic->subscribers[topic->subscriber_count++] = (struct subscriber){connection, qos};
    return 1;
}

void topic_unsubscribe(struct topic *topic, const struct connection *connection)
{
    struct subscriber *leaving = subscriber_of(topic, connection);
    if (leaving != NULL) *leaving = topic->subscribers[--topic->subscriber_count];
}
