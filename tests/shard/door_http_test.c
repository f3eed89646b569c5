/* The HTTP door as a client sees it, as far as it needs no shard: the lobby's loop answers over a real socket. */
#include "api/envelope.h"
#include "core/config.h"
#include "shard/lobby.h"
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#define ANSWER_MAX 8192

static struct {
    struct config config;
    struct host_pages pages;
    struct lobby *lobby;
    uint16_t port;
    char answer[ANSWER_MAX];
} rig;

static void open_door(int state)
{
    char text[512] = "";
    int fd = -1;
    api_init();
    config_init_defaults(&rig.config);
    rig.pages = (struct host_pages){.state = state, .worker_count = 0, .shard_count = 1, .version = "test", .instance_id = "test"};
    cr_assert_eq(server_listen("127.0.0.1:0", &fd, &rig.port, text, sizeof text), RESULT_OK, "%s", text);
    cr_assert_eq(lobby_start(&rig.lobby, &rig.config, NULL, &rig.pages, &fd, 1, text, sizeof text), RESULT_OK, "%s", text);
    close(fd); /* the lobby has its own */
}

static void close_door(void) { lobby_stop(rig.lobby); }

/* Sends a request of one line and further headers; the answer up to the end of the connection stands in rig.answer. */
static const char *ask(const char *line, const char *headers)
{
    char request[1024];
    int len = snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: test\r\nConnection: close\r\n%s\r\n", line, headers);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(rig.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(write(fd, request, (size_t)len), len);
    size_t got = 0;
    for (ssize_t n = 1; n > 0 && got < ANSWER_MAX - 1; got += n > 0 ? (size_t)n : 0) n = read(fd, rig.answer + got, ANSWER_MAX - 1 - got);
    rig.answer[got] = '\0';
    close(fd);
    return rig.answer;
}

Test(door_http, each_path_takes_its_own_methods, .timeout = 10)
{
    static const struct {
        const char *line, *status, *allow;
    } cases[] = {
        {"GET /healthz", "200", NULL},
        {"HEAD /healthz", "200", NULL},
        {"POST /healthz", "405", "Allow: GET, HEAD\r\n"},
        {"DELETE /", "405", "Allow: GET, HEAD\r\n"},
        {"GET /v1/chat/send", "405", "Allow: POST\r\n"},
        {"GET /v1/chat/sync", "401", NULL},
        {"HEAD /v1/chat/sync", "401", NULL},
        {"DELETE /v1/chat/sync", "405", "Allow: GET, HEAD, POST\r\n"},
        {"PUT /v1/account/devices", "405", "Allow: GET, HEAD, POST\r\n"},
        {"GET /v1/account/auth", "400", NULL},
        {"GET /nothing", "404", NULL},
        {"POST /nothing", "404", NULL},
    };
    open_door(HOST_SERVING);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *answer = ask(cases[i].line, "");
        cr_expect_eq(strncmp(answer + strlen("HTTP/1.1 "), cases[i].status, 3), 0, "%s: %.40s", cases[i].line, answer);
        cr_expect_eq(strstr(answer, "Allow: ") != NULL, cases[i].allow != NULL, "%s: %s", cases[i].line, answer);
        if (cases[i].allow != NULL) cr_expect(strstr(answer, cases[i].allow) != NULL, "%s: %s", cases[i].line, answer);
    }
    close_door();
}

Test(door_http, answers_of_the_api_are_kept_by_no_cache, .timeout = 10)
{
    open_door(HOST_SERVING);
    const char *answer = ask("GET /v1/chat/sync", "");
    cr_expect(strstr(answer, "Cache-Control: no-store\r\n") != NULL, "%s", answer);
    cr_expect(strstr(answer, "X-Content-Type-Options: nosniff\r\n") != NULL, "%s", answer);
    cr_expect(strstr(answer, "WWW-Authenticate: Bearer\r\n") != NULL, "%s", answer);
    cr_expect(strstr(answer, "Access-Control") == NULL, "%s", answer);
    close_door();
}

Test(door_http, a_server_that_recovers_answers_but_serves_nothing, .timeout = 10)
{
    open_door(HOST_RECOVERING);
    cr_expect(strncmp(ask("GET /healthz", ""), "HTTP/1.1 200", 12) == 0);
    cr_expect(strncmp(ask("GET /readyz", ""), "HTTP/1.1 503", 12) == 0);
    cr_expect(strstr(rig.answer, "\"recovering\"") != NULL, "%s", rig.answer);
    cr_expect(strncmp(ask("GET /v1/chat/sync", ""), "HTTP/1.1 503", 12) == 0);
    cr_expect(strstr(rig.answer, "\"reason\":\"not_ready\"") != NULL, "%s", rig.answer);
    close_door();
}
