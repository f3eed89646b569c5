/* cli/tail.c - `ringpost tail`: the user's stream, one line an entry, from where the last tail stopped.
 * The position is kept after what was printed, so an interrupted tail prints an entry again rather than losing it. */
#include "cli/lines.h"
#include "cli/remote.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define TAIL_WAIT_MS 1000 /* a signal that comes just before the wait is seen after it */

struct tail_arguments {
    struct remote remote;
    uint64_t room_id; /* 0: all */
    uint64_t count;   /* 0: no end */
    uint64_t since;
    bool since_given, since_now;
    bool begun_anew; /* the stream is another one than that of the kept position, and that is not moved yet */
};

static const char tail_about[] =
    "Prints what happens to you, one line an entry: messages in your rooms, rooms that come and go, what you read elsewhere. It goes on where the "
    "last `ringpost tail` of this login stopped, and stays connected through everything until you stop it.\v"
    "With --json each line is an Event of the API; text messages have their text in a field of its own:\n"
    "\n"
    "  {\"sync_key\":\"7\",\"message\":{\"seq\":\"3\",\"sender_name\":\"bob\",\"text\":\"hi\",…}}\n"
    "\n"
    "In rooms above the server's fan-out threshold messages are no entries of the stream: they are printed as they come, with "
    "sync_key 0, and what comes while not connected is not printed.\n"
    "\n"
    "Examples:\n"
    "  ringpost tail\n"
    "  ringpost tail --since 0 --count 10          the oldest ten that are kept\n"
    "  ringpost tail --since now --room 281474976710657\n"
    "  ringpost tail --json | jq -r 'select(.message.text) | .message.text'";

