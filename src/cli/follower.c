/* cli/follower.c - `ringpost follower …`: who follows the server, and how far each is. */
#include "cli/lines.h"
#include "cli/operator.h"
#include "cli/remote.h"
#include <inttypes.h>
#include <stdio.h>

struct follower_arguments {
    const char *name;
    bool wants_name, json;
};

static const struct argp_option status_options[] = {{"json", 'j', NULL, 0, "one JSON object for each follower", 0}, {NULL, 0, NULL, 0, NULL, 0}};
#define ABOUT_DIRECTORY "The server is found by its data directory, as `ringpost serve` finds it: --data-dir DIR, --config FILE, RINGPOST_DATA_DIR."

static error_t follower_parse(int key, char *argument, struct argp_state *state)
{
    struct follower_arguments *arguments = state->input;
    switch (key) {
    case 'j': arguments->json = true; return 0;
    case ARGP_KEY_ARG:
        if (!arguments->wants_name || arguments->name != NULL) argp_error(state, "`%s` is one too many", argument);
        arguments->name = argument;
        return 0;
    case ARGP_KEY_END:
        if (arguments->wants_name && arguments->name == NULL) argp_error(state, "NAME is missing");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* Opens, asks, closes. OK: *response is the caller's. */
static enum cli_exit ask(const struct argp *argp, struct follower_arguments *arguments, int argc, char **argv,
                         Ringpost__V1__OperatorRequest *request, Ringpost__V1__OperatorResponse **response)
{
    static struct operator_client client;
    static char name[64];
    enum cli_exit code = operator_take_directory(&client, &argc, argv);
    if (code != CLI_EXIT_OK) return code;
    argp_parse(argp, argc, argv, 0, NULL, arguments);
    snprintf(name, sizeof name, "%s", arguments->name != NULL ? arguments->name : "");
    if (request->command_case == RINGPOST__V1__OPERATOR_REQUEST__COMMAND_REBUILD) request->rebuild->name = name;
    if (request->command_case == RINGPOST__V1__OPERATOR_REQUEST__COMMAND_REMOVE) request->remove->name = name;
    code = operator_open(&client, false);
    if (code != CLI_EXIT_OK) return code;
    code = operator_call(&client, request, response);
    operator_close(&client);
    return code;
}

static void print_follower(const Ringpost__V1__Follower *f)
{
    for (size_t i = 0; i < f->n_shards; i++) {
        const Ringpost__V1__FollowerShard *s = f->shards[i];
        printf("%-32s %5u  %-10s %10" PRIu64 " %10" PRIu64 " %10" PRIu64 "  %s\n", f->name, s->shard, s->state, s->number, s->newest, s->backlog,
               f->connected ? "connected" : "");
    }
}

static int follower_status(int argc, char **argv)
{
    static const char about[] = "Prints every follower, one line for each shard: how far it is, and what is kept for it.\v" ABOUT_DIRECTORY "\n\n"
                                "State: following; rebuilding (it still reads what is stored); lost (it fell behind by more than "
                                "follower_backlog_max: rebuild or remove it). A name beginning with a point is of a `ringpost tail --all` without --name.";
    static const struct argp argp = {.options = status_options, .parser = follower_parse, .doc = about};
    struct follower_arguments arguments = {0};
    Ringpost__V1__OperatorRequest request;
    Ringpost__V1__FollowerStatusRequest status;
    Ringpost__V1__OperatorResponse *response;
    ringpost__v1__operator_request__init(&request);
    ringpost__v1__follower_status_request__init(&status);
    request.command_case = RINGPOST__V1__OPERATOR_REQUEST__COMMAND_STATUS;
    request.status = &status;
    enum cli_exit code = ask(&argp, &arguments, argc, argv, &request, &response);
    if (code != CLI_EXIT_OK) return code;
    if (!arguments.json) printf("%-32s %5s  %-10s %10s %10s %10s\n", "NAME", "SHARD", "STATE", "DONE", "NEWEST", "BACKLOG");
    for (size_t i = 0; response->status != NULL && i < response->status->n_followers; i++) {
        if (arguments.json) line_print_json(stdout, &response->status->followers[i]->base);
        else print_follower(response->status->followers[i]);
    }
    ringpost__v1__operator_response__free_unpacked(response, NULL);
    return CLI_EXIT_OK;
}

/* An order about one follower, answered with nothing but that it was carried out. */
static int order(const char *about, int argc, char **argv, Ringpost__V1__OperatorRequest *request)
{
    const struct argp argp = {.parser = follower_parse, .args_doc = "NAME", .doc = about};
    struct follower_arguments arguments = {.wants_name = true};
    Ringpost__V1__OperatorResponse *response;
    enum cli_exit code = ask(&argp, &arguments, argc, argv, request, &response);
    if (code == CLI_EXIT_OK) ringpost__v1__operator_response__free_unpacked(response, NULL);
    return code;
}

static int follower_rebuild(int argc, char **argv)
{
    static const char about[] = "Lets a follower begin anew: whoever reads it next is told of all that is stored, then of what happened since.\v"
                                "NAME must not be connected. Entries that tell of what is stored say \"rebuilt\":true, and have ids of their own that "
                                "stay the same whenever they are told.\n\n" ABOUT_DIRECTORY;
    Ringpost__V1__OperatorRequest request = RINGPOST__V1__OPERATOR_REQUEST__INIT;
    Ringpost__V1__FollowerRebuildRequest rebuild = RINGPOST__V1__FOLLOWER_REBUILD_REQUEST__INIT;
    request.command_case = RINGPOST__V1__OPERATOR_REQUEST__COMMAND_REBUILD;
    request.rebuild = &rebuild;
    return order(about, argc, argv, &request);
}

static int follower_remove(int argc, char **argv)
{
    static const char about[] = "Forgets a follower, and what is kept for it.\v"
                                "NAME must not be connected. Without followers the server writes nothing down for them.\n\n" ABOUT_DIRECTORY;
    Ringpost__V1__OperatorRequest request = RINGPOST__V1__OPERATOR_REQUEST__INIT;
    Ringpost__V1__FollowerRemoveRequest gone = RINGPOST__V1__FOLLOWER_REMOVE_REQUEST__INIT;
    request.command_case = RINGPOST__V1__OPERATOR_REQUEST__COMMAND_REMOVE;
    request.remove = &gone;
    return order(about, argc, argv, &request);
}

int cli_follower(int argc, char **argv)
{
    static const struct cli_command actions[] = {
        {"status", "print who follows, and how far each is", follower_status},
        {"rebuild", "begin anew with all that is stored", follower_rebuild},
        {"remove", "forget one, and what is kept for it", follower_remove},
        {NULL, NULL, NULL},
    };
    return cli_dispatch(actions, "The followers of a running server: `ringpost tail --all --name NAME` makes them.", argc, argv);
}
