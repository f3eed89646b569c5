/* shard/worker/settings.c - option by option; nothing is decided here. */
#include "shard/domain/domain.h"
#include "shard/worker/settings.h"
#include "shard/domain/bounds.h"
#include "shard/domain/limits.h"

struct server_options settings_server(const struct config *c, uint32_t connections_max, struct tls_identity *tls)
{
    return (struct server_options){.connections_max = connections_max,
                                   .connections_per_ip_max = c->connections_per_ip_max,
                                   .frame_size_max = c->frame_size_max_bytes,
                                   .http_head_size_max = c->http_head_size_max_bytes,
                                   .http_body_size_max = c->http_body_size_max_bytes,
                                   .outbound_soft_bytes = c->outbound_soft_bytes,
                                   .outbound_hard_bytes = c->outbound_hard_bytes,
                                   .memory_per_address_max_bytes = c->connection_memory_per_address_bytes,
                                   .header_timeout_ms = c->header_timeout_ms,
                                   .authenticate_timeout_ms = c->authenticate_timeout_ms,
                                   .keep_alive_timeout_ms = c->keep_alive_timeout_ms,
                                   .keep_alive_requests_max = c->keep_alive_requests_max,
                                   .heartbeat_interval_ms = c->heartbeat_interval_ms,
                                   .heartbeat_timeout_ms = c->heartbeat_timeout_ms,
                                   .write_timeout_ms = c->write_timeout_ms,
                                   .accepts_per_turn_max = c->accepts_per_turn_max,
                                   .trusted_proxies = &c->trusted_proxies,
                                   .proxy_protocol_from = &c->proxy_protocol_from,
                                   .tls = tls,
                                   .tls_required = c->tls_required,
                                   .hsts_max_age_s = c->hsts_max_age_s,
                                   .tls_handshakes_per_turn_max = c->tls_handshakes_per_turn_max};
}

struct machine_options settings_machine(const struct config *c, uint16_t shard, uint16_t shard_count)
{
    return (struct machine_options){.domain = ringpost_domain(),
                                    .shard = shard,
                                    .shard_count = shard_count,
                                    .limits[LIMIT_ROOM_MEMBERS_MAX] = c->room_members_max,
                                    .limits[LIMIT_FANOUT_THRESHOLD] = c->fanout_threshold,
                                    .limits[LIMIT_INBOX_EVENTS_MAX] = c->inbox_events_max,
                                    .limits[LIMIT_DEVICES_PER_USER_MAX] = c->devices_per_user_max,
                                    .limits[LIMIT_DEDUP_ENTRIES] = c->dedup_entries,
                                    .limits[LIMIT_REPEAT_WINDOW_MS] = c->repeat_window_ms,
                                    .limits[LIMIT_REPEATS_PER_SENDER] = c->repeats_per_sender,
                                    .limits[LIMIT_LARGE_TOLD] = 1,
                                    .entities_max = c->entities_max,
                                    .outbox_entries_max = c->outbox_entries_max,
                                    .timers_resident_max = TIMERS_RESIDENT_MAX,
                                    .body_cache_bytes = c->body_cache_bytes};
}

struct shard_limits settings_shard(const struct config *c)
{
    return (struct shard_limits){.requests_parked_max = c->requests_parked_max,
                                 .store_backlog_max_bytes = c->store_backlog_max_bytes,
                                 .page_cost_max = bounds_page_cost(c->outbound_hard_bytes - c->outbound_soft_bytes, c->body_size_max_bytes,
                                                                   c->rooms_per_user_max),
                                 .follower_backlog_max = c->follower_backlog_max,
                                 .clock_skew_max_ms = c->clock_skew_max_ms};
}

struct domain_options settings_domain(const struct config *c)
{
    return (struct domain_options){.body_size_max_bytes = c->body_size_max_bytes,
                                   .rooms_per_user_max = c->rooms_per_user_max,
                                   .unanswered_max = c->unanswered_max,
                                   .sessions_per_user_max = c->devices_per_user_max,
                                   .messages_per_second = c->rate_messages_per_second,
                                   .messages_burst = c->rate_messages_burst,
                                   .requests_per_second = c->rate_requests_per_second,
                                   .requests_burst = c->rate_requests_burst,
                                   .access_token_ttl_s = c->access_token_ttl_ms / 1000,
                                   .refresh_token_ttl_s = (uint32_t)(c->refresh_token_ttl_ms / 1000),
                                   .token_leeway_s = c->token_leeway_ms / 1000,
                                   .refresh_grace_ms = c->refresh_grace_ms};
}
