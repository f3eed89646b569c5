#include "core/check.h"
#include "net/server.h"
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char text[256];

Test(listen, addresses_that_are_refused)
{
    static const struct {
        const char *address, *says;
        enum result want;
    } cases[] = {
        {"", "host:port", RESULT_MALFORMED},
        {"localhost", "host:port", RESULT_MALFORMED},
        {":80", "host:port", RESULT_MALFORMED},
        {"127.0.0.1:", "host:port", RESULT_MALFORMED},
        {"::1:80", "host:port", RESULT_MALFORMED},
        {"[]:80", "host:port", RESULT_MALFORMED},
        {"127.0.0.1:http", "no port", RESULT_MALFORMED},
        {"127.0.0.1:99999", "no port from 0 to 65535", RESULT_MALFORMED},
        {"127.0.0.1:65536", "no port", RESULT_MALFORMED},
        {"127.0.0.1:-1", "no port", RESULT_MALFORMED},
        {"127.0.0.1:+80", "no port", RESULT_MALFORMED},
        {"127.0.0.1: 80", "no port", RESULT_MALFORMED},
        {"127.0.0.1:80 ", "no port", RESULT_MALFORMED},
        {"127.0.0.1:0x50", "no port", RESULT_MALFORMED},
        {"300.0.0.1:80", "not an address", RESULT_MALFORMED},
        {"192.0.2.1:7800", "not an address of this machine", RESULT_MISSING},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int fd = -1;
        uint16_t port;
        cr_expect_eq(server_listen(cases[i].address, &fd, &port, text, sizeof text), cases[i].want, "%s",
                     cases[i].address);
        cr_expect(strstr(text, cases[i].says) != NULL && strstr(text, "Remedy: ") != NULL, "%s: %s", cases[i].address,
                  text);
        bool malformed = cases[i].want == RESULT_MALFORMED;
        cr_expect_eq(server_check_address(cases[i].address, text, sizeof text), malformed ? RESULT_MALFORMED : RESULT_OK, "%s",
                     cases[i].address);
    }
}

Test(listen, group_shares_one_port_and_others_are_refused)
{
    int fds[4], other;
    uint16_t port, other_port;
    cr_assert_eq(server_listen_group("127.0.0.1:0", 4, fds, &port, text, sizeof text), RESULT_OK, "%s", text);
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    for (int i = 0; i < 4; i++) {
        struct sockaddr_in bound;
        socklen_t size = sizeof bound;
        cr_assert_eq(getsockname(fds[i], (struct sockaddr *)&bound, &size), 0);
        cr_expect_eq(ntohs(bound.sin_port), port);
    }
    cr_expect_eq(server_listen_group(address, 2, &other, &other_port, text, sizeof text), RESULT_EXISTS);
    cr_expect(strstr(text, "is in use") != NULL, "%s", text);
    for (int i = 0; i < 4; i++) close(fds[i]);
    cr_expect_eq(server_listen(address, &other, &other_port, text, sizeof text), RESULT_OK, "%s", text);
    cr_expect_eq(other_port, port);
    close(other);
}

Test(listen, accepted_connections_do_not_delay)
{
    int fd;
    uint16_t port;
    cr_assert_eq(server_listen("127.0.0.1:0", &fd, &port, text, sizeof text), RESULT_OK);
    int client = socket(AF_INET, SOCK_STREAM, 0), on = 0;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cr_assert_eq(connect(client, (struct sockaddr *)&address, sizeof address), 0);
    int accepted = accept(fd, NULL, NULL);
    socklen_t size = sizeof on;
    cr_assert_eq(getsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
    cr_expect_neq(on, 0);
    close(accepted);
    close(client);
    close(fd);
}

Test(listen, version_six_takes_both)
{
    int fd;
    uint16_t port;
    enum result res = server_listen("[::]:0", &fd, &port, text, sizeof text);
    if (res != RESULT_OK) cr_skip_test("no IPv6 here: %s", text);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cr_expect_eq(connect(client, (struct sockaddr *)&address, sizeof address), 0);
    close(client);
    close(fd);
}
