/* net/listen.c - binding the port: one listening socket per worker, shared by SO_REUSEPORT, refused to a second
 * process. SO_REUSEPORT alone would let a second server of the same user share the port and take half of the
 * connections. So the port is first bound once without it, which fails while any other socket listens there, and given
 * free again. Failure: every reason is said in words with the remedy; nothing stays open. */
#include "core/check.h"
#include "net/server.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LISTEN_HOST_SIZE_MAX 256

struct listen_address {
    struct sockaddr_storage storage;
    socklen_t size;
    const char *text; /* as given */
};

struct listen_text {
    char *out;
    size_t size;
};

__attribute__((format(printf, 2, 3))) static void listen_explain(struct listen_text text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text.out, text.size, format, arguments);
    va_end(arguments);
}

static enum result listen_explain_errno(struct listen_text text, const char *address, int error)
{
    switch (error) {
    case EADDRINUSE:
        listen_explain(text,
                       "%s is in use: another process listens there. Remedy: stop it (ss -ltnp shows it) or choose "
                       "another address",
                       address);
        return RESULT_EXISTS;
    case EACCES:
        listen_explain(text,
                       "%s needs a privilege: ports below 1024 are reserved. Remedy: a higher port, or the "
                       "capability CAP_NET_BIND_SERVICE",
                       address);
        return RESULT_DENIED;
    case EADDRNOTAVAIL:
        listen_explain(text,
                       "%s is not an address of this machine. Remedy: one that `ip address` shows, or 0.0.0.0 for "
                       "all",
                       address);
        return RESULT_MISSING;
    default:
        listen_explain(text, "cannot listen on %s: %s (errno %d)", address, strerror(error), error);
        return result_from_errno(error);
    }
}

/* Digits only, and few: getaddrinfo() takes a sign, a blank, and 99999 modulo 65536. */
static bool listen_is_port(const char *text)
{
    size_t len = strspn(text, "0123456789");
    return len > 0 && len <= 5 && text[len] == '\0' && strtoul(text, NULL, 10) <= UINT16_MAX;
}

/* Splits "host:port" and "[v6]:port" at the last colon. */
static enum result listen_parse(const char *address, struct listen_address *out, struct listen_text text)
{
    const char *colon = strrchr(address, ':');
    size_t host_len = colon == NULL ? 0 : (size_t)(colon - address);
    bool bracketed = host_len >= 2 && address[0] == '[' && address[host_len - 1] == ']';
    const char *host = bracketed ? address + 1 : address;
    if (bracketed) host_len -= 2;
    bool clear = bracketed || (colon != NULL && memchr(host, ':', host_len) == NULL);
    if (host_len == 0 || host_len >= LISTEN_HOST_SIZE_MAX || !clear || colon[1] == '\0') {
        listen_explain(text, "listen: \"%s\" is not host:port. Remedy: for example 127.0.0.1:7800 or [::]:7800", address);
        return RESULT_MALFORMED;
    }
    if (!listen_is_port(colon + 1)) {
        listen_explain(text, "listen: \"%s\" has no port from 0 to 65535 behind its last colon. Remedy: for example 127.0.0.1:7800", address);
        return RESULT_MALFORMED;
    }
    char host_text[LISTEN_HOST_SIZE_MAX];
    memcpy(host_text, host, host_len);
    host_text[host_len] = '\0';
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *found = NULL;
    int error = getaddrinfo(host_text, colon + 1, &hints, &found);
    if (error != 0) {
        listen_explain(text,
                       "listen: \"%s\" is not an address to listen on: %s. Remedy: for example 127.0.0.1:7800 or [::]:7800",
                       address, gai_strerror(error));
        return RESULT_MALFORMED;
    }
    memcpy(&out->storage, found->ai_addr, found->ai_addrlen);
    out->size = found->ai_addrlen;
    out->text = address;
    freeaddrinfo(found);
    return RESULT_OK;
}

