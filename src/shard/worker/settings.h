/* shard/worker/settings.h - from the configuration's options to those of the parts; the one place where the two vocabularies meet.
 * Thread:  start-up.              Depends: core/config.h, net/server.h, shard/engine/shard.h.  Start at: shard/worker/host.h */
#ifndef SHARD_SETTINGS_H
#define SHARD_SETTINGS_H

#include "core/config.h"
#include "net/server.h"
#include "shard/domain/setup.h"
#include "shard/engine/shard.h"

/* `connections_max`: of the one server (a worker's share, or the lobby's own few). `tls`: NULL without a certificate. */
struct server_options settings_server(const struct config *config, uint32_t connections_max, struct tls_identity *tls);
struct machine_options settings_machine(const struct config *config, uint16_t shard, uint16_t shard_count);
struct shard_limits settings_shard(const struct config *config);
struct domain_options settings_domain(const struct config *config);

#endif
