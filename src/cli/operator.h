/* cli/operator.h - what the commands of an operator share: the way to the server that has this data directory open.
 * Owns:    the connection to DIR/operator.sock between open and close.
 * Thread:  main.                  Depends: cli/load.h, net/tcpframe.h.          Start at: cli/cli.h
 * No login: whoever may read the data directory may ask. The directory is that of the configuration, found as `ringpost serve` finds it. */
#ifndef CLI_OPERATOR_H
#define CLI_OPERATOR_H

#include "cli/cli.h"
#include "core/result.h"
#include "net/tcpframe.h"
#include "ringpost/v1/operator.pb-c.h"

struct operator_client {
    char data_dir[512];
    int fd;
    struct tcpframe_parser parser;
    struct slice in; /* of `bytes`: not looked at yet */
    uint8_t bytes[64 << 10];
};

/* Takes --config and --data-dir (as every option of the server) out of the command line. Else the reason is on stderr. */
NODISCARD enum cli_exit operator_take_directory(struct operator_client *client, int *argc, char **argv);
/* UNREACHABLE: no server has the directory open; the reason is on stderr, unless `quiet`. */
NODISCARD enum cli_exit operator_open(struct operator_client *client, bool quiet);
void operator_close(struct operator_client *client);

/* False: the server is gone. */
NODISCARD bool operator_send(struct operator_client *client, const Ringpost__V1__OperatorRequest *request);
/* Whether operator_next() has something without waiting. */
bool operator_has_more(struct operator_client *client);
enum operator_got { OPERATOR_GOT, OPERATOR_NOTHING, OPERATOR_GONE };
/* NOTHING: nothing came within the time, or a signal did. GOT: *response is the caller's. */
NODISCARD enum operator_got operator_next(struct operator_client *client, int timeout_ms, Ringpost__V1__OperatorResponse **response);
/* A question and its one answer. OK: *response is the caller's and no error; else the reason is on stderr. */
NODISCARD enum cli_exit operator_call(struct operator_client *client, const Ringpost__V1__OperatorRequest *request,
                                      Ringpost__V1__OperatorResponse **response);

#endif
