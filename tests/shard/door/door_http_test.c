/* The HTTP door as a client sees it, as far as it needs no shard: the lobby's loop answers over a real socket. */
#include "api/envelope.h"
#include "core/config.h"
#include "core/refusal.h"
#include "shard/worker/lobby.h"
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
    rig.pages = (struct host_pages){.state = state, .worker_count = 0, .shard_count = 1, .version = "test", .openapi = SLICE_TEXT("{}\n"), .instance_id = "test"};
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

#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

/* Sends just that; the answer up to the end of the connection, or of its head for 101, stands in rig.answer. */
static const char *ask_raw(const char *request)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(rig.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(write(fd, request, strlen(request)), (ssize_t)strlen(request));
    shutdown(fd, SHUT_WR);
    size_t got = 0;
    for (ssize_t n = 1; n > 0 && got < ANSWER_MAX - 1; got += n > 0 ? (size_t)n : 0) n = read(fd, rig.answer + got, ANSWER_MAX - 1 - got);
    rig.answer[got] = '\0';
    close(fd);
    return rig.answer;
}

Test(door_http, a_socket_asked_for_without_upgrade_is_told_what_is_missing, .timeout = 10)
{
    static const struct {
        const char *request, *status, *text;
    } cases[] = {
        {"GET /v1/socket HTTP/1.1\r\nHost: a\r\n\r\n", "426", "header Upgrade: websocket, which is missing"},
        {"GET /mqtt HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\r\n", "426", "header Upgrade: websocket, which is missing"},
        {"GET /v1/socket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", "426", "header Connection: Upgrade, which is missing"},
        {"GET /mqtt HTTP/1.0\r\n" UPGRADE "\r\n", "426", "this is HTTP/1.0"},
        {"GET /v1/socket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "426", "Sec-WebSocket-Version must be 13"},
        {"POST /v1/socket HTTP/1.1\r\nHost: a\r\n\r\n", "405", "Allow: GET\r\n"},
        {"GET /mqtt HTTP/1.1\r\nHost: a\r\n" UPGRADE "\r\n", "400", "header Sec-WebSocket-Protocol: mqtt, which is missing"},
        {"GET /mqtt HTTP/1.1\r\nHost: a\r\n" UPGRADE "Sec-WebSocket-Protocol: mqttv3.1\r\n\r\n", "400", "MQTT 3.1 is not spoken here"},
        {"GET /mqtt HTTP/1.1\r\nHost: a\r\n" UPGRADE "Sec-WebSocket-Protocol: xmqtt\r\n\r\n", "400", "under the subprotocol mqtt"},
        {"GET /mqtt HTTP/1.1\r\nHost: a\r\n" UPGRADE "Sec-WebSocket-Protocol: mqttv3.1,\tmqtt\r\n\r\n", "101", "Sec-WebSocket-Protocol: mqtt\r\n"},
        {"GET /v1/socket HTTP/1.1\r\nHost: a\r\n" UPGRADE "Sec-WebSocket-Protocol: x,\tringpost.v1.json\r\n\r\n", "101", ": ringpost.v1.json\r\n"},
        {"GET /v1/socket HTTP/1.1\r\nHost: a\r\n" UPGRADE "Sec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: ringpost.v1.proto\r\n\r\n",
         "101", ": ringpost.v1.proto\r\n"},
        {"GET /socket HTTP/1.1\r\nHost: a\r\n" UPGRADE "\r\n", "404", "at /v1/socket and, with MQTT, at /mqtt"},
    };
    open_door(HOST_SERVING);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *answer = ask_raw(cases[i].request);
        cr_expect_eq(strncmp(answer + strlen("HTTP/1.1 "), cases[i].status, 3), 0, "%s: %s", cases[i].request, answer);
        cr_expect(strstr(answer, cases[i].text) != NULL, "%s: %s", cases[i].request, answer);
        bool upgrade = strcmp(cases[i].status, "426") == 0;
        cr_expect_eq(strstr(answer, "\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n") != NULL, upgrade, "%s", answer);
        cr_expect_eq(strstr(answer, "upgrade\r\n") != NULL, upgrade, "%s", answer);
    }
    close_door();
}

