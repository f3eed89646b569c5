/* shard/settings.c - option by option; nothing is decided here but whether they fit each other. */
#include "shard/settings.h"
#include "shard/bounds.h"
#include <inttypes.h>
#include <stdio.h>

struct server_options settings_server(const struct config *c, uint32_t connections_max, struct tls_identity *tls)
{
    return (struct server_options){.connections_max = connections_max,
                                   .connections_per_ip_max = c->connections_per_ip_max,
                                   .frame_size_max = c->frame_size_max_bytes,
                                   .http_head_size_max = c->http_head_size_max_bytes,
                                   .http_body_size_max = c->http_body_size_max_bytes,
                                   .outbound_soft_bytes = c->outbound_soft_bytes,
                                   .outbound_hard_bytes = c->outbound_hard_bytes,
                                   .header_timeout_ms = c->header_timeout_ms,
                                   .authenticate_timeout_ms = c->authenticate_timeout_ms,
                                   .keep_alive_timeout_ms = c->keep_alive_timeout_ms,
                                   .keep_alive_requests_max = c->keep_alive_requests_max,
                                   .heartbeat_interval_ms = c->heartbeat_interval_ms,
                                   .heartbeat_timeout_ms = c->heartbeat_timeout_ms,
                                   .write_timeout_ms = c->write_timeout_ms,
                                   .accepts_per_turn_max = c->accepts_per_turn_max,
                                   .tls = tls,
                                   .tls_required = c->tls_required,
                                   .tls_handshakes_per_turn_max = c->tls_handshakes_per_turn_max};
}

struct machine_options settings_machine(const struct config *c, uint16_t shard, uint16_t shard_count)
{
    return (struct machine_options){.shard = shard,
                                    .shard_count = shard_count,
                                    .room_members_max = c->room_members_max,
                                    .fanout_threshold = c->fanout_threshold,
                                    .inbox_events_max = c->inbox_events_max,
                                    .devices_per_user_max = c->devices_per_user_max,
                                    .dedup_entries = c->dedup_entries,
                                    .entities_max = c->entities_max,
                                    .outbox_entries_max = c->outbox_entries_max};
}

struct shard_limits settings_shard(const struct config *c)
{
    return (struct shard_limits){.requests_parked_max = c->requests_parked_max,
                                 .store_backlog_max_bytes = c->store_backlog_max_bytes,
                                 .body_size_max_bytes = c->body_size_max_bytes,
                                 .rooms_per_user_max = c->rooms_per_user_max,
                                 .sessions_per_user_max = c->devices_per_user_max,
                                 .messages_per_second = c->rate_messages_per_second,
                                 .messages_burst = c->rate_messages_burst,
                                 .requests_per_second = c->rate_requests_per_second,
                                 .requests_burst = c->rate_requests_burst,
                                 .access_token_ttl_s = c->access_token_ttl_ms / 1000,
                                 .refresh_token_ttl_s = (uint32_t)(c->refresh_token_ttl_ms / 1000),
                                 .token_leeway_s = c->token_leeway_ms / 1000,
                                 .clock_skew_max_ms = c->clock_skew_max_ms};
}

/* A message is acknowledged when the command that sends it is durable, and delivered by one that is larger (bounds.h). */
static enum result check_log(const struct config *c, char *text, size_t text_size)
{
    uint32_t room = commitlog_body_size_max(c->segment_size_bytes, COMMITLOG_BLOCK_SIZE_MAX);
    uint32_t largest = bounds_largest_command(c->body_size_max_bytes);
    if (largest <= room) return RESULT_OK;
    snprintf(text, text_size,
             "body_size_max (%" PRIu32 ") is too large for segment_size (%" PRIu64 "): delivering such a message takes a record of %" PRIu32
             " bytes, and a segment holds %" PRIu32 "; body_size_max may be %" PRIu32 ", or segment_size must be 2MiB",
             c->body_size_max_bytes, c->segment_size_bytes, largest, room, c->body_size_max_bytes - (largest - room));
    return RESULT_MALFORMED;
}

/* Else whoever is sent it is closed as too slow, comes back, and is sent it again. */
static enum result check_push(const struct config *c, char *text, size_t text_size)
{
    uint32_t largest = bounds_largest_push(c->body_size_max_bytes);
    if (largest <= c->outbound_hard_bytes) return RESULT_OK;
    snprintf(text, text_size,
             "outbound_hard (%" PRIu32 ") must not be below %" PRIu32 ": so large is the largest message with body_size_max (%" PRIu32
             ") as JSON, and its reader would be closed for it every time",
             c->outbound_hard_bytes, largest, c->body_size_max_bytes);
    return RESULT_MALFORMED;
}

enum result settings_check(const struct config *c, char *text, size_t text_size)
{
    enum result result = check_log(c, text, text_size);
    return result == RESULT_OK ? check_push(c, text, text_size) : result;
}
