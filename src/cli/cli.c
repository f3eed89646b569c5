/* cli/cli.c - the table of subcommands and its help. */
#include "cli/cli.h"
#include "core/check.h"
#include "core/version.h"
#include <argp.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define CLI_NAME_MAX 64

static const struct cli_command commands[] = {
    {"serve", "run the server", cli_serve},
    {"chat", "chat in this terminal", cli_chat},
    {"send", "send one message", cli_send},
    {"tail", "print messages and other events as they come", cli_tail},
    {"follower", "list, rebuild and remove those who follow the whole server", cli_follower},
    {"user", "register, log in and out, look up people and devices", cli_user},
    {"log", "look into a server's commit log, offline", cli_log},
    {"config", "check and explain the server's configuration", cli_config},
    {NULL, NULL, NULL},
};

static const char about[] =
    "Ringpost, a messaging server, and its clients.\n"
    "\n"
    "Try it: run `ringpost serve` in one terminal; in a second one\n"
    "  ringpost user register alice        (asks for a password)\n"
    "  ringpost chat\n"
    "and in a third one, as somebody else\n"
    "  ringpost user register bob --profile bob\n"
    "  ringpost chat --profile bob";

static void print_help(FILE *out, const struct cli_command *table, const char *text, const char *program)
{
    fprintf(out, "Usage: %s COMMAND [OPTION...]\n%s\n\nCommands:\n", program, text);
    for (const struct cli_command *command = table; command->name != NULL; command++)
        fprintf(out, "  %-10s %s\n", command->name, command->summary);
    fprintf(out, "\n`%s COMMAND --help` explains a command.\n\nExit codes:\n", program);
#define PRINT_EXIT(name, value, meaning) fprintf(out, "  %d  %s\n", value, meaning);
    CLI_EXIT_LIST(PRINT_EXIT)
#undef PRINT_EXIT
}

int cli_dispatch(const struct cli_command *table, const char *text, int argc, char **argv)
{
    ASSERT(argc > 0);
    const char *program = argv[0], *name = argc > 1 ? argv[1] : NULL;
    bool wants_help = name != NULL && (strcmp(name, "--help") == 0 || strcmp(name, "-?") == 0 || strcmp(name, "help") == 0);
    if (name == NULL || wants_help) {
        print_help(wants_help ? stdout : stderr, table, text, program);
        return wants_help ? CLI_EXIT_OK : CLI_EXIT_USAGE;
    }
    for (const struct cli_command *command = table; command->name != NULL; command++) {
        if (strcmp(command->name, name) != 0) continue;
        static char whole_name[CLI_NAME_MAX]; /* of the innermost command: argp shows argv[0] in its messages */
        char joined[CLI_NAME_MAX];
        snprintf(joined, sizeof joined, "%s %s", program, name);
        memcpy(whole_name, joined, sizeof whole_name);
        argv[1] = whole_name;
        return command->run(argc - 1, argv + 1);
    }
    fprintf(stderr, "%s: there is no command `%s`; try `%s --help`\n", program, name, program);
    return CLI_EXIT_USAGE;
}

static volatile sig_atomic_t stopped;

static void on_stop(int signal_number)
{
    (void)signal_number;
    stopped = 1;
}

void cli_stop_on_signals(void)
{
    const struct sigaction stop = {.sa_handler = on_stop};
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
}

bool cli_is_stopped(void) { return stopped != 0; }

int cli_main(int argc, char **argv)
{
    static char program[] = "ringpost";
    argp_err_exit_status = CLI_EXIT_USAGE;
    setlocale(LC_ALL, "");
    if (argc > 0) argv[0] = program;
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("ringpost %s\n", version_text);
        return CLI_EXIT_OK;
    }
    return argc > 0 ? cli_dispatch(commands, about, argc, argv) : CLI_EXIT_USAGE;
}
