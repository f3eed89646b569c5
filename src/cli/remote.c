/* cli/remote.c - see remote.h. */
#include "cli/remote.h"
#include "client/text.h"
#include "core/check.h"
#include "net/tls_identity.h"
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REMOTE_ADDRESS_MAX 512

enum { KEY_TIMEOUT = 0x100, KEY_CA_FILE };

static const struct argp_option remote_options[] = {
    {"server", 's', "HOST:PORT", 0,
     "the server; tls://HOST:PORT or https://HOST for TLS (default: RINGPOST_CLI_SERVER, else " REMOTE_SERVER_DEFAULT ")", 0},
    {"ca-file", KEY_CA_FILE, "FILE", 0,
     "PEM certificates of those who may vouch for a TLS server (default: RINGPOST_CLI_CA_FILE, else the system's)", 0},
    {"profile", 'p', "NAME", 0, "which login to use when there are several, each with its own name", 0},
    {"timeout", KEY_TIMEOUT, "SECONDS", 0, "how long to wait for an answer (default 10)", 0},
    {"json", 'j', NULL, 0, "print JSON, one object a line", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

bool remote_parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    char *end;
    if (!isdigit((unsigned char)text[0])) return false;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0' && *out >= min && *out <= max;
}

static error_t remote_parse(int key, char *argument, struct argp_state *state)
{
    struct remote *remote = state->input;
    uint64_t seconds = 0;
    switch (key) {
    case 's': remote->server = argument; return 0;
    case 'p': remote->profile = argument; return 0;
    case 'j': remote->json = true; return 0;
    case KEY_CA_FILE: remote->authority_file = argument; return 0;
    case KEY_TIMEOUT:
        if (!remote_parse_number(argument, 1, 86400, &seconds)) argp_error(state, "--timeout takes whole seconds, 1 to 86400");
        remote->timeout_ms = (uint32_t)seconds * 1000;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

const struct argp remote_argp = {.options = remote_options, .parser = remote_parse};

void remote_complain(const char *format, ...)
{
    char text[1024], clean[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    text_clean(clean, sizeof clean, text, strlen(text), true, NULL);
    fprintf(stderr, "ringpost: %s\n", clean);
}

/* ---- which server ---- */

/* Takes the scheme, and the slash with which a browser's address ends. */
static void split_scheme(const char *server, struct remote *remote, char address[REMOTE_ADDRESS_MAX], const char **port)
{
    static const struct {
        const char *scheme, *port;
    } schemes[] = {{"tls://", "7800"}, {"https://", "443"}};
    remote->secure = false;
    *port = "7800";
    for (size_t i = 0; i < COUNT_OF(schemes); i++) {
        size_t len = strlen(schemes[i].scheme);
        if (strncmp(server, schemes[i].scheme, len) != 0) continue;
        remote->secure = true;
        *port = schemes[i].port;
        server += len;
        break;
    }
    snprintf(address, REMOTE_ADDRESS_MAX, "%s", server);
    size_t len = strlen(address);
    if (remote->secure && len > 0 && address[len - 1] == '/') address[len - 1] = '\0';
}

/* "host", "host:port", "[v6]", "[v6]:port", any of them behind "tls://" or "https://" */
static bool split_server(const char *name, struct remote *remote)
{
    char server[REMOTE_ADDRESS_MAX];
    const char *port;
    split_scheme(name, remote, server, &port);
    const char *host = server, *end = strchr(server, ':');
    if (server[0] == '[') {
        host = server + 1;
        end = strchr(host, ']');
        if (end == NULL || (end[1] != ':' && end[1] != '\0')) return false;
        if (end[1] == ':') port = end + 2;
    } else if (end != NULL) {
        port = end + 1;
    } else {
        end = server + strlen(server);
    }
    uint64_t number;
    size_t host_len = (size_t)(end - host);
    if (host_len == 0 || host_len >= sizeof remote->host || !remote_parse_number(port, 1, 65535, &number)) return false;
    snprintf(remote->host, sizeof remote->host, "%.*s", (int)host_len, host);
    snprintf(remote->port, sizeof remote->port, "%u", (unsigned)number);
    snprintf(remote->name, sizeof remote->name, server[0] == '[' ? "%s[%s]:%s" : "%s%s:%s", remote->secure ? "tls://" : "",
             remote->host, remote->port);
    return true;
}

/* A login that was made through TLS is another one than that of the plain server: its tokens never go out in the clear. */
static enum result open_identity(struct remote *remote, const char *profile, char *text, size_t text_size)
{
    char server[sizeof remote->name + 4];
    const char *address = remote->name + (remote->secure ? strlen("tls://") : 0);
    snprintf(server, sizeof server, "%s%s", remote->secure ? "tls:" : "", address);
    return identity_open(&remote->identity, server, profile, text, text_size);
}

static enum result open_trust(struct remote *remote, char *text, size_t text_size)
{
    remote->trust = NULL;
    if (!remote->secure) return RESULT_OK;
    const char *file = remote->authority_file != NULL ? remote->authority_file : getenv("RINGPOST_CLI_CA_FILE");
    return tls_trust_create(&remote->trust, file != NULL && file[0] != '\0' ? file : NULL, text, text_size);
}

/* What must stand behind another command so that it means the same server and login. */
static void remote_say_options(const struct remote *remote, char *text, size_t text_size)
{
    bool usual = strcmp(remote->name, REMOTE_SERVER_DEFAULT) == 0 || remote->server == NULL; /* NULL: the environment says so */
    bool has_profile = remote->profile != NULL && remote->profile[0] != '\0';
    snprintf(text, text_size, "%s%s%s%s%s%s", usual ? "" : " --server ", usual ? "" : remote->name, remote->authority_file != NULL ? " --ca-file " : "",
             remote->authority_file != NULL ? remote->authority_file : "", has_profile ? " --profile " : "", has_profile ? remote->profile : "");
}

enum cli_exit remote_open(struct remote *remote, bool anonymous)
{
    const char *server = remote->server != NULL ? remote->server : getenv("RINGPOST_CLI_SERVER");
    if (server == NULL || server[0] == '\0') server = REMOTE_SERVER_DEFAULT;
    if (!split_server(server, remote)) {
        remote_complain("%s is not HOST:PORT", server);
        return CLI_EXIT_USAGE;
    }
    char text[1400];
    const char *profile = remote->profile != NULL ? remote->profile : "";
    enum result res = open_identity(remote, profile, text, sizeof text);
    if (res != RESULT_OK) {
        remote_complain("%s", text);
        return res == RESULT_MALFORMED ? CLI_EXIT_USAGE : CLI_EXIT_FAILED;
    }
    if (!anonymous && !identity_is_logged_in(&remote->identity)) {
        char options[400];
        remote_say_options(remote, options, sizeof options);
        remote_complain("nobody is logged in at %s%s%s; try: ringpost user login NAME%s, or user register", remote->name,
                        profile[0] != '\0' ? " as profile " : "", profile, options);
        identity_close(&remote->identity);
        return CLI_EXIT_LOGIN;
    }
    if (open_trust(remote, text, sizeof text) != RESULT_OK) {
        remote_complain("%s", text);
        identity_close(&remote->identity);
        return CLI_EXIT_FAILED;
    }
    const struct client_options options = {.host = remote->host,
                                           .port = remote->port,
                                           .trust = remote->trust,
                                           .identity = anonymous ? NULL : &remote->identity};
    if (client_create(&remote->client, &options) != RESULT_OK) {
        remote_complain("out of memory");
        tls_trust_destroy(remote->trust);
        identity_close(&remote->identity);
        return CLI_EXIT_FAILED;
    }
    return CLI_EXIT_OK;
}

void remote_close(struct remote *remote)
{
    client_destroy(remote->client);
    remote->client = NULL;
    tls_trust_destroy(remote->trust);
    remote->trust = NULL;
    identity_close(&remote->identity);
}

/* ---- calls ---- */

static enum cli_exit explain_error(const Ringpost__V1__Error *error)
{
    remote_complain("refused: %s (%s)", error->message, error->reason);
    return strcmp(error->code, "UNAUTHENTICATED") == 0 ? CLI_EXIT_LOGIN : CLI_EXIT_REFUSED;
}

enum cli_exit remote_explain(const struct remote *remote, enum result result, const Ringpost__V1__Error *error)
{
    if (error != NULL) return explain_error(error);
    const char *why = client_text(remote->client);
    char options[400];
    switch ((int)result) {
    case RESULT_DENIED:
        remote_say_options(remote, options, sizeof options);
        remote_complain("%s; log in again: ringpost user login NAME%s", why, options);
        return CLI_EXIT_LOGIN;
    case RESULT_IO:
        remote_complain("%s%s", why, strstr(why, "cannot connect") != NULL ? " (is the server running? ringpost serve)" : "");
        return CLI_EXIT_UNREACHABLE;
    case RESULT_TIMEOUT:
    case RESULT_CLOSED:
        remote_complain("%s: no answer%s%s; it may have been done all the same", remote->name, why[0] != '\0' ? ": " : "", why);
        return CLI_EXIT_UNREACHABLE;
    case RESULT_TOO_LARGE:
        remote_complain("refused: larger than the server takes in one message");
        return CLI_EXIT_REFUSED;
    default:
        remote_complain("%s", result_text(result));
        return CLI_EXIT_FAILED;
    }
}

enum cli_exit remote_call(struct remote *remote, Ringpost__V1__Request *request, Ringpost__V1__Response **response)
{
    enum result res = client_call_wait(remote->client, request, remote->timeout_ms, response);
    if (res == RESULT_OK && (*response)->error == NULL && (int)(*response)->result_case == (int)request->method_case) return CLI_EXIT_OK;
    enum cli_exit code = CLI_EXIT_REFUSED;
    if (res != RESULT_OK || (*response)->error != NULL)
        code = remote_explain(remote, res, *response != NULL ? (*response)->error : NULL);
    else
        remote_complain("the server answered something else than asked");
    if (*response != NULL) ringpost__v1__response__free_unpacked(*response, NULL);
    *response = NULL;
    return code;
}

enum cli_exit remote_find_user(struct remote *remote, const char *name, Ringpost__V1__User **user)
{
    char copy[IDENTITY_NAME_MAX + 1];
    Ringpost__V1__UserRequest find;
    Ringpost__V1__Request request;
    Ringpost__V1__Response *response;
    if (snprintf(copy, sizeof copy, "%s", name) >= (int)sizeof copy) {
        remote_complain("%s: no name is that long", name);
        return CLI_EXIT_USAGE;
    }
    ringpost__v1__user_request__init(&find);
    ringpost__v1__request__init(&request);
    find.name = copy;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_USER;
    request.user = &find;
    enum cli_exit code = remote_call(remote, &request, &response);
    if (code != CLI_EXIT_OK) return code;
    *user = response->user->user;
    response->user->user = NULL;
    ringpost__v1__response__free_unpacked(response, NULL);
    if (*user != NULL) return CLI_EXIT_OK;
    remote_complain("the server answered without a user");
    return CLI_EXIT_REFUSED;
}
