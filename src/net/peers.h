/* net/peers.h - how many connections each address has, and what they hold, on one worker.
 * Owns:    a hash table that grows with the number of addresses and is bounded by connections_max.
 * Thread:  the worker.            Depends: core/ only.           Start at: net/net.h
 * An IPv6 host owns at least a /64, so those 64 bits are its address here. */
#ifndef NET_PEERS_H
#define NET_PEERS_H

#include "core/result.h"
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct peers_entry {
    uint64_t key;
    uint32_t count; /* 0: a free place */
    uint32_t held;  /* units of memory that they hold together; conn_memory.c */
};

struct peers {
    struct peers_entry *entries;
    uint32_t capacity, used; /* capacity: a power of two, at least twice used */
    uint64_t seed;           /* so that nobody can choose addresses that collide */
};

NODISCARD enum result peers_init(struct peers *peers);
void peers_deinit(struct peers *peers);
/* IPv4 addresses are given mapped (::ffff:a.b.c.d). */
uint64_t peers_key(const struct in6_addr *address);
/* Counts one more. BUSY: it has `limit` already (0: no limit), not counted; NOMEM: not counted. */
NODISCARD enum result peers_add(struct peers *peers, uint64_t key, uint32_t limit);
/* Counts one less; it must have been counted. */
void peers_remove(struct peers *peers, uint64_t key);
/* Adds to what a counted address holds; returns the sum. */
uint32_t peers_hold(struct peers *peers, uint64_t key, int32_t units);
uint32_t peers_count(const struct peers *peers, uint64_t key);

#endif
