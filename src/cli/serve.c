/* cli/serve.c - `ringpost serve`: configuration from all its sources, then the server until a signal.
 * Happy path: defaults < file < environment < flags -> validated -> host_run. Failure: one line on stderr that names place,
 * reason and remedy; exit 1 (2 for a command line that is not understood). */
#include "cli/cli.h"
#include "cli/load.h"
#include "cli/remote.h"
#include "core/config.h"
#include "core/logger.h"
#include "core/version.h"
#include "shard/worker/fitness.h"
#include "shard/worker/host.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TEXT_SIZE 1024

static const char doc[] =
    "Run the server until it gets SIGINT or SIGTERM.\n"
    "\v"
    "Every option of the configuration is also a flag: --listen 0.0.0.0:7800,\n"
    "--data-dir /var/lib/ringpost, --shards 4 … A flag wins over the environment\n"
    "(RINGPOST_LISTEN=…), that over the file, and the file over the default.\n"
    "\n"
    "  ringpost config options     lists them all\n"
    "  ringpost config defaults    prints a commented file to start from\n"
    "  ringpost config check       tests a file and this machine\n"
    "\n"
    "Example:\n"
    "  ringpost serve --config /etc/ringpost.conf --log-level debug";

static void print_help(void)
{
    printf("Usage: ringpost serve [--config FILE] [--OPTION VALUE]...\n");
    const char *text = doc;
    for (; *text != '\0'; text++) putchar(*text == '\v' ? '\n' : *text);
    putchar('\n');
}

static bool serves_tls;

/* What to type on this machine: the program as it was called, and --server where it is not what the client takes by itself. */
static void on_serving(const char *address, uint16_t port)
{
    char host[256], server[300] = "";
    const char *colon = strrchr(address, ':');
    bool any = strncmp(address, "0.0.0.0:", 8) == 0 || strncmp(address, "[::]:", 5) == 0;
    snprintf(host, sizeof host, "%.*s:%u", any ? 9 : (int)(colon - address), any ? "localhost" : address, port);
    bool usual = !serves_tls && (strcmp(host, REMOTE_SERVER_DEFAULT) == 0 || (any && port == 7800));
    if (!usual) snprintf(server, sizeof server, " --server %s%s", serves_tls ? "tls://" : "", host);
    printf("Ringpost %s is serving: open %s://%s/ in a browser, or run `%s chat%s`\n", version_text, serves_tls ? "https" : "http", host,
           program_invocation_name, server);
    fflush(stdout);
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-?") == 0) return true;
    return false;
}

/* What no option is; when it looks like one, it is refused as one that is mistyped. */
static enum result refuse_rest(struct config *config, const char *argument, char *text, size_t text_size)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(argument, "="), argument);
    if (strncmp(name, "--", 2) == 0 && name[2] != '\0') return config_set(config, name + 2, "", text, text_size);
    snprintf(text, text_size, "command line: cannot understand `%s`; flags are --name value (see --help)", argument);
    return RESULT_MALFORMED;
}

/* What the machine and the configuration leave of each other is told before anything is opened. */
static enum result judge(struct config *config, char *text, size_t text_size)
{
    struct fitness fitness;
    char remark[TEXT_SIZE];
    if (load_remark(config, remark, sizeof remark)) LOG_WARN("config", "%s", remark);
    enum result result = fitness_judge(&fitness, config, text, text_size);
    for (uint32_t i = 0; i < fitness.warning_count; i++) LOG_WARN("host", "%s", fitness.warnings[i]);
    fitness_apply(&fitness, config);
    return result;
}

int cli_serve(int argc, char **argv)
{
    static struct config config; /* large: lists of texts */
    static struct load load;
    char text[TEXT_SIZE] = "";
    if (wants_help(argc, argv)) {
        print_help();
        return CLI_EXIT_OK;
    }
    enum result result = load_take(&load, &argc, argv, text, sizeof text);
    if (result == RESULT_OK) result = load_config(&load, &config, text, sizeof text);
    if (result == RESULT_OK && argc > 1) result = refuse_rest(&config, argv[1], text, sizeof text);
    bool loaded = result == RESULT_OK;
    if (loaded && logger_start(config.log_level, config.log_format) != RESULT_OK) return CLI_EXIT_FAILED;
    if (loaded) result = judge(&config, text, sizeof text);
    serves_tls = config.tls_certificate_file[0] != '\0';
    if (result == RESULT_OK) result = host_run(&config, on_serving, text, sizeof text);
    if (loaded) logger_stop();
    if (result != RESULT_OK) fprintf(stderr, "ringpost serve: %s\n", text);
    return load_exit_code(result);
}
