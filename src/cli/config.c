/* cli/config.c - `ringpost config …`: what the server would run with, and whether this machine can run it.
 * `check` loads the configuration as `ringpost serve` does: file, environment, command line. */
#include "cli/load.h"
#include "cli/remote.h"
#include "core/config.h"
#include "net/server.h"
#include "shard/worker/fitness.h"
#include "storage/datadir.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct config_arguments {
    struct load load;
    bool json;
};

#define OPTION_CONFIG {"config", 'c', "FILE", 0, "the configuration file (default: none)", 0}
static const struct argp_option check_options[] = {
    OPTION_CONFIG, {"json", 'j', NULL, 0, "print the outcome as JSON", 0}, {NULL, 0, NULL, 0, NULL, 0}};
static const struct argp_option show_options[] = {OPTION_CONFIG, {NULL, 0, NULL, 0, NULL, 0}};

static error_t config_parse(int key, char *argument, struct argp_state *state)
{
    struct config_arguments *arguments = state->input;
    switch (key) {
    case 'c':
        if (arguments->load.file != NULL) argp_error(state, "--config was given already");
        arguments->load.file = argument;
        return 0;
    case 'j': arguments->json = true; return 0;
    case ARGP_KEY_ARG: argp_error(state, "`%s` is one too many", argument); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* Reads the command line of an action. */
static enum result take_arguments(struct config_arguments *arguments, const struct argp *argp, int argc, char **argv, char *text,
                                  size_t text_size)
{
    enum result res = load_take(&arguments->load, &argc, argv, text, text_size);
    if (res == RESULT_OK) argp_parse(argp, argc, argv, 0, NULL, arguments);
    return res;
}

/* What the first start would do to the directory for good. */
static void remark_upgrade(const struct config *config, uint32_t format)
{
    if (format == 0 || format >= DATADIR_FORMAT) return;
    remote_complain("data directory %s: has format %u, and the first start makes it format %u: the version that wrote it will refuse it then. "
                    "Remedy: make a backup before",
                    config->data_dir, format, DATADIR_FORMAT);
}

/* Everything `serve` would do before it opens anything; what only limits it is told on stderr. */
static enum result check_all(const struct load *load, struct config *config, char *text, size_t text_size)
{
    struct fitness fitness;
    char remark[1024];
    enum result result = load_config(load, config, text, text_size);
    if (result != RESULT_OK) return result;
    if (load_remark(config, remark, sizeof remark)) remote_complain("%s", remark);
    result = fitness_judge(&fitness, config, text, text_size);
    for (uint32_t i = 0; i < fitness.warning_count; i++) remote_complain("%s", fitness.warnings[i]);
    if (result == RESULT_OK) remark_upgrade(config, fitness.format);
    return result == RESULT_OK ? server_try_address(config->listen, text, text_size) : result;
}

/* {"configuration": good?, "machine": fit?, null when not asked, "message": what is wrong} */
static void print_check_json(int code, const char *text)
{
    json_t *root = json_pack("{s:b, s:o, s:s}", "configuration", code != CLI_EXIT_USAGE, "machine",
                             code == CLI_EXIT_USAGE ? json_null() : json_boolean(code == CLI_EXIT_OK), "message", text);
    if (root != NULL) json_dumpf(root, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(root);
}

static int config_check(int argc, char **argv)
{
    static const char about_check[] =
        "Checks the configuration as `ringpost serve` would read it, from FILE, the RINGPOST_ environment and the options given here, and "
        "whether this machine can run it.\v"
        "Any option of the server may be given as --NAME=VALUE; `ringpost config options` lists them.\n"
        "Exits with 2 when the configuration is refused, with 1 when the server cannot run on this machine; stderr says why and the remedy, "
        "also of what only limits it.\n"
        "\n"
        "Examples:\n"
        "  ringpost config check --config /etc/ringpost.conf\n"
        "  ringpost config check --workers=4 --data-dir /srv/ringpost";
    static const struct argp argp = {.options = check_options, .parser = config_parse, .doc = about_check};
    static struct config_arguments arguments;
    static struct config config;
    char text[1024] = "";
    enum result result = take_arguments(&arguments, &argp, argc, argv, text, sizeof text);
    if (result == RESULT_OK) result = check_all(&arguments.load, &config, text, sizeof text);
    int code = load_exit_code(result);
    if (arguments.json)
        print_check_json(code, text);
    else if (code == CLI_EXIT_OK)
        puts("the configuration is good and this machine can run it");
    if (text[0] != '\0') remote_complain("%s", text);
    return code;
}

static int print_rendered(struct writer *text)
{
    bool ok = !text->failed && fwrite(text->data, 1, text->len, stdout) == text->len && fflush(stdout) == 0;
    writer_deinit(text);
    return ok ? CLI_EXIT_OK : CLI_EXIT_FAILED;
}

static int config_show(int argc, char **argv)
{
    static const char about_show[] = "Prints the values in force as a configuration file, each with where it comes from.\v"
                                     "Example:\n"
                                     "  ringpost config show --config /etc/ringpost.conf --workers=2";
    static const struct argp argp = {.options = show_options, .parser = config_parse, .doc = about_show};
    static struct config_arguments arguments;
    static struct config config;
    char error[1024] = "";
    if (take_arguments(&arguments, &argp, argc, argv, error, sizeof error) != RESULT_OK ||
        load_config(&arguments.load, &config, error, sizeof error) != RESULT_OK) {
        remote_complain("%s", error);
        return CLI_EXIT_USAGE;
    }
    struct writer text;
    writer_init(&text, 0);
    config_render(&config, &text);
    return print_rendered(&text);
}

static int config_print(int argc, char **argv, const char *about, void (*render)(struct writer *out))
{
    const struct argp argp = {.doc = about};
    argp_parse(&argp, argc, argv, 0, NULL, NULL);
    struct writer text;
    writer_init(&text, 0);
    render(&text);
    return print_rendered(&text);
}

static int config_defaults(int argc, char **argv)
{
    return config_print(argc, argv, "Prints a complete configuration file, every option commented out at its default.\v"
                                    "Example:\n"
                                    "  ringpost config defaults > ringpost.conf",
                        config_render_defaults);
}

static int config_options(int argc, char **argv)
{
    return config_print(argc, argv, "Prints the table of all options, with meaning, default and range (Markdown).", config_render_markdown);
}

int cli_config(int argc, char **argv)
{
    static const struct cli_command actions[] = {
        {"check", "is this configuration good, and can this machine run it?", config_check},
        {"show", "print the values in force and where each comes from", config_show},
        {"defaults", "print an example file with every option", config_defaults},
        {"options", "print the table of options", config_options},
        {NULL, NULL, NULL},
    };
    return cli_dispatch(actions, "The server's configuration.", argc, argv);
}
