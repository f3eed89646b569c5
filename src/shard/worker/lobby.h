/* shard/worker/lobby.h - answers on the port while the shards recover: /healthz, /readyz (503 recovering), NOT_READY for the rest.
 * Owns:    one thread with its own loop, and duplicates of the listening descriptors.
 * Thread:  start and stop: whoever starts the process.  Depends: shard/door/door.h.  Start at: shard/worker/host.h */
#ifndef SHARD_LOBBY_H
#define SHARD_LOBBY_H

#include "core/config.h"
#include "shard/door/door.h"

struct lobby;
/* What its ring counts as locked memory. */
uint64_t lobby_locked_bytes(void);
/* Failure: `text` with the remedy (no io_uring and the like: found out here, before anything is recovered). */
NODISCARD enum result lobby_start(struct lobby **out, const struct config *config, struct tls_identity *tls, const struct host_pages *pages,
                                  const int *listen_fds, uint32_t count, char *text, size_t text_size);
/* Closes its connections and ends; connections that come meanwhile wait in the kernel for the workers. */
void lobby_stop(struct lobby *lobby);

#endif
