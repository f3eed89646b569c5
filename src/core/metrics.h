/* core/metrics.h - counters, gauges and latency histograms, one set per worker, read by whoever renders /metrics.
 * Owns:    nothing global: each worker holds a `struct metrics`.
 * Thread:  written by its worker alone with relaxed stores; any thread may read (a value may be one turn old).
 * Depends: core/ only.            Start at: core/core.h
 * One row per metric: field, Prometheus name, kind, help. Names follow Prometheus: ringpost_<noun>_<unit>[_total]. */
#ifndef CORE_METRICS_H
#define CORE_METRICS_H

#include "core/cursor.h"
#include <stdatomic.h>
#include <stdint.h>

#define METRICS_LIST(X)                                                                                                \
    X(connections_open, "ringpost_connections_open", GAUGE, "Connections now open")                                    \
    X(connections_accepted, "ringpost_connections_accepted_total", COUNTER, "Connections accepted")                    \
    X(connections_refused, "ringpost_connections_refused_total", COUNTER, "Connections refused at a limit")            \
    X(connections_evicted, "ringpost_connections_evicted_total", COUNTER, "Connections closed because they held most when memory ran short") \
    X(connections_timed_out, "ringpost_connections_timed_out_total", COUNTER, "Connections closed by a time-out")      \
    X(connections_migrated, "ringpost_connections_migrated_total", COUNTER, "Connections moved to their home worker")  \
    X(tls_connections_open, "ringpost_tls_connections_open", GAUGE, "Connections now open with TLS")                   \
    X(tls_handshakes_full, "ringpost_tls_handshakes_full_total", COUNTER, "TLS handshakes with a signature")           \
    X(tls_handshakes_resumed, "ringpost_tls_handshakes_resumed_total", COUNTER, "TLS handshakes by a session ticket")  \
    X(tls_handshakes_failed, "ringpost_tls_handshakes_failed_total", COUNTER, "TLS handshakes that were not finished") \
    X(sessions_open, "ringpost_sessions_open", GAUGE, "Authenticated sessions now open")                               \
    X(received_bytes, "ringpost_received_bytes_total", COUNTER, "Bytes received from clients")                         \
    X(sent_bytes, "ringpost_sent_bytes_total", COUNTER, "Bytes sent to clients")                                       \
    X(sends, "ringpost_sends_total", COUNTER, "Send operations; divide sent frames by it for the coalescing")          \
    X(frames_sent, "ringpost_frames_sent_total", COUNTER, "Frames and responses queued to clients")                    \
    X(sessions_behind, "ringpost_sessions_behind_total", COUNTER, "Times a slow reader stopped getting pushes")        \
    X(sync_resets_old, "ringpost_sync_resets_old_total", COUNTER, "Syncs from entries that are not kept any more")     \
    X(sync_resets_other, "ringpost_sync_resets_other_total", COUNTER, "Syncs from before the server was restored")     \
    X(requests, "ringpost_requests_total", COUNTER, "Requests decoded")                                                \
    X(requests_refused, "ringpost_requests_refused_total", COUNTER, "Requests answered with an error")                 \
    X(requests_parked, "ringpost_requests_parked", GAUGE, "Requests waiting for the store, a stream or room")         \
    X(clients_held, "ringpost_clients_held", GAUGE, "Clients not read from until a shard has room for more")            \
    X(clients_held_ever, "ringpost_clients_held_total", COUNTER, "Times a client was not read from for that")          \
    X(rate_limited, "ringpost_rate_limited_total", COUNTER, "Requests refused by a rate limit")                        \
    X(commands_proposed, "ringpost_commands_proposed_total", COUNTER, "Commands joined to a log batch")                \
    X(commands_applied, "ringpost_commands_applied_total", COUNTER, "Commands applied after they were durable")        \
    X(messages_stored, "ringpost_messages_stored_total", COUNTER, "Messages given a seq in their room")                \
    X(repeat_window_s, "ringpost_repeat_window_seconds", GAUGE, "Sends of so long ago are known when they come again")      \
    X(repeats_per_sender, "ringpost_repeats_per_sender", GAUGE, "Last sends of each user that are known for repeat_window") \
    X(repeats_forgotten_early, "ringpost_repeats_forgotten_early_total", COUNTER, "Sends not kept that long: too many came") \
    X(pushes, "ringpost_pushes_total", COUNTER, "Events pushed to online sessions")                                    \
    X(log_commits, "ringpost_log_commits_total", COUNTER, "Log batches written and synced")                            \
    X(log_written_bytes, "ringpost_log_written_bytes_total", COUNTER, "Bytes written to commit logs, padding included") \
    X(log_refused_full, "ringpost_log_refused_full_total", COUNTER, "Writes refused because the disk is full")         \
    X(store_backlog_bytes, "ringpost_store_backlog_bytes", GAUGE, "Applied puts the storage thread has not written yet") \
    X(store_reads, "ringpost_store_reads_total", COUNTER, "Jobs read from the store")                                  \
    X(followers, "ringpost_followers", GAUGE, "Followers, counted in each shard where they are")                       \
    X(followers_lost, "ringpost_followers_lost", GAUGE, "Of them lost: they fell too far behind and have to be rebuilt") \
    X(follower_backlog, "ringpost_follower_backlog", GAUGE, "Entries the slowest follower has not acknowledged, in one shard") \
    X(shards_damaged, "ringpost_shards_damaged", GAUGE, "Shards whose store is damaged: they serve nothing until it is replaced") \
    X(entities_resident, "ringpost_entities_resident", GAUGE, "Entities in memory")                                    \
    X(entities_evicted, "ringpost_entities_evicted_total", COUNTER, "Entities dropped from memory at the limit")       \
    X(body_cache_hits, "ringpost_body_cache_hits_total", COUNTER, "Messages of other shards' rooms that a page found in body_cache") \
    X(body_cache_misses, "ringpost_body_cache_misses_total", COUNTER, "Messages of other shards' rooms that a page had to ask for") \
    X(letters_sent, "ringpost_letters_sent_total", COUNTER, "Messages sent to other shards")                           \
    X(letters_overflowed, "ringpost_letters_overflowed_total", COUNTER, "Letters to a worker that had mailbox_slots to take") \
    X(doorbells_rung, "ringpost_doorbells_rung_total", COUNTER, "Sleeping peers woken")                                \
    X(stream_redelivered, "ringpost_stream_redelivered_total", COUNTER, "Stream entries dropped as repeats")           \
    X(stream_gaps, "ringpost_stream_gaps_total", COUNTER, "Stream letters that came before what precedes them")        \
    X(stream_asked_again, "ringpost_stream_asked_again_total", COUNTER, "Times another shard was asked what it has, for nothing was heard of it") \
    X(calls_overdue, "ringpost_calls_overdue_total", COUNTER, "Questions to other shards that were not answered in time")   \
    X(answers_late, "ringpost_answers_late_total", COUNTER, "Answers of other shards that came late or again and were dropped") \
    X(requests_overdue, "ringpost_requests_overdue_total", COUNTER, "Requests that another shard did not answer in time")  \
    X(replies_unknown, "ringpost_replies_unknown_total", COUNTER, "Answers to requests that nobody waits for (any more), dropped") \
    X(letters_refused, "ringpost_letters_refused_total", COUNTER, "Letters of other shards that cannot be true and were dropped")  \
    X(clock_steps, "ringpost_clock_steps_total", COUNTER, "Steps of the wall clock that were not followed at once")   \
    X(clock_steps_adopted, "ringpost_clock_steps_adopted_total", COUNTER, "Steps of the wall clock that held and were followed") \
    X(log_time_set_back, "ringpost_log_time_set_back_total", COUNTER, "Times a log's newest time was ahead of the clock") \
    X(mqtt_slowed, "ringpost_mqtt_slowed_total", COUNTER, "Times an MQTT client was not read from until its rate allowed more") \
    X(mqtt_fell_out, "ringpost_mqtt_fell_out_total", COUNTER, "MQTT clients ended because what they missed is not kept any more") \
    X(timers_waiting, "ringpost_timers_waiting", GAUGE, "Durable timers whose time has not come")                       \
    X(timers_fired, "ringpost_timers_fired_total", COUNTER, "Durable timers that fired")                                \
    X(timers_late, "ringpost_timers_late_total", COUNTER, "Of them, those that fired more than a second after their time") \
    X(turns, "ringpost_turns_total", COUNTER, "Loop turns")