enum result server_check_address(const char *address, char *text, size_t text_size)
{
    struct listen_address parsed;
    return listen_parse(address, &parsed, (struct listen_text){text, text_size});
}

static bool listen_set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

/* A bound socket; -1 with errno set. */
static int listen_bind(const struct listen_address *address, bool shared)
{
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    bool set = listen_set(fd, SOL_SOCKET, SO_REUSEADDR, 1) &&
               (!shared || listen_set(fd, SOL_SOCKET, SO_REUSEPORT, 1)) && listen_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (address->storage.ss_family == AF_INET6) (void)listen_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    /* cubic where the kernel has it: the system's default may be one made for other traffic */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
    if (set && bind(fd, (const struct sockaddr *)&address->storage, address->size) == 0) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static uint16_t listen_port(const struct listen_address *address)
{
    struct sockaddr_in6 v6;
    struct sockaddr_in v4;
    memcpy(&v6, &address->storage, sizeof v6);
    memcpy(&v4, &address->storage, sizeof v4);
    return ntohs(address->storage.ss_family == AF_INET6 ? v6.sin6_port : v4.sin_port);
}

#define LISTEN_PATIENCE_MS 2000 /* a killed server's last operations hold its port for a moment */
#define LISTEN_RETRY_MS    20

/* Whether the port is free of other listeners; a port the kernel will choose is. 0 or an errno. */
static int listen_probe(const struct listen_address *address)
{
    if (listen_port(address) == 0) return 0;
    int fd = listen_bind(address, false);
    for (int waited_ms = 0; fd < 0 && errno == EADDRINUSE && waited_ms < LISTEN_PATIENCE_MS; waited_ms += LISTEN_RETRY_MS) {
        poll(NULL, 0, LISTEN_RETRY_MS);
        fd = listen_bind(address, false);
    }
    if (fd < 0) return errno;
    close(fd);
    return 0;
}

enum result server_try_address(const char *address, char *text, size_t text_size)
{
    struct listen_address parsed = {0};
    struct listen_text explanation = {text, text_size};
    enum result res = listen_parse(address, &parsed, explanation);
    if (res != RESULT_OK) return res;
    int fd = listen_bind(&parsed, false), error = fd < 0 ? errno : 0;
    if (fd >= 0) close(fd);
    if (error == 0) return RESULT_OK;
    res = listen_explain_errno(explanation, address, error);
    return error == EADDRINUSE ? RESULT_OK : res;
}

/* Opens one socket of the group; the first of a group on port 0 fixes the port for the rest. 0 or an errno. */
static int listen_open(struct listen_address *address, int *out)
{
    int fd = listen_bind(address, true);
    if (fd < 0) return errno;
    bool ready =
        listen(fd, SOMAXCONN) == 0 && getsockname(fd, (struct sockaddr *)&address->storage, &address->size) == 0;
    int error = errno;
    if (!ready) close(fd);
    *out = ready ? fd : -1;
    return ready ? 0 : error;
}

enum result server_listen_group(const char *address, uint32_t count, int *fds, uint16_t *port, char *text,
                                size_t text_size)
{
    ASSERT(count > 0 && text_size > 0);
    struct listen_text explanation = {text, text_size};
    struct listen_address parsed = {0};
    text[0] = '\0';
    enum result res = listen_parse(address, &parsed, explanation);
    if (res != RESULT_OK) return res;
    int error = listen_probe(&parsed);
    uint32_t opened = 0;
    while (error == 0 && opened < count) {
        error = listen_open(&parsed, &fds[opened]);
        if (error == 0) opened++;
    }
    if (error == 0) {
        *port = listen_port(&parsed);
        return RESULT_OK;
    }
    while (opened > 0) close(fds[--opened]);
    return listen_explain_errno(explanation, address, error);
}

enum result server_listen(const char *address, int *fd, uint16_t *port, char *text, size_t text_size)
{
    return server_listen_group(address, 1, fd, port, text, text_size);
}
