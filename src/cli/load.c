/* cli/load.c - a flag's value is never taken to be the next flag: `--data-dir --listen x` lacks one. */
#include "cli/load.h"
#include "cli/cli.h"
#include "net/server.h"
#include "shard/worker/rules.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NAME_SIZE 64

/* The NAME of --NAME or --NAME=VALUE when it is --config or an option of the server. */
static bool is_ours(const char *argument, char name[NAME_SIZE])
{
    if (strncmp(argument, "--", 2) != 0) return false;
    size_t len = strcspn(argument + 2, "=");
    if (len == 0 || len >= NAME_SIZE) return false;
    memcpy(name, argument + 2, len);
    name[len] = '\0';
    return strcmp(name, "config") == 0 || config_knows(name);
}

/* Keeps a copy of the name: where it ends argv has a '='. */
static enum result keep(struct load *load, char *name, const char *value, char *text, size_t text_size)
{
    if (strcmp(name, "config") == 0) {
        if (load->file != NULL) {
            snprintf(text, text_size, "command line: --config was given already");
            return RESULT_MALFORMED;
        }
        load->file = value;
        return RESULT_OK;
    }
    if (load->flag_count + 2 > LOAD_FLAGS_MAX) {
        snprintf(text, text_size, "command line: there are more than %d options", LOAD_FLAGS_MAX / 2);
        return RESULT_MALFORMED;
    }
    load->flags[load->flag_count++] = name;
    load->flags[load->flag_count++] = value;
    return RESULT_OK;
}

enum result load_take(struct load *load, int *argc, char **argv, char *text, size_t text_size)
{
    int kept = 0;
    for (int i = 0; i < *argc; i++) {
        char name[NAME_SIZE];
        if (i == 0 || !is_ours(argv[i], name)) {
            argv[kept++] = argv[i];
            continue;
        }
        char *flag = argv[i] + 2, *equals = strchr(flag, '=');
        const char *value = equals != NULL ? equals + 1 : i + 1 < *argc ? argv[++i] : NULL;
        if (value == NULL || (equals == NULL && strncmp(value, "--", 2) == 0)) {
            snprintf(text, text_size, "command line: --%s needs a value", name);
            return RESULT_MALFORMED;
        }
        if (equals != NULL) *equals = '\0';
        enum result result = keep(load, flag, value, text, text_size);
        if (result != RESULT_OK) return result;
    }
    argv[kept] = NULL;
    *argc = kept;
    return RESULT_OK;
}

enum result load_config(const struct load *load, struct config *config, char *text, size_t text_size)
{
    config_init_defaults(config);
    enum result result = RESULT_OK;
    if (load->file != NULL) result = config_load_file(config, load->file, text, text_size);
    if (result == RESULT_OK) result = config_load_environment(config, environ, text, text_size);
    for (int i = 0; result == RESULT_OK && i < load->flag_count; i += 2)
        result = config_set(config, load->flags[i], load->flags[i + 1], text, text_size);
    if (result == RESULT_OK) result = rules_check(config, text, text_size);
    return result == RESULT_OK ? server_check_address(config->listen, text, text_size) : result;
}

int load_exit_code(enum result result)
{
    if (result == RESULT_OK) return CLI_EXIT_OK;
    if (result == RESULT_MALFORMED) return CLI_EXIT_USAGE;
    return result == RESULT_CORRUPT ? CLI_EXIT_CORRUPT : CLI_EXIT_FAILED;
}

bool load_remark(const struct config *config, char *text, size_t text_size)
{
    if (config->injected_count == 0) return false;
    snprintf(text, text_size,
             "%u environment variables that an orchestrator sets for a service or container named ringpost are ignored, the first is %s. "
             "Remedy: another name, or enableServiceLinks: false",
             config->injected_count, config->injected_first);
    return true;
}
