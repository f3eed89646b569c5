/* shard/worker/operator.h - the operator's door: a Unix socket in the data directory, for whoever may read that directory.
 * Owns:    the socket DIR/operator.sock (mode 0600), its connections, and one thread that serves them all.
 * Thread:  start and stop: the main thread. The rest: its own thread, which asks the workers by tasks and never makes them wait.
 * Depends: shard/worker/tasks.h, net/tcpframe.h.  Start at: shard/engine/shard.h
 *
 *   client                                    this thread                                       workers
 *   OperatorRequest{tail}      --frame-->     BEGIN to every shard                    -task-> commands
 *                              <-started-     READ to every shard, one page at a time -task-> pages, or a while without
 *                              <-entry-- …    (no page more while the client does not take what it has)
 *   OperatorRequest{acknowledge} ->           ACK to the shards that went on, one at a time -> commands
 *   end of the connection                     END of a follower without a name
 *
 * The one place of operators' commands: schemas/ringpost/v1/operator.proto. No token, because the kernel says who connects: only the user
 * the server runs as, and root.
 * Limits: OPERATOR_CONNECTIONS_MAX connections, one request each at a time; OPERATOR_OUT_BYTES wait for a slow one. */
#ifndef SHARD_OPERATOR_H
#define SHARD_OPERATOR_H

#include "shard/worker/tasks.h"

#define OPERATOR_SOCKET "operator.sock"
#define OPERATOR_CONNECTIONS_MAX 32u
#define OPERATOR_OUT_BYTES (1u << 20)

struct operator_options {
    const char *data_dir;
    struct tasks *tasks;
    uint16_t worker_count, shard_count;
};
struct operator;

/* When all workers serve. IO with `text`: the socket cannot be made; the server serves without. */
NODISCARD enum result operator_start(struct operator **out, const struct operator_options *options, char *text, size_t text_size);
/* Before the workers are told to stop: ends the connections; when it returns, nothing more is asked of the workers. */
void operator_quiesce(struct operator *op);
/* When the workers have ended, which answers whatever was asked of them. NULL: nothing to stop. */
void operator_stop(struct operator *op);

#endif
