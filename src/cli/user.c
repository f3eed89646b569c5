/* cli/user.c - `ringpost user …`: accounts, the login kept on this device, people, devices.
 * A password comes from the terminal without being shown, or from stdin; never from the command line, where every process of the
 * machine could read it. */
#include "cli/lines.h"
#include "cli/remote.h"
#include "core/check.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define PASSWORD_SIZE_MIN 8
#define PASSWORD_SIZE_MAX 256

struct user_arguments {
    struct remote remote;
    const char *wanted, *name, *display_name; /* wanted: what help calls the name */
    bool password_stdin;
};

/* ---- options; every action takes those that make sense for it ---- */

enum { KEY_PASSWORD_STDIN = 0x100 };
#define OPTION_PASSWORD {"password-stdin", KEY_PASSWORD_STDIN, NULL, 0, "read the password from the first line of stdin", 0}
#define OPTION_END {NULL, 0, NULL, 0, NULL, 0}
static const struct argp_option register_options[] = {
    OPTION_PASSWORD, {"display-name", 'd', "TEXT", 0, "the name people see (default: NAME)", 0}, OPTION_END};
static const struct argp_option login_options[] = {OPTION_PASSWORD, OPTION_END};

static error_t user_parse_common(int key, char *argument, struct argp_state *state)
{
    struct user_arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &arguments->remote; return 0;
    case KEY_PASSWORD_STDIN: arguments->password_stdin = true; return 0;
    case 'd': arguments->display_name = argument; return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static error_t user_parse_with_name(int key, char *argument, struct argp_state *state)
{
    struct user_arguments *arguments = state->input;
    if (key == ARGP_KEY_ARG) {
        if (arguments->name != NULL) argp_error(state, "`%s` is one too many", argument);
        arguments->name = argument;
        return 0;
    }
    if (key == ARGP_KEY_END) {
        if (arguments->name == NULL) argp_error(state, "%s is missing", arguments->wanted);
        return 0;
    }
    return user_parse_common(key, argument, state);
}

static error_t user_parse_without_name(int key, char *argument, struct argp_state *state)
{
    if (key == ARGP_KEY_ARG) argp_error(state, "`%s` is one too many", argument);
    return user_parse_common(key, argument, state);
}

static const struct argp_child user_children[] = {REMOTE_ARGP_CHILD, {NULL, 0, NULL, 0}};

/* ---- passwords ---- */

static bool read_line(FILE *in, char password[PASSWORD_SIZE_MAX + 2])
{
    if (fgets(password, PASSWORD_SIZE_MAX + 2, in) == NULL) return false;
    size_t len = strcspn(password, "\n");
    if (password[len] != '\n' && len > PASSWORD_SIZE_MAX) return false;
    password[len] = '\0';
    return true;
}

static bool ask_password(const char *prompt, char password[PASSWORD_SIZE_MAX + 2])
{
    FILE *terminal = fopen("/dev/tty", "r+");
    if (terminal == NULL) return false;
    setbuf(terminal, NULL); /* no copy of it in a buffer, and no seek between writing and reading */
    struct termios shown, hidden;
    bool is_terminal = tcgetattr(fileno(terminal), &shown) == 0;
    bool ok = false;
    if (is_terminal) {
        hidden = shown;
        hidden.c_lflag &= ~(tcflag_t)ECHO;
        fputs(prompt, terminal);
        if (tcsetattr(fileno(terminal), TCSAFLUSH, &hidden) == 0) {
            ok = read_line(terminal, password);
            tcsetattr(fileno(terminal), TCSAFLUSH, &shown);
        }
        fputc('\n', terminal);
    }
    fclose(terminal);
    return ok;
}

static enum cli_exit get_password(const struct user_arguments *arguments, bool twice, char password[PASSWORD_SIZE_MAX + 2])
{
    if (arguments->password_stdin) {
        if (read_line(stdin, password)) return CLI_EXIT_OK;
        remote_complain("no password of at most %d bytes on stdin", PASSWORD_SIZE_MAX);
        return CLI_EXIT_USAGE;
    }
    char again[PASSWORD_SIZE_MAX + 2] = "";
    bool asked = ask_password("Password: ", password);
    if (asked && twice && strlen(password) < PASSWORD_SIZE_MIN) { /* the server would refuse it too, after a second time of typing */
        remote_complain("the password needs %d bytes or more", PASSWORD_SIZE_MIN);
        return CLI_EXIT_USAGE;
    }
    asked = asked && (!twice || ask_password("Once more: ", again));
    bool same = asked && (!twice || strcmp(password, again) == 0);
    explicit_bzero(again, sizeof again);
    if (same) return CLI_EXIT_OK;
    remote_complain(asked ? "the two are not the same" : "no terminal to ask for the password; use --password-stdin");
    return CLI_EXIT_USAGE;
}

/* ---- login ---- */

static enum cli_exit keep_login(struct remote *remote, const Ringpost__V1__LoginResponse *login, const char *name)
{
    struct identity *identity = &remote->identity;
    enum result res = identity_lock(identity, true);
    if (res == RESULT_OK) {
        identity_set_user(identity, login->user_id, login->user != NULL ? login->user->name : name,
                          login->user != NULL ? login->user->display_name : name);
        res = identity_set_tokens(identity, login->access_token, login->access_expires_ms, login->refresh_token,
                                  login->refresh_expires_ms);
        if (res == RESULT_OK) res = identity_save(identity);
        identity_unlock(identity);
    }
    if (res == RESULT_OK) return CLI_EXIT_OK;
    remote_complain("%s cannot be written: %s", identity->path, result_text(res));
    return CLI_EXIT_FAILED;
}

static enum cli_exit login_with(struct remote *remote, char *name, char *password)
{
    char platform[] = "cli", host[64] = "";
    if (gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
    Ringpost__V1__LoginRequest login;
    Ringpost__V1__Request request;
    Ringpost__V1__Response *response;
    ringpost__v1__login_request__init(&login);
    ringpost__v1__request__init(&request);
    login.name = name;
    login.password = password;
    login.device_id = remote->identity.device_id;
    login.platform = platform;
    login.device_name = host;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_LOGIN;
    request.login = &login;
    enum cli_exit code = remote_call(remote, &request, &response);
    if (code != CLI_EXIT_OK) return code;
    code = keep_login(remote, response->login, name);
    if (code == CLI_EXIT_OK && remote->json && response->login->user != NULL) line_print_json(stdout, &response->login->user->base);
    if (code == CLI_EXIT_OK && !remote->json) printf("logged in as %s at %s\n", remote->identity.name, remote->name);
    ringpost__v1__response__free_unpacked(response, NULL);
    return code;
}

static enum cli_exit register_with(struct remote *remote, char *name, char *password, char *display_name)
{
    Ringpost__V1__RegisterRequest registration;
    Ringpost__V1__Request request;
    Ringpost__V1__Response *response;
    ringpost__v1__register_request__init(&registration);
    ringpost__v1__request__init(&request);
    registration.name = name;
    registration.password = password;
    registration.display_name = display_name;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_REGISTER;
    request.register_ = &registration;
    enum cli_exit code = remote_call(remote, &request, &response);
    if (code == CLI_EXIT_OK) ringpost__v1__response__free_unpacked(response, NULL);
    return code;
}

static enum cli_exit user_enter(struct user_arguments *arguments, bool is_new)
{
    char password[PASSWORD_SIZE_MAX + 2];
    char *name = strdup(arguments->name), *display_name = strdup(arguments->display_name != NULL ? arguments->display_name : "");
    enum cli_exit code = name == NULL || display_name == NULL ? CLI_EXIT_FAILED : remote_open(&arguments->remote, true);
    if (code == CLI_EXIT_OK) {
        code = get_password(arguments, is_new, password);
        if (code == CLI_EXIT_OK && is_new) code = register_with(&arguments->remote, name, password, display_name);
        if (code == CLI_EXIT_OK) code = login_with(&arguments->remote, name, password);
        explicit_bzero(password, sizeof password);
        remote_close(&arguments->remote);
    }
    free(name);
    free(display_name);
    return code;
}

static int user_register(int argc, char **argv)
{
    static const char about_register[] =
        "Makes an account and logs in on this device.\v"
        "NAME: 1 to 32 of a-z 0-9 _ - . ; the password: 8 to 256 bytes, asked for on the terminal.\n"
        "\n"
        "Examples:\n"
        "  ringpost user register alice\n"
        "  ringpost user register bob --profile bob --password-stdin < bob.password";
    static const struct argp argp = {.options = register_options, .parser = user_parse_with_name, .args_doc = "NAME",
                                     .doc = about_register, .children = user_children};
    static struct user_arguments arguments = {.wanted = "NAME"};
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    return user_enter(&arguments, true);
}

static int user_login(int argc, char **argv)
{
    static const char about_login[] =
        "Logs in on this device. The login is kept in $XDG_STATE_HOME/ringpost (or ~/.local/state/ringpost), one file for each server "
        "and profile; who logs in again replaces it.\v"
        "Examples:\n"
        "  ringpost user login alice\n"
        "  ringpost user login bob --profile bob       a second person on this machine";
    static const struct argp argp = {.options = login_options, .parser = user_parse_with_name, .args_doc = "NAME", .doc = about_login,
                                     .children = user_children};
    static struct user_arguments arguments = {.wanted = "NAME"};
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    return user_enter(&arguments, false);
}

static enum cli_exit forget_login(struct remote *remote)
{
    struct identity *identity = &remote->identity;
    enum result res = identity_lock(identity, true);
    if (res == RESULT_OK) {
        identity_forget_user(identity);
        res = identity_save(identity);
        identity_unlock(identity);
    }
    if (res == RESULT_OK) return CLI_EXIT_OK;
    remote_complain("%s cannot be written: %s", identity->path, result_text(res));
    return CLI_EXIT_FAILED;
}

static int user_logout(int argc, char **argv)
{
    static const char about_logout[] = "Ends this device's login, here and on the server.";
    static const struct argp argp = {.parser = user_parse_without_name, .doc = about_logout, .children = user_children};
    static struct user_arguments arguments;
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    struct remote *remote = &arguments.remote;
    enum cli_exit code = remote_open(remote, false);
    if (code != CLI_EXIT_OK) return code;
    Ringpost__V1__LogoutRequest logout;
    Ringpost__V1__Request request;
    Ringpost__V1__Response *response;
    ringpost__v1__logout_request__init(&logout);
    ringpost__v1__request__init(&request);
    request.method_case = RINGPOST__V1__REQUEST__METHOD_LOGOUT;
    request.logout = &logout;
    code = remote_call(remote, &request, &response);
    if (code == CLI_EXIT_OK) ringpost__v1__response__free_unpacked(response, NULL);
    /* A login the server does not take any more is of no use here either. */
    if (code == CLI_EXIT_OK || code == CLI_EXIT_LOGIN) {
        enum cli_exit forgotten = forget_login(remote);
        if (forgotten != CLI_EXIT_OK) code = forgotten;
    }
    if (code == CLI_EXIT_OK && !remote->json) printf("logged out at %s\n", remote->name);
    remote_close(remote);
    return code;
}

/* ---- looking ---- */

static int user_whoami(int argc, char **argv)
{
    static const char about_whoami[] = "Prints who is logged in here, as kept on this device; asks no server.";
    static const struct argp argp = {.parser = user_parse_without_name, .doc = about_whoami, .children = user_children};
    static struct user_arguments arguments;
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    struct remote *remote = &arguments.remote;
    enum cli_exit code = remote_open(remote, false);
    if (code != CLI_EXIT_OK) return code;
    Ringpost__V1__User user;
    ringpost__v1__user__init(&user);
    user.user_id = remote->identity.user_id;
    user.name = remote->identity.name;
    user.display_name = remote->identity.display_name;
    if (remote->json)
        line_print_json(stdout, &user.base);
    else
        printf("%s (id %llu) at %s, device %s\n", user.name, (unsigned long long)user.user_id, remote->name, remote->identity.device_id);
    remote_close(remote);
    return CLI_EXIT_OK;
}

static void print_user(const Ringpost__V1__User *user, const Ringpost__V1__Presence *presence)
{
    char time[32];
    line_print_text(stdout, user->name, strlen(user->name));
    printf(" (id %llu)  ", (unsigned long long)user->user_id);
    line_print_text(stdout, user->display_name, strlen(user->display_name));
    if (presence != NULL && presence->online)
        printf("  online\n");
    else if (presence != NULL)
        printf("  last seen %s\n", line_time(presence->last_seen_ms, time, sizeof time));
    else
        printf("\n");
}

static enum cli_exit show_user(struct remote *remote, const char *name)
{
    Ringpost__V1__User *user;
    enum cli_exit code = remote_find_user(remote, name, &user);
    if (code != CLI_EXIT_OK) return code;
    uint64_t user_ids[] = {user->user_id};
    Ringpost__V1__PresenceRequest ask;
    Ringpost__V1__Request request;
    Ringpost__V1__Response *response;
    ringpost__v1__presence_request__init(&ask);
    ringpost__v1__request__init(&request);
    ask.user_ids = user_ids;
    ask.n_user_ids = COUNT_OF(user_ids);
    request.method_case = RINGPOST__V1__REQUEST__METHOD_PRESENCE;
    request.presence = &ask;
    code = remote_call(remote, &request, &response);
    if (code == CLI_EXIT_OK) {
        const Ringpost__V1__Presence *presence = response->presence->n_presence > 0 ? response->presence->presence[0] : NULL;
        if (remote->json && presence != NULL)
            line_print_json_joined(stdout, &user->base, &presence->base);
        else if (remote->json)
            line_print_json(stdout, &user->base);
        else
            print_user(user, presence);
        ringpost__v1__response__free_unpacked(response, NULL);
    }
    ringpost__v1__user__free_unpacked(user, NULL);
    return code;
}

static int user_show(int argc, char **argv)
{
    static const char about_show[] = "Prints a person's id, names and presence.";
    static const struct argp argp = {.parser = user_parse_with_name, .args_doc = "NAME", .doc = about_show, .children = user_children};
    static struct user_arguments arguments = {.wanted = "NAME"};
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    enum cli_exit code = remote_open(&arguments.remote, false);
    if (code != CLI_EXIT_OK) return code;
    code = show_user(&arguments.remote, arguments.name);
    remote_close(&arguments.remote);
    return code;
}

/* ---- devices ---- */

static void print_device(const struct remote *remote, const Ringpost__V1__Device *device)
{
    if (remote->json) {
        line_print_json(stdout, &device->base);
        return;
    }
    char time[32];
    line_print_text(stdout, device->device_id, strlen(device->device_id));
    fputs("  ", stdout);
    line_print_text(stdout, device->platform, strlen(device->platform));
    fputs("  ", stdout);
    line_print_text(stdout, device->name, strlen(device->name));
    if (device->online)
        printf("  online");
    else
        printf("  last seen %s", line_time(device->last_seen_ms, time, sizeof time));
    printf("%s\n", strcmp(device->device_id, remote->identity.device_id) == 0 ? "  (this one)" : "");
}

static int user_devices(int argc, char **argv)
{
    static const char about_devices[] = "Lists the devices on which you are logged in.";
    static const struct argp argp = {.parser = user_parse_without_name, .doc = about_devices, .children = user_children};
    static struct user_arguments arguments;
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    struct remote *remote = &arguments.remote;
    enum cli_exit code = remote_open(remote, false);
    if (code != CLI_EXIT_OK) return code;
    Ringpost__V1__DevicesRequest devices;
    Ringpost__V1__Request request;
    Ringpost__V1__Response *response;
    ringpost__v1__devices_request__init(&devices);
    ringpost__v1__request__init(&request);
    request.method_case = RINGPOST__V1__REQUEST__METHOD_DEVICES;
    request.devices = &devices;
    code = remote_call(remote, &request, &response);
    if (code == CLI_EXIT_OK) {
        for (size_t i = 0; i < response->devices->n_devices; i++) print_device(remote, response->devices->devices[i]);
        ringpost__v1__response__free_unpacked(response, NULL);
    }
    remote_close(remote);
    return code;
}

static enum cli_exit revoke_device(struct remote *remote, const char *device_id)
{
    char *copy = strdup(device_id);
    if (copy == NULL) return CLI_EXIT_FAILED;
    Ringpost__V1__RevokeDeviceRequest revoke;
    Ringpost__V1__Request request;
    Ringpost__V1__Response *response;
    ringpost__v1__revoke_device_request__init(&revoke);
    ringpost__v1__request__init(&request);
    revoke.device_id = copy;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_REVOKE_DEVICE;
    request.revoke_device = &revoke;
    enum cli_exit code = remote_call(remote, &request, &response);
    if (code == CLI_EXIT_OK) ringpost__v1__response__free_unpacked(response, NULL);
    free(copy);
    return code;
}

static int user_revoke(int argc, char **argv)
{
    static const char about_revoke[] =
        "Logs one of your devices out, as when it was lost. `ringpost user devices` lists them.";
    static const struct argp argp = {.parser = user_parse_with_name, .args_doc = "DEVICE", .doc = about_revoke, .children = user_children};
    static struct user_arguments arguments = {.wanted = "DEVICE"};
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    enum cli_exit code = remote_open(&arguments.remote, false);
    if (code != CLI_EXIT_OK) return code;
    code = revoke_device(&arguments.remote, arguments.name);
    remote_close(&arguments.remote);
    return code;
}

int cli_user(int argc, char **argv)
{
    static const struct cli_command actions[] = {
        {"register", "make an account and log in", user_register},
        {"login", "log in on this device", user_login},
        {"logout", "end this device's login", user_logout},
        {"whoami", "who is logged in here", user_whoami},
        {"show", "look somebody up", user_show},
        {"devices", "list your devices", user_devices},
        {"revoke", "log one of your devices out", user_revoke},
        {NULL, NULL, NULL},
    };
    return cli_dispatch(actions, "Accounts, logins, people and devices.", argc, argv);
}
