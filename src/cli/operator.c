/* cli/operator.c - see operator.h. */
#include "cli/operator.h"
#include "cli/load.h"
#include "cli/remote.h"
#include "core/check.h"
#include "shard/worker/operator.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FRAME_SIZE_MAX (64u << 20) /* the server is trusted: it has our data */
#define CALL_TIMEOUT_MS 30000

enum cli_exit operator_take_directory(struct operator_client *client, int *argc, char **argv)
{
    static struct config config; /* large: lists of texts */
    static struct load load;
    char text[1024] = "";
    enum result result = load_take(&load, argc, argv, text, sizeof text);
    if (result == RESULT_OK) result = load_config(&load, &config, text, sizeof text);
    if (result != RESULT_OK) {
        remote_complain("%s", text);
        return load_exit_code(result);
    }
    snprintf(client->data_dir, sizeof client->data_dir, "%s", config.data_dir);
    return CLI_EXIT_OK;
}

enum cli_exit operator_open(struct operator_client *client, bool quiet)
{
    /* By way of the open directory: a socket's name may have 107 bytes, a data directory's path has any number. */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int dir_fd = open(client->data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int error = dir_fd < 0 ? errno : 0;
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/" OPERATOR_SOCKET, dir_fd);
    if (error == 0 && (client->fd < 0 || connect(client->fd, (struct sockaddr *)&address, sizeof address) != 0)) error = errno;
    if (dir_fd >= 0) close(dir_fd);
    tcpframe_parser_init(&client->parser);
    client->in = SLICE_EMPTY;
    if (error == 0) return CLI_EXIT_OK;
    operator_close(client);
    bool nobody = error == ENOENT || error == ECONNREFUSED;
    if (!quiet && nobody) remote_complain("no server has %s open (--data-dir or --config says which one)", client->data_dir);
    else if (!quiet) remote_complain("%s/" OPERATOR_SOCKET ": %s", client->data_dir, strerror(error));
    return nobody ? CLI_EXIT_UNREACHABLE : CLI_EXIT_FAILED;
}

void operator_close(struct operator_client *client)
{
    if (client->fd >= 0) close(client->fd);
    client->fd = -1;
    tcpframe_parser_deinit(&client->parser);
}

static bool send_all(int fd, const void *data, size_t len)
{
    const uint8_t *at = data;
    while (len > 0) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return false;
        at += sent;
        len -= (size_t)sent;
    }
    return true;
}

bool operator_send(struct operator_client *client, const Ringpost__V1__OperatorRequest *request)
{
    size_t len = ringpost__v1__operator_request__get_packed_size(request);
    uint8_t *frame = malloc(TCPFRAME_HEAD_SIZE + len);
    if (frame == NULL) return false;
    tcpframe_write_head(frame, (uint32_t)len);
    ringpost__v1__operator_request__pack(request, frame + TCPFRAME_HEAD_SIZE);
    bool sent = send_all(client->fd, frame, TCPFRAME_HEAD_SIZE + len);
    free(frame);
    return sent;
}

bool operator_has_more(struct operator_client *client)
{
    struct pollfd wait = {.fd = client->fd, .events = POLLIN};
    return client->in.len > 0 || poll(&wait, 1, 0) > 0;
}

static enum operator_got receive(struct operator_client *client, int timeout_ms)
{
    struct pollfd wait = {.fd = client->fd, .events = POLLIN};
    int ready = poll(&wait, 1, timeout_ms);
    if (ready <= 0) return OPERATOR_NOTHING;
    ssize_t got = recv(client->fd, client->bytes, sizeof client->bytes, 0);
    if (got < 0 && errno == EINTR) return OPERATOR_NOTHING;
    if (got <= 0) return OPERATOR_GONE;
    client->in = slice_of(client->bytes, (size_t)got);
    return OPERATOR_GOT;
}

enum operator_got operator_next(struct operator_client *client, int timeout_ms, Ringpost__V1__OperatorResponse **response)
{
    for (;;) {
        struct slice frame;
        enum tcpframe_event event = tcpframe_parser_feed(&client->parser, &client->in, FRAME_SIZE_MAX, &frame);
        if (event == TCPFRAME_FRAME) {
            *response = ringpost__v1__operator_response__unpack(NULL, frame.len, frame.data);
            return *response == NULL ? OPERATOR_GONE : OPERATOR_GOT;
        }
        if (event == TCPFRAME_TOO_LARGE || event == TCPFRAME_NOMEM) return OPERATOR_GONE;
        if (event == TCPFRAME_HEARTBEAT) continue;
        enum operator_got got = receive(client, timeout_ms);
        if (got != OPERATOR_GOT) return got;
    }
}

enum cli_exit operator_call(struct operator_client *client, const Ringpost__V1__OperatorRequest *request,
                            Ringpost__V1__OperatorResponse **response)
{
    bool sent = operator_send(client, request);
    if (!sent || operator_next(client, CALL_TIMEOUT_MS, response) != OPERATOR_GOT) {
        remote_complain("the server did not answer");
        return CLI_EXIT_UNREACHABLE;
    }
    if ((*response)->answer_case != RINGPOST__V1__OPERATOR_RESPONSE__ANSWER_ERROR) return CLI_EXIT_OK;
    remote_complain("%s (%s)", (*response)->error->message, (*response)->error->reason);
    ringpost__v1__operator_response__free_unpacked(*response, NULL);
    return CLI_EXIT_REFUSED;
}