enum { KEY_SINCE = 0x100, KEY_ALL };
static const struct argp_option tail_options[] = {
    {"room", 'r', "ID", 0, "only what concerns this room", 0},
    {"since", KEY_SINCE, "KEY", 0, "begin after this sync key; 0: the oldest kept; now: only what is new", 0},
    {"count", 'n', "N", 0, "stop after N lines", 0},
    {"all", KEY_ALL, NULL, 0, "what happens on the whole server, for its operator: see `ringpost tail --all --help`", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t tail_parse(int key, char *argument, struct argp_state *state)
{
    struct tail_arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &arguments->remote; return 0;
    case 'r':
        if (!remote_parse_number(argument, 1, UINT64_MAX, &arguments->room_id)) argp_error(state, "--room takes the number of a room");
        return 0;
    case 'n':
        if (!remote_parse_number(argument, 1, UINT64_MAX, &arguments->count)) argp_error(state, "--count takes a number above 0");
        return 0;
    case KEY_SINCE:
        arguments->since_given = true;
        arguments->since_now = strcmp(argument, "now") == 0;
        if (!arguments->since_now && !remote_parse_number(argument, 0, UINT64_MAX, &arguments->since))
            argp_error(state, "--since takes a number or `now`");
        return 0;
    case ARGP_KEY_ARG: argp_error(state, "`%s` is one too many", argument); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static uint64_t event_room(const Ringpost__V1__Event *event)
{
    switch ((int)event->kind_case) {
    case RINGPOST__V1__EVENT__KIND_MESSAGE: return event->message->room_id;
    case RINGPOST__V1__EVENT__KIND_READ: return event->read->room_id;
    case RINGPOST__V1__EVENT__KIND_ROOM: return event->room->room != NULL ? event->room->room->room_id : 0;
    default: return 0;
    }
}

/* True when it was printed. */
static bool tail_print(const struct tail_arguments *arguments, const Ringpost__V1__Event *event)
{
    if (arguments->room_id != 0 && event_room(event) != arguments->room_id) return false;
    if (arguments->remote.json)
        line_print_json(stdout, &event->base);
    else
        line_print_event(stdout, event);
    return true;
}

static bool tail_take(struct tail_arguments *arguments, const struct client_event *event)
{
    arguments->begun_anew |= event->other_stream;
    if (event->kind == CLIENT_EVENT_RESET)
        remote_complain(event->other_stream ? "the server was restored from a backup: some entries that were printed are not there any more, and "
                                              "others in their place were not printed; going on with what is new"
                                            : "some entries are older than what the server keeps; going on with what it has");
    if (event->kind == CLIENT_EVENT_OFFLINE)
        remote_complain("%s; trying again", client_text(arguments->remote.client));
    if (event->kind != CLIENT_EVENT_PUSH) return false;
    if (event->push->kind_case == RINGPOST__V1__PUSH__KIND_EVENT) return tail_print(arguments, event->push->event);
    if (event->push->kind_case != RINGPOST__V1__PUSH__KIND_ROOM_MESSAGE) return false;
    Ringpost__V1__Event large; /* the same shape, whatever the room's size */
    ringpost__v1__event__init(&large);
    large.kind_case = RINGPOST__V1__EVENT__KIND_MESSAGE;
    large.message = event->push->room_message;
    return tail_print(arguments, &large);
}

static void tail_keep_position(struct tail_arguments *arguments, bool wait)
{
    struct remote *remote = &arguments->remote;
    if (fflush(stdout) != 0) return; /* not printed: to be printed again */
    uint64_t key = client_taken_key(remote->client);
    const char *epoch = client_taken_epoch(remote->client);
    if (key == remote->identity.sync_key && strcmp(epoch, remote->identity.stream_epoch) == 0) return;
    enum result res = arguments->begun_anew ? identity_move(&remote->identity, key, epoch, wait)
                                            : identity_advance(&remote->identity, key, epoch, wait);
    if (res == RESULT_OK) arguments->begun_anew = false;
    if (res != RESULT_OK && res != RESULT_BUSY) remote_complain("the position cannot be kept: %s", result_text(res));
}

static enum cli_exit tail_follow(struct tail_arguments *arguments)
{
    struct client *client = arguments->remote.client;
    uint64_t printed = 0;
    while (!cli_is_stopped() && (arguments->count == 0 || printed < arguments->count)) {
        struct client_event event;
        if (client_next(client, &event)) {
            printed += tail_take(arguments, &event) ? 1 : 0;
            client_event_release(&event);
            continue;
        }
        tail_keep_position(arguments, false);
        if (ferror(stdout)) return CLI_EXIT_FAILED;
        if (client_state(client) == CLIENT_REFUSED) return remote_explain(&arguments->remote, RESULT_DENIED, NULL);
        client_wait(client, TAIL_WAIT_MS);
    }
    tail_keep_position(arguments, true);
    return ferror(stdout) ? CLI_EXIT_FAILED : CLI_EXIT_OK;
}

/* Connects first: only then is it known what is new, and whether there is a server at all. */
static enum cli_exit tail_start(struct tail_arguments *arguments)
{
    struct client *client = arguments->remote.client;
    while (!cli_is_stopped() && client_state(client) != CLIENT_READY) {
        if (client_state(client) == CLIENT_REFUSED) return remote_explain(&arguments->remote, RESULT_DENIED, NULL);
        if (client_state(client) == CLIENT_UNREACHABLE) return remote_explain(&arguments->remote, RESULT_IO, NULL);
        client_wait(client, TAIL_WAIT_MS);
    }
    const struct identity *identity = &arguments->remote.identity;
    if (arguments->since_now) client_follow(client, client_newest_key(client), client_newest_epoch(client));
    else if (arguments->since_given) client_follow(client, arguments->since, "");
    else client_follow(client, identity->sync_key, identity->stream_epoch);
    return CLI_EXIT_OK;
}

/* Another command in all but its name: of the server, not of a person. */
static bool wants_all(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--all") == 0) return true;
    return false;
}

int cli_tail(int argc, char **argv)
{
    if (wants_all(argc, argv)) return cli_tail_all(argc, argv);
    static const struct argp_child children[] = {REMOTE_ARGP_CHILD, {NULL, 0, NULL, 0}};
    static const struct argp argp = {.options = tail_options, .parser = tail_parse, .doc = tail_about, .children = children};
    static struct tail_arguments arguments;
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    cli_stop_on_signals();
    enum cli_exit code = remote_open(&arguments.remote, false);
    if (code != CLI_EXIT_OK) return code;
    code = tail_start(&arguments);
    if (code == CLI_EXIT_OK) code = tail_follow(&arguments);
    remote_close(&arguments.remote);
    return code;
}