/* ringpost_mqtt_dropped_total{reason="…"}: messages that an MQTT client gave us or should have got, of which nobody is told otherwise. */
#define METRICS_MQTT_DROPPED_LIST(X)                                                                                   \
    X(mqtt_dropped_topic, "topic")                   /* from a client, QoS 0: nothing here has that topic */           \
    X(mqtt_dropped_forbidden, "forbidden")           /* likewise: it may not write there */                            \
    X(mqtt_dropped_payload, "payload")               /* likewise: too large, or not what it says it is */              \
    X(mqtt_dropped_busy, "busy")                     /* likewise: there was no room for it */                          \
    X(mqtt_dropped_reserved_topic, "reserved_topic") /* from a client: $…, acknowledged */                             \
    X(mqtt_dropped_will, "will")                     /* from a client: a will that could not be sent */                \
    X(mqtt_dropped_packet_size, "packet_size")       /* to a client: larger than it takes */                           \
    X(mqtt_dropped_behind, "behind")                 /* to a client, QoS 0: events that are not kept any more */       \
    X(mqtt_dropped_slow, "slow")                     /* to a client, QoS 0: it reads too slowly */                     \
    X(mqtt_dropped_expired, "expired")               /* to a client: its message expiry interval was over */

/* Memory by what it is for: ringpost_memory_bytes{part="…"}. A worker sets its own, once a second; what is of the process is added
 * when the text is made. `heap`: of which arenas it is (core/heap.h), so that what is left of them can be told. */
