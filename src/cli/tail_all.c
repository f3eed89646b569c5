/* cli/tail_all.c - `ringpost tail --all`: what happens on the whole server, one JSON object a line.
 * A named follower's position is kept by the server: lines are written out and flushed, then acknowledged; so after a crash of either side
 * some are printed again and none is missing. Without a name nothing is left behind, and a lost connection is the end. */
#include "api/follower_place.h"
#include "cli/lines.h"
#include "cli/operator.h"
#include "cli/remote.h"
#include "core/check.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAIT_MS      500
#define RETRY_MS_MAX 60000u
#define KINDS_MAX 32

struct tail {
    struct operator_client client;
    const char *name, *from;
    char *kinds[KINDS_MAX];
    size_t kind_count;
    uint64_t count; /* 0: no end */
    bool no_bodies, no_follow;
    /* the server's answer */
    struct follower_place *places, *newest; /* by shard; owned */
    uint32_t shard_count;
    struct writer position; /* the text of `places` */
    bool moved;             /* since the last acknowledgement */
    bool refused, told;     /* by this connection: an error; an entry */
    uint32_t retry_ms;
    uint64_t printed;
};

static const char tail_all_about[] =
    "Prints what happens on the whole server, one JSON object a line, until you stop it. For operators: whoever may read the data directory.\v"
    "  {\"id\":\"0-15\",\"position\":\"0:15,1:3\",\"shard\":0,\"rebuilt\":false,\"time_ms\":\"1767225600000\",\"gone\":false,\n"
    "   \"message\":{\"room_id\":\"274877906945\",\"seq\":\"3\",\"sender_name\":\"bob\",\"text\":\"hi\",…}}\n"
    "\n"
    "Lines come in the order of each shard. An id is the same whenever its line is printed again. docs/operations.md tells of every kind.\n"
    "\n"
    "With --name the server keeps how far this follower is: after a crash of either side it goes on there; lines may be printed again, none is "
    "missing. What it has not taken is kept for it, up to follower_backlog_max entries on each shard; `ringpost follower` lists, rebuilds and "
    "removes. Without --name nothing is left behind.\n"
    "\n"
    "The server is found by its data directory, as `ringpost serve` finds it: --data-dir DIR, --config FILE, RINGPOST_DATA_DIR.\n"
    "\n"
    "Examples:\n"
    "  ringpost tail --all\n"
    "  ringpost tail --all --kind message --kind user_created | jq -r .id\n"
    "  ringpost tail --all --name export --from start >> events.jsonl\n"
    "  ringpost tail --all --from 0:15,1:3 --no-follow";

