/* cli/cli.h - the subcommands of `ringpost`: one file each, one table of all.
 * Read in this order:
 *   cli.h      this file: the table, exit codes
 *   remote.h   what the commands that talk to a server share: options, login, one call after another
 *   lines.h    what they print
 *   send.c tail.c user.c    one question, one answer; the stream; accounts
 *   chat.h     the interactive client and its parts
 *   load.h     the server's configuration from a command line
 *   operator.h the way to a running server by its data directory: tail_all.c follower.c
 *   log.c config.c serve.c  the operator's side
 * Thread:  main.                  Depends: everything below; nothing includes cli/ but main.c. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>

/* How a command ends, the same for all of them. Scripts rely on it. */
#define CLI_EXIT_LIST(X)                                                                                               \
    X(OK, 0, "done")                                                                                                   \
    X(FAILED, 1, "something on this machine failed")                                                                   \
    X(USAGE, 2, "the command line is not understood")                                                                  \
    X(LOGIN, 3, "nobody is logged in, or the server refuses the login")                                                \
    X(UNREACHABLE, 4, "the server cannot be reached, or did not answer in time")                                       \
    X(REFUSED, 5, "the server refused; its reason is on stderr")                                                       \
    X(CORRUPT, 6, "damaged data found")

#define CLI_EXIT_AS_ENUM(name, value, text) CLI_EXIT_##name = value,
enum cli_exit { CLI_EXIT_LIST(CLI_EXIT_AS_ENUM) };
#undef CLI_EXIT_AS_ENUM

struct cli_command {
    const char *name, *summary;
    int (*run)(int argc, char **argv); /* argv[0] is "ringpost NAME"; returns an enum cli_exit */
};

/* A table ends with a row without a name. Runs the command that argv[1] names; with --help, or none, says what there is. `about` stands
 * above the list, `argv[0]` before each command. */
int cli_dispatch(const struct cli_command *table, const char *about, int argc, char **argv);
/* SIGINT and SIGTERM do not end the process from now on: they end its waits, and cli_is_stopped() is true. */
void cli_stop_on_signals(void);
bool cli_is_stopped(void);
/* `ringpost ARGUMENTS…`: what main() returns. */
int cli_main(int argc, char **argv);

int cli_serve(int argc, char **argv);
int cli_chat(int argc, char **argv);
int cli_send(int argc, char **argv);
int cli_tail(int argc, char **argv);
int cli_tail_all(int argc, char **argv);
int cli_follower(int argc, char **argv);
int cli_user(int argc, char **argv);
int cli_log(int argc, char **argv);
int cli_config(int argc, char **argv);

#endif