/* One byte, so that what follows on a terminal begins on its own line; Content-Length has it. */
Test(door_http, every_answer_in_json_ends_its_line, .timeout = 10)
{
    static const char *const lines[] = {"GET /v1/chat/sync", "GET /nothing", "GET /healthz", "GET /readyz", "GET /version",
                                        "GET /openapi.json", "POST /healthz", "GET /v1/socket", "BREW /"};
    open_door(HOST_SERVING);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        const char *answer = ask(lines[i], ""), *body = strstr(answer, "\r\n\r\n");
        unsigned length = 0;
        cr_assert_not_null(body, "%s", lines[i]);
        cr_assert_eq(sscanf(strstr(answer, "Content-Length: "), "Content-Length: %u", &length), 1);
        cr_expect_eq(strlen(body + 4), length, "%s: %s", lines[i], answer);
        cr_expect(length > 0 && body[4 + length - 1] == '\n', "%s: %s", lines[i], answer);
    }
    close_door();
}

Test(door_http, a_page_the_client_has_is_not_sent_again, .timeout = 10)
{
    open_door(HOST_SERVING);
    const char *answer = ask("GET /", "");
    char etag[64] = "", header[160];
    const char *at = strstr(answer, "\r\nETag: ");
    cr_assert_not_null(at, "%s", answer);
    cr_assert_eq(sscanf(at, "\r\nETag: %63s", etag), 1);
    static const char *const forms[] = {"%s", "W/%s", "\"x\", %s", "\"x,\",\tW/%s , \"y\""};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        int len = snprintf(header, sizeof header, "If-None-Match: ");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        len += snprintf(header + len, sizeof header - (size_t)len, forms[i], etag);
#pragma GCC diagnostic pop
        snprintf(header + len, sizeof header - (size_t)len, "\r\n");
        cr_expect_eq(strncmp(ask("GET /", header), "HTTP/1.1 304", 12), 0, "%s", header);
    }
    cr_expect_eq(strncmp(ask("GET /", "If-None-Match: *\r\n"), "HTTP/1.1 304", 12), 0);
    cr_expect_eq(strncmp(ask("GET /", "If-None-Match: \"x\"\r\n"), "HTTP/1.1 200", 12), 0);
    cr_expect_eq(strncmp(ask("GET /", "If-None-Match: \"x\"\r\nIf-None-Match: *\r\n"), "HTTP/1.1 304", 12), 0);
    close_door();
}

Test(door_http, a_refused_origin_is_told_both_values_and_the_remedy, .timeout = 10)
{
    open_door(HOST_SERVING);
    uint64_t noted = refusal_count(REFUSAL_ORIGIN);
    const char *answer = ask_raw("GET /v1/socket HTTP/1.1\r\nHost: ringpost:7800\r\nOrigin: https://chat.example.com\r\n" UPGRADE "\r\n");
    cr_expect_eq(strncmp(answer, "HTTP/1.1 403", 12), 0, "%s", answer);
    cr_expect(strstr(answer, "Origin is https://chat.example.com, ") != NULL && strstr(answer, "as Host ringpost:7800") != NULL, "%s", answer);
    cr_expect(strstr(answer, "allowed_origins") != NULL, "%s", answer);
    ask_raw("POST /v1/account/login HTTP/1.1\r\nHost: ringpost:7800\r\nOrigin: https://chat.example.com\r\nContent-Length: 2\r\n\r\n{}");
    cr_expect(strstr(answer, "as Host ringpost:7800") != NULL, "%s", answer);
    cr_expect_eq(refusal_count(REFUSAL_ORIGIN), noted + 2);
    close_door();
}
