/* shard/worker/host.h - the whole server in one process: data directory, keys, listener, lobby, workers, orderly end.
 * Thread:  host_run on the main thread; it returns when a signal (SIGINT, SIGTERM) was handled; SIGHUP reloads the TLS certificate.
 * Depends: everything in shard/.  Start at: shard/engine/shard.h */
#ifndef SHARD_HOST_H
#define SHARD_HOST_H

#include "core/config.h"

/* Serves until told to stop. OK: stopped in good order. Failure to start: `text` says what and the remedy. `on_serving` (may be
 * NULL) is called once with the real address when every shard has recovered. */
NODISCARD enum result host_run(const struct config *config, void (*on_serving)(const char *address, uint16_t port), char *text,
                               size_t text_size);

#endif