enum { KEY_ALL = 0x100, KEY_NAME, KEY_FROM, KEY_KIND, KEY_NO_BODIES, KEY_NO_FOLLOW };
static const struct argp_option tail_all_options[] = {
    {"all", KEY_ALL, NULL, 0, "of the whole server", 0},
    {"name", KEY_NAME, "NAME", 0, "a follower whose position the server keeps", 0},
    {"from", KEY_FROM, "POSITION", 0, "where a new one begins: start: with all that is stored; a position: behind it (default: now)", 0},
    {"kind", KEY_KIND, "KIND", 0, "only this kind of entry, such as message; may be repeated", 0},
    {"no-bodies", KEY_NO_BODIES, NULL, 0, "ids only: nothing that anybody wrote", 0},
    {"no-follow", KEY_NO_FOLLOW, NULL, 0, "stop when all is printed that had happened at the start", 0},
    {"count", 'n', "N", 0, "stop after N lines", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t tail_all_parse(int key, char *argument, struct argp_state *state)
{
    struct tail *tail = state->input;
    switch (key) {
    case KEY_ALL: return 0;
    case KEY_NAME: tail->name = argument; return 0;
    case KEY_FROM: tail->from = argument; return 0;
    case KEY_KIND:
        if (tail->kind_count == KINDS_MAX) argp_error(state, "--kind: at most %d", KINDS_MAX);
        tail->kinds[tail->kind_count++] = argument;
        return 0;
    case KEY_NO_BODIES: tail->no_bodies = true; return 0;
    case KEY_NO_FOLLOW: tail->no_follow = true; return 0;
    case 'n':
        if (!remote_parse_number(argument, 1, UINT64_MAX, &tail->count)) argp_error(state, "--count takes a number above 0");
        return 0;
    case ARGP_KEY_ARG: argp_error(state, "`%s` is one too many", argument); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- places ---- */

static void write_position(struct tail *tail)
{
    writer_reset(&tail->position);
    follower_places_write(&tail->position, tail->places, tail->shard_count);
    writer_u8(&tail->position, 0);
    if (tail->position.failed) check_fatal("out of memory for a position of %u shards", tail->shard_count);
}

static bool move(struct tail *tail, uint32_t shard, const Ringpost__V1__FollowerPlace *place)
{
    if (shard >= tail->shard_count || place == NULL) return false;
    tail->places[shard] = (struct follower_place){
        .number = place->number, .rebuilding = place->rebuilding != 0, .kind = place->kind, .a = place->a, .b = place->b};
    tail->moved = true;
    return true;
}

static bool read_places(struct tail *tail, const Ringpost__V1__TailStarted *started)
{
    free(tail->places);
    free(tail->newest);
    tail->shard_count = started->shard_count;
    tail->places = calloc(started->shard_count + 1u, sizeof *tail->places);
    tail->newest = calloc(started->shard_count + 1u, sizeof *tail->newest);
    return tail->places != NULL && tail->newest != NULL &&
           follower_places_read(tail->places, tail->shard_count, slice_text(started->position)) == RESULT_OK &&
           follower_places_read(tail->newest, tail->shard_count, slice_text(started->newest)) == RESULT_OK;
}

static bool is_over(const struct tail *tail)
{
    if (tail->count != 0 && tail->printed >= tail->count) return true;
    bool told = tail->no_follow && tail->shard_count > 0;
    for (uint32_t i = 0; i < tail->shard_count && told; i++) told = follower_place_compare(&tail->places[i], &tail->newest[i]) >= 0;
    return told || cli_is_stopped();
}

/* ---- what the server says ---- */

/* False: it says what this version does not understand. */
static bool take_entry(struct tail *tail, Ringpost__V1__FollowerEntry *entry)
{
    if (!move(tail, entry->shard, entry->place)) return false;
    write_position(tail);
    tail->told = true;
    line_print_entry(stdout, entry, (const char *)tail->position.data);
    tail->printed++;
    return true;
}

static enum cli_exit take(struct tail *tail, Ringpost__V1__OperatorResponse *response)
{
    bool good = true;
    switch ((int)response->answer_case) {
    case RINGPOST__V1__OPERATOR_RESPONSE__ANSWER_STARTED: good = read_places(tail, response->started); break;
    case RINGPOST__V1__OPERATOR_RESPONSE__ANSWER_ENTRY: good = take_entry(tail, response->entry); break;
    case RINGPOST__V1__OPERATOR_RESPONSE__ANSWER_PROGRESS: good = move(tail, response->progress->shard, response->progress->place); break;
    case RINGPOST__V1__OPERATOR_RESPONSE__ANSWER_ERROR:
        remote_complain("%s (%s)", response->error->message, response->error->reason);
        tail->refused = true;
        /* A shard that is damaged, or a server that stops: it may be mended, or come back. */
        return strcmp(response->error->reason, "unavailable") == 0 ? CLI_EXIT_UNREACHABLE : CLI_EXIT_REFUSED;
    default: break; /* a newer server's */
    }
    if (good) return CLI_EXIT_OK;
    remote_complain("the server's answer is not understood: is it of another version?");
    return CLI_EXIT_FAILED;
}

/* What is not written out is not done. False: the server is gone. */
static bool acknowledge(struct tail *tail)
{
    if (!tail->moved || fflush(stdout) != 0) return true;
    Ringpost__V1__OperatorRequest request;
    Ringpost__V1__TailAcknowledge ack;
    ringpost__v1__operator_request__init(&request);
    ringpost__v1__tail_acknowledge__init(&ack);
    write_position(tail);
    ack.position = (char *)tail->position.data;
    request.command_case = RINGPOST__V1__OPERATOR_REQUEST__COMMAND_ACKNOWLEDGE;
    request.acknowledge = &ack;
    tail->moved = false;
    return operator_send(&tail->client, &request);
}

static bool send_tail(struct tail *tail)
{
    char *from = strdup(tail->from != NULL ? tail->from : ""), *name = strdup(tail->name != NULL ? tail->name : "");
    Ringpost__V1__OperatorRequest request;
    Ringpost__V1__TailRequest begin;
    ringpost__v1__operator_request__init(&request);
    ringpost__v1__tail_request__init(&begin);
    begin.name = name;
    begin.from = from;
    begin.kinds = tail->kinds;
    begin.n_kinds = tail->kind_count;
    begin.no_bodies = tail->no_bodies;
    request.command_case = RINGPOST__V1__OPERATOR_REQUEST__COMMAND_TAIL;
    request.tail = &begin;
    bool sent = from != NULL && name != NULL && operator_send(&tail->client, &request);
    free(from);
    free(name);
    return sent;
}

/* One connection. UNREACHABLE: the server is gone. */
static enum cli_exit follow(struct tail *tail)
{
    if (!send_tail(tail)) return CLI_EXIT_UNREACHABLE;
    while (!is_over(tail)) {
        Ringpost__V1__OperatorResponse *response;
        enum operator_got got = operator_next(&tail->client, WAIT_MS, &response);
        if (got == OPERATOR_GONE) return CLI_EXIT_UNREACHABLE;
        if (got == OPERATOR_GOT) {
            enum cli_exit code = take(tail, response);
            ringpost__v1__operator_response__free_unpacked(response, NULL);
            if (code != CLI_EXIT_OK) return code;
        }
        if (ferror(stdout)) return CLI_EXIT_FAILED;
        bool pause = got == OPERATOR_NOTHING || !operator_has_more(&tail->client);
        if (pause && !acknowledge(tail)) return CLI_EXIT_UNREACHABLE;
    }
    return acknowledge(tail) && !ferror(stdout) ? CLI_EXIT_OK : CLI_EXIT_FAILED;
}

/* Until a signal comes, at most. */
static void wait_ms(uint32_t ms)
{
    for (; ms > 0 && !cli_is_stopped(); ms -= ms < WAIT_MS ? ms : WAIT_MS) {
        const struct timespec pause = {.tv_nsec = (ms < WAIT_MS ? ms : WAIT_MS) * 1000000l};
        nanosleep(&pause, NULL);
    }
}

/* False: it ends instead. A server that answered, and does not let it follow, is asked less and less often: each try is logged there. */
static bool will_try_again(struct tail *tail)
{
    if (tail->name == NULL) {
        remote_complain("%s; the last position: %s", tail->refused ? "it ends here" : "the server is gone",
                        tail->position.len > 0 ? (const char *)tail->position.data : "none");
        return false;
    }
    bool again = tail->refused && !tail->told;
    tail->retry_ms = !again ? WAIT_MS : 2 * tail->retry_ms < RETRY_MS_MAX ? 2 * tail->retry_ms : RETRY_MS_MAX;
    if (tail->refused) remote_complain("trying again in %u ms", tail->retry_ms);
    else remote_complain("the server is gone; trying again");
    tail->moved = tail->refused = tail->told = false;
    wait_ms(tail->retry_ms);
    return true;
}

/* A named follower stays connected through everything, as `ringpost tail` does. */
static enum cli_exit follow_on(struct tail *tail)
{
    tail->retry_ms = WAIT_MS;
    enum cli_exit code = operator_open(&tail->client, false);
    while (code == CLI_EXIT_OK) {
        code = follow(tail);
        operator_close(&tail->client);
        if (code != CLI_EXIT_UNREACHABLE || cli_is_stopped() || !will_try_again(tail)) break;
        while (!cli_is_stopped() && (code = operator_open(&tail->client, true)) == CLI_EXIT_UNREACHABLE) wait_ms(WAIT_MS);
        if (cli_is_stopped()) code = code == CLI_EXIT_OK ? CLI_EXIT_OK : CLI_EXIT_UNREACHABLE;
    }
    return code;
}

int cli_tail_all(int argc, char **argv)
{
    static const struct argp argp = {.options = tail_all_options, .parser = tail_all_parse, .doc = tail_all_about};
    static struct tail tail;
    tail.client.fd = -1;
    writer_init(&tail.position, 0);
    enum cli_exit code = operator_take_directory(&tail.client, &argc, argv);
    if (code != CLI_EXIT_OK) return code;
    argp_parse(&argp, argc, argv, 0, NULL, &tail);
    cli_stop_on_signals();
    code = follow_on(&tail);
    writer_deinit(&tail.position);
    free(tail.places);
    free(tail.newest);
    return code;
}
