/* cli/remote.h - what every command that talks to a server shares: its options, the login it uses, calls, and how they fail.
 * Owns:    the identity and the client between remote_open() and remote_close().
 * Thread:  main.                  Depends: client/.              Start at: cli/cli.h */
#ifndef CLI_REMOTE_H
#define CLI_REMOTE_H

#include "cli/cli.h"
#include "client/client.h"
#include <argp.h>
#include <stdbool.h>

#define REMOTE_SERVER_DEFAULT "127.0.0.1:7800"

struct remote {
    /* options; zeroed by the command, filled by remote_argp */
    const char *server, *profile, *authority_file;
    uint32_t timeout_ms;
    bool json;
    /* between open and close */
    char host[256], port[16], name[280]; /* name: "host:port" or "tls://host:port" */
    bool secure;
    struct tls_trust *trust; /* secure only */
    struct identity identity;
    struct client *client;
};

/* --server, --profile, --timeout, --ca-file, and --json, as a child of the command's own parser, whose ARGP_KEY_INIT does
 * `state->child_inputs[0] = &remote`. */
extern const struct argp remote_argp;
#define REMOTE_ARGP_CHILD {&remote_argp, 0, "Server and login:", 10}

/* Finds the server and the kept identity; then, unless `anonymous`, needs somebody logged in. The client connects at the first call.
 * CLI_EXIT_OK: end with remote_close(). Else the reason is on stderr and nothing is open. */
NODISCARD enum cli_exit remote_open(struct remote *remote, bool anonymous);
void remote_close(struct remote *remote);

/* A call and its answer. CLI_EXIT_OK: *response is the caller's, free it with ringpost__v1__response__free_unpacked(…, NULL).
 * Else the reason is on stderr. */
NODISCARD enum cli_exit remote_call(struct remote *remote, Ringpost__V1__Request *request, Ringpost__V1__Response **response);
/* How a call ended that gave no response, or one that is an error: the exit code, and the reason on stderr. */
enum cli_exit remote_explain(const struct remote *remote, enum result result, const Ringpost__V1__Error *error);
/* Looks a person up by name. */
NODISCARD enum cli_exit remote_find_user(struct remote *remote, const char *name, Ringpost__V1__User **user);

/* "ringpost: …" on stderr, cleaned: it may quote what a server or a user said. */
void remote_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A whole number in [min, max] from a command line; false when it is not one. */
bool remote_parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *out);

#endif
