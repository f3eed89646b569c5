/* tests/net/tls_fixture.h - files made of the certificates for the length of a test. */
#ifndef TESTS_NET_TLS_FIXTURE_H
#define TESTS_NET_TLS_FIXTURE_H

#include "net/tls_fixture_pem.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FIXTURE_PATH_SIZE 64

/* A file with `text`; its path goes to `path`, whoever calls unlinks it. */
static inline void fixture_write(char path[FIXTURE_PATH_SIZE], const char *text)
{
    snprintf(path, FIXTURE_PATH_SIZE, "/tmp/ringpost-tls-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

#endif
