/* cli/serve.c - `ringpost serve`: configuration from all its sources, then the server until a signal.
 * Happy path: defaults < file < environment < flags -> validated -> host_run. Failure: one line on stderr that names place,
 * reason and remedy; exit 1 (2 for a command line that is not understood). */
#include "cli/cli.h"
#include "core/config.h"
#include "core/host.h"
#include "core/logger.h"
#include "core/version.h"
#include "net/server.h"
#include "shard/host.h"
#include "shard/settings.h"
#include <stdio.h>
#include <stdlib.h>
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

/* --name=value or --name value; the value of a flag that stands alone is missing. Returns how many arguments were used, 0 on a fault. */
static int take_flag(char **argv, int left, char name[64], const char **value)
{
    const char *flag = argv[0];
    if (strncmp(flag, "--", 2) != 0) return 0;
    const char *equals = strchr(flag, '=');
    size_t len = equals != NULL ? (size_t)(equals - flag) - 2 : strlen(flag) - 2;
    if (len == 0 || len >= 64) return 0;
    memcpy(name, flag + 2, len);
    name[len] = '\0';
    *value = equals != NULL ? equals + 1 : left > 1 ? argv[1] : NULL;
    if (*value == NULL) return 0;
    return equals != NULL ? 1 : 2;
}

static enum result load_file(struct config *config, int argc, char **argv, char *text)
{
    for (int i = 1; i < argc;) {
        char name[64];
        const char *value;
        int used = take_flag(argv + i, argc - i, name, &value);
        if (used > 0 && strcmp(name, "config") == 0) return config_load_file(config, value, text, TEXT_SIZE);
        i += used > 0 ? used : 1;
    }
    return RESULT_OK;
}

static enum result load_flags(struct config *config, int argc, char **argv, char *text)
{
    for (int i = 1; i < argc;) {
        char name[64];
        const char *value;
        int used = take_flag(argv + i, argc - i, name, &value);
        if (used == 0) {
            snprintf(text, TEXT_SIZE, "command line: cannot understand `%s`; flags are --name value (see --help)", argv[i]);
            return RESULT_MALFORMED;
        }
        if (strcmp(name, "config") != 0) {
            enum result result = config_set(config, name, value, text, TEXT_SIZE);
            if (result != RESULT_OK) return result;
        }
        i += used;
    }
    return RESULT_OK;
}

static bool serves_tls;

static void on_serving(const char *address, uint16_t port)
{
    const char *colon = strrchr(address, ':');
    int host_len = colon == NULL ? (int)strlen(address) : (int)(colon - address);
    bool any = strncmp(address, "0.0.0.0", 7) == 0 || strncmp(address, "[::]", 4) == 0;
    printf("Ringpost %s is serving: open %s://%.*s:%u/ in a browser, or run `ringpost chat`\n", version_text,
           serves_tls ? "https" : "http", any ? 9 : host_len, any ? "localhost" : address, port);
    fflush(stdout);
}

int cli_serve(int argc, char **argv)
{
    extern char **environ;
    static struct config config; /* large: lists of texts */
    char text[TEXT_SIZE] = "";
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") != 0 && strcmp(argv[i], "-?") != 0) continue;
        print_help();
        return CLI_EXIT_OK;
    }
    config_init_defaults(&config);
    enum result result = load_file(&config, argc, argv, text);
    if (result == RESULT_OK) result = config_load_environment(&config, environ, text, sizeof text);
    if (result == RESULT_OK) result = load_flags(&config, argc, argv, text);
    if (result == RESULT_OK) result = config_validate(&config, text, sizeof text);
    if (result == RESULT_OK) result = settings_check(&config, text, sizeof text);
    if (result == RESULT_OK) result = server_check_address(config.listen, text, sizeof text);
    if (result != RESULT_OK) {
        fprintf(stderr, "ringpost serve: %s\n", text);
        return result == RESULT_MALFORMED ? CLI_EXIT_USAGE : CLI_EXIT_FAILED;
    }
    if (logger_start(config.log_level, config.log_format) != RESULT_OK) return CLI_EXIT_FAILED;
    host_raise_locked_memory();
    serves_tls = config.tls_certificate_file[0] != '\0';
    result = host_run(&config, on_serving, text, sizeof text);
    logger_stop();
    if (result == RESULT_OK) return CLI_EXIT_OK;
    fprintf(stderr, "ringpost serve: %s\n", text);
    return result == RESULT_CORRUPT ? CLI_EXIT_CORRUPT : CLI_EXIT_FAILED;
}
