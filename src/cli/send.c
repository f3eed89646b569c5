/* cli/send.c - `ringpost send`: one message, acknowledged when it is on the server's disk. */
#include "cli/lines.h"
#include "cli/remote.h"
#include "core/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SEND_BODY_SIZE_MAX (1u << 20) /* read from stdin; the server's own limit is lower and said by it */

struct send_arguments {
    struct remote remote;
    const char *to, *client_msg_id, *text;
    uint64_t room_id;
    int kind;
};

static const char send_about[] =
    "Sends TEXT, or with - what stands on stdin, to a person or a room, and waits until the message is on the server's disk.\v"
    "Prints: MESSAGE-ID ROOM-ID SEQUENCE\n"
    "\n"
    "A message that was not acknowledged may be sent again with the same --client-id: the server keeps it only once.\n"
    "\n"
    "Examples:\n"
    "  ringpost send --to bob 'Lunch?'\n"
    "  uptime | ringpost send --room 281474976710657 -\n"
    "  ringpost send --to bob --kind image - < cat.png";

static const struct argp_option send_options[] = {
    {"to", 't', "NAME", 0, "the person to send to", 0},
    {"room", 'r', "ID", 0, "the room to send to", 0},
    {"kind", 'k', "KIND", 0, "text (default), emoji, image, video, audio, file or custom", 0},
    {"client-id", 'i', "ID", 0, "1 to 64 bytes that name this message among yours (default: random)", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static bool parse_kind(const char *text, int *kind)
{
    const ProtobufCEnumDescriptor *kinds = &ringpost__v1__message_kind__descriptor;
    for (unsigned i = 0; i < kinds->n_values; i++) {
        if (strcasecmp(kinds->values[i].name, text) != 0) continue;
        *kind = kinds->values[i].value;
        return true;
    }
    return false;
}

static error_t send_parse(int key, char *argument, struct argp_state *state)
{
    struct send_arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &arguments->remote; return 0;
    case 't': arguments->to = argument; return 0;
    case 'i': arguments->client_msg_id = argument; return 0;
    case 'r':
        if (!remote_parse_number(argument, 1, UINT64_MAX, &arguments->room_id)) argp_error(state, "--room takes the number of a room");
        return 0;
    case 'k':
        if (!parse_kind(argument, &arguments->kind)) argp_error(state, "there is no kind `%s`", argument);
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->text != NULL) argp_error(state, "one TEXT, please; quote it");
        arguments->text = argument;
        return 0;
    case ARGP_KEY_END:
        if (arguments->text == NULL) argp_error(state, "TEXT is missing");
        if ((arguments->to == NULL) == (arguments->room_id == 0)) argp_error(state, "either --to or --room says where to");
        if (arguments->client_msg_id != NULL && (arguments->client_msg_id[0] == '\0' || strlen(arguments->client_msg_id) > 64))
            argp_error(state, "--client-id takes 1 to 64 bytes");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* The text of the command line, or stdin to its end. The line end that every command's output has is not part of a text. */
static bool read_body(const struct send_arguments *arguments, struct writer *body)
{
    if (strcmp(arguments->text, "-") != 0) {
        writer_raw(body, arguments->text, strlen(arguments->text));
        return !body->failed;
    }
    size_t got;
    char bytes[4096];
    while (!body->failed && (got = fread(bytes, 1, sizeof bytes, stdin)) > 0) writer_raw(body, bytes, got);
    bool is_text = arguments->kind == RINGPOST__V1__MESSAGE_KIND__TEXT || arguments->kind == RINGPOST__V1__MESSAGE_KIND__EMOJI;
    if (is_text && body->len > 0 && body->data[body->len - 1] == '\n') body->len--;
    return !body->failed && !ferror(stdin);
}

static void print_sent(const struct send_arguments *arguments, const Ringpost__V1__SendResponse *sent)
{
    if (arguments->remote.json)
        line_print_json(stdout, &sent->base);
    else
        printf("%llu %llu %llu\n", (unsigned long long)sent->msg_id, (unsigned long long)sent->room_id, (unsigned long long)sent->seq);
}

static enum cli_exit send_message(struct send_arguments *arguments, const struct writer *body)
{
    char client_msg_id[65];
    uint64_t random;
    clock_random(&random, sizeof random);
    snprintf(client_msg_id, sizeof client_msg_id, "cli-%016llx", (unsigned long long)random);
    if (arguments->client_msg_id != NULL) snprintf(client_msg_id, sizeof client_msg_id, "%s", arguments->client_msg_id);

    Ringpost__V1__SendRequest send;
    Ringpost__V1__Request request;
    Ringpost__V1__Response *response;
    ringpost__v1__send_request__init(&send);
    ringpost__v1__request__init(&request);
    send.room_id = arguments->room_id;
    send.client_msg_id = client_msg_id;
    send.kind = (Ringpost__V1__MessageKind)arguments->kind;
    send.body = (ProtobufCBinaryData){body->len, body->data};
    request.method_case = RINGPOST__V1__REQUEST__METHOD_SEND;
    request.send = &send;
    if (arguments->to != NULL) {
        Ringpost__V1__User *user;
        enum cli_exit found = remote_find_user(&arguments->remote, arguments->to, &user);
        if (found != CLI_EXIT_OK) return found;
        send.to_user_id = user->user_id;
        ringpost__v1__user__free_unpacked(user, NULL);
    }
    enum cli_exit code = remote_call(&arguments->remote, &request, &response);
    if (code == CLI_EXIT_UNREACHABLE) remote_complain("sending it again with --client-id %s cannot make it two", client_msg_id);
    if (code != CLI_EXIT_OK) return code;
    print_sent(arguments, response->send);
    ringpost__v1__response__free_unpacked(response, NULL);
    return CLI_EXIT_OK;
}

int cli_send(int argc, char **argv)
{
    static const struct argp_child children[] = {REMOTE_ARGP_CHILD, {NULL, 0, NULL, 0}};
    static const struct argp argp = {.options = send_options, .parser = send_parse, .args_doc = "TEXT|-", .doc = send_about,
                                     .children = children};
    static struct send_arguments arguments; /* large: it holds the identity */
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    struct writer body;
    writer_init(&body, SEND_BODY_SIZE_MAX);
    enum cli_exit code = CLI_EXIT_FAILED;
    if (!read_body(&arguments, &body)) {
        remote_complain("stdin cannot be read, or holds more than %u bytes", SEND_BODY_SIZE_MAX);
    } else {
        code = remote_open(&arguments.remote, false);
        if (code == CLI_EXIT_OK) {
            code = send_message(&arguments, &body);
            remote_close(&arguments.remote);
        }
    }
    writer_deinit(&body);
    return code;
}