#define METRICS_MEMORY_LIST(X)                                                                                         \
    X(PAYLOADS, "payloads", WORKERS)               /* what waits to be sent */                                         \
    X(INPUT, "input", WORKERS)                     /* messages and requests that are not whole yet, TLS records */     \
    X(CONNECTIONS, "connections", WORKERS)         /* their slots and addresses */                                     \
    X(TLS, "tls", WORKERS)                         /* sessions: keys, state; their records are input */                \
    X(SESSIONS, "sessions", WORKERS)                                                                                   \
    X(RINGS, "rings", OTHERS)                      /* between workers, and to their storage threads */                 \
    X(BODY_CACHE, "body_cache", WORKERS)                                                                                 \
    X(REPEAT_WINDOW, "repeat_window", WORKERS)                                                                         \
    X(LOG_BATCHES, "log_batches", WORKERS)                                                                             \
    X(STORE_BATCHES, "store_batches", WORKERS)     /* on their way to RocksDB, and kept to be filled again */          \
    X(MEMTABLES, "memtables", OTHERS)                                                                                  \
    X(BLOCK_CACHE, "block_cache", OTHERS)          /* of all stores; told by worker 0 */                               \
    X(TABLE_READERS, "table_readers", OTHERS)                                                                          \
    X(RECEIVE_BUFFERS, "receive_buffers", NONE)

#define METRICS_MEMORY_AS_ENUM(NAME, part, heap) METRICS_MEMORY_##NAME,
enum metrics_memory { METRICS_MEMORY_LIST(METRICS_MEMORY_AS_ENUM) METRICS_MEMORY_COUNT };
#undef METRICS_MEMORY_AS_ENUM

#define METRICS_HISTOGRAM_LIST(X)                                                                                      \
    X(request_ns, "ringpost_request_seconds", "From a decoded request to its queued reply")                           \
    X(commit_ns, "ringpost_log_commit_seconds", "From submitting a log batch to its durability")                      \
    X(turn_ns, "ringpost_turn_seconds", "Busy part of one loop turn")                                                  \
    X(store_read_ns, "ringpost_store_read_seconds", "From asking the storage thread to its answer")

#define METRICS_HISTOGRAM_BUCKETS 128 /* log-linear: 4 per power of two, from 256 ns up to 2^40 ns */

struct metrics_histogram {
    _Atomic uint64_t buckets[METRICS_HISTOGRAM_BUCKETS];
    _Atomic uint64_t sum_ns, count;
};

struct metrics {
#define METRICS_FIELD(field, name, kind, help) _Atomic uint64_t field;
    METRICS_LIST(METRICS_FIELD)
#undef METRICS_FIELD
#define METRICS_FIELD(field, reason) _Atomic uint64_t field;
    METRICS_MQTT_DROPPED_LIST(METRICS_FIELD)
#undef METRICS_FIELD
#define METRICS_FIELD(field, name, help) struct metrics_histogram field;
    METRICS_HISTOGRAM_LIST(METRICS_FIELD)
#undef METRICS_FIELD
    _Atomic uint64_t memory[METRICS_MEMORY_COUNT];
    _Atomic uint64_t memory_untouched; /* of the worker's heap: asked for and not used yet, so it is not resident */
};

/* Only the owning worker adds, so a relaxed load and store is enough and costs no locked instruction. */
static inline void metrics_add(_Atomic uint64_t *value, uint64_t n)
{
    atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + n, memory_order_relaxed);
}
static inline void metrics_sub(_Atomic uint64_t *value, uint64_t n) { metrics_add(value, (uint64_t)0 - n); }
static inline void metrics_set(_Atomic uint64_t *value, uint64_t n)
{
    atomic_store_explicit(value, n, memory_order_relaxed);
}
void metrics_observe(struct metrics_histogram *histogram, uint64_t value_ns);
uint64_t metrics_quantile_ns(const struct metrics_histogram *histogram, double quantile);

/* Prometheus text format 0.0.4: every metric with a {worker="n"} label, then process gauges (resident bytes, open
 * descriptors, logger drops). `sets[i]` is worker i's; never NULL. */
void metrics_render(struct writer *out, struct metrics *const *sets, uint32_t set_count);

#endif
