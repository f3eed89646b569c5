/* perf/load.c - the load generator's command line.
 * `load WORKLOAD [--NAME VALUE]...` makes one measurement against a running server, prints one row and appends it to the files that were
 * asked for. Exit code: 0 all well, 1 the server lost, doubled or reordered something, 2 the measurement could not be made. */
#include "perf/workload.h"
#include <errno.h>
#include <stdio.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>

static const struct workload {
    const char *name, *meaning;
    void (*run)(struct bench *bench);
    bool needs_calls; /* of the API: MQTT has none */
} workloads[] = {
    {"pair", "1:1 messages: --groups pairs, both sides send, --window under way each", workload_pair, false},
    {"fanout", "--groups rooms of --members, one sends", workload_fanout, false},
    {"chatter", "--groups rooms of --members, all send", workload_chatter, false},
    {"mixed", "--groups rooms of --members: 1:1, rooms, people who leave and return", workload_mixed, false},
    {"rate", "--rate messages a second, whatever the server does; --groups of --members (2: 1:1)", workload_rate, false},
    {"connect", "connect, log in, close, again: --connections at a time", workload_connect, false},
    {"idle", "memory of --connections people who are online and silent", workload_idle, false},
    {"drain", "--groups rooms of --members catch up with --messages each by sync", workload_drain, false},
    {"crash", "sends until --messages are acknowledged, then kills --server-pid; writes --ledger", workload_crash, true},
    {"restart", "reads everything in --ledger back from the restarted server", workload_restart, true},
    {"sustained", "pairs until --messages are acknowledged; --curve says what each --interval cost", workload_sustained, true},
};

/* X(kind, field, flag, default, meaning) */
#define OPTION_LIST(X)                                                                                    \
    X(TEXT, server, "server", "127.0.0.1:7800", "address of the server")                                  \
    X(TEXT, data_dir, "data-dir", "data", "the server's data directory: its token key is read")           \
    X(TEXT, users_file, "users", "users.bin", "ids of the people registered so far; belongs to the data") \
    X(TEXT, protocol, "protocol", "tcp", "tcp, websocket or mqtt")                                        \
    X(TEXT, tls, "tls", "off", "off, full (a whole handshake each time) or resumed (connect only)")       \
    X(TEXT, broker, "broker", "ringpost", "ringpost, or plain: any MQTT broker; needs no data, no users") \
    X(TEXT, name, "name", NULL, "of the server, for the report; default: the value of --broker")          \
    X(TEXT, note, "note", NULL, "added to the setting in the report")                                     \
    X(TEXT, user, "user", NULL, "user name of everybody at a plain broker")                               \
    X(TEXT, password, "password", NULL, "and the password")                                               \
    X(TEXT, ledger, "ledger", NULL, "file between crash and restart")                                     \
    X(TEXT, json, "json", NULL, "append a line of JSON to this file")                                     \
    X(TEXT, curve, "curve", NULL, "sustained: file of a line of JSON per interval")                       \
    X(COUNT, groups, "groups", 64, "pairs or rooms")                                                      \
    X(COUNT, members, "members", 2, "people in each room")                                                \
    X(COUNT, window, "window", 16, "messages one sender has under way")                                   \
    X(COUNT, connections, "connections", 64, "for connect and idle")                                      \
    X(COUNT, subscribe, "subscribe", 1, "idle: 1 listens to what is written to it, 0 does not; MQTT only") \
    X(COUNT, qos, "qos", 1, "of publications and subscriptions; MQTT only")                               \
    X(COUNT, across, "across", 0, "pair, rate: 1 pairs people of different shards")                       \
    X(COUNT, messages, "messages", 1000, "for drain (each room), crash and sustained (all together)")     \
    X(COUNT, cold, "cold", 0, "sustained: rooms nobody writes to, read once for a hundred messages")      \
    X(COUNT, body_bytes, "body", 100, "bytes of one message, 28 to 32768")                                \
    X(COUNT, server_pid, "server-pid", 0, "process whose CPU and memory are reported")                    \
    X(REAL, rate, "rate", 0, "messages a second of rate; sustained: 0 is a closed loop")                  \
    X(REAL, seconds, "seconds", 5, "length of the measurement")                                           \
    X(REAL, warmup_seconds, "warmup", 1, "seconds before it; idle: for the server to settle")                                             \
    X(REAL, interval_seconds, "interval", 10, "sustained: seconds of one line of the curve")              \
    X(REAL, took_ms, "took-ms", 0, "for restart: the time to put in the report")

enum option_kind { OPTION_TEXT, OPTION_COUNT, OPTION_REAL };

static const struct option_row {
    enum option_kind kind;
    size_t offset;
    const char *flag, *meaning;
} option_rows[] = {
#define OPTION_AS_ROW(kind, field, flag, initial, meaning) {OPTION_##kind, offsetof(struct options, field), flag, meaning},
    OPTION_LIST(OPTION_AS_ROW)
};

static void usage(FILE *out)
{
    fprintf(out, "Usage: load WORKLOAD [--NAME VALUE]...\n\nWorkloads:\n");
    for (size_t i = 0; i < COUNT_OF(workloads); i++) fprintf(out, "  %-12s %s\n", workloads[i].name, workloads[i].meaning);
    fprintf(out, "\nOptions:\n");
    for (size_t i = 0; i < COUNT_OF(option_rows); i++) fprintf(out, "  --%-12s %s\n", option_rows[i].flag, option_rows[i].meaning);
}

static bool set_option(struct options *options, const struct option_row *row, const char *value)
{
    void *field = (char *)options + row->offset;
    char *end = NULL;
    errno = 0;
    switch (row->kind) {
    case OPTION_TEXT: *(const char **)field = value; return true;
    case OPTION_COUNT: *(uint64_t *)field = strtoull(value, &end, 10); break;
    case OPTION_REAL: *(double *)field = strtod(value, &end); break;
    }
    return errno == 0 && end != value && *end == '\0';
}

static void take_options(struct options *options, int argc, char **argv)
{
    for (int i = 2; i < argc; i += 2) {
        const struct option_row *row = NULL;
        for (size_t k = 0; k < COUNT_OF(option_rows); k++)
            if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, option_rows[k].flag) == 0) row = &option_rows[k];
        if (row == NULL) perf_die("unknown option %s (see load --help)", argv[i]);
        if (i + 1 == argc || !set_option(options, row, argv[i + 1])) perf_die("%s needs a value", argv[i]);
    }
    if (options->body_bytes < 28 || options->body_bytes > 32768) perf_die("--body must be 28 to 32768");
    if (options->qos > 1) perf_die("--qos must be 0 or 1");
    if (options->groups == 0 || options->members < 2 || options->window == 0 || options->window > 128)
        perf_die("at least one group, two members, and a window of 1 to 128");
}

static const struct workload *workload_named(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(workloads); i++)
        if (strcmp(workloads[i].name, name) == 0) return &workloads[i];
    return NULL;
}

const struct driver *driver_named(const char *name)
{
    static const struct driver *const drivers[] = {&driver_tcp, &driver_websocket, &driver_mqtt};
    for (size_t i = 0; i < COUNT_OF(drivers); i++)
        if (strcmp(drivers[i]->name, name) == 0) return drivers[i];
    return NULL;
}

static void check_tls(const struct options *options, const struct workload *workload)
{
    bool resumed = strcmp(options->tls, "resumed") == 0;
    if (!resumed && strcmp(options->tls, "off") != 0 && strcmp(options->tls, "full") != 0)
        perf_die("--tls must be off, full or resumed");
    if (resumed && workload->run != workload_connect) perf_die("--tls resumed is for connect only");
}

static bool broker_is_plain(const struct options *options)
{
    bool plain = strcmp(options->broker, "plain") == 0;
    if (!plain && strcmp(options->broker, "ringpost") != 0) perf_die("--broker must be ringpost or plain");
    return plain;
}

static bool run(const struct workload *workload, const struct options *options, const struct driver *driver)
{
    struct token_mint mint;
    struct loop loop;
    struct users users;
    static struct report report;
    report.workload = workload->name;
    struct broker broker = {broker_is_plain(options), options->user, options->password, (uint8_t)options->qos};
    report.server = options->name != NULL ? options->name : options->broker;
    if (!broker.plain) token_mint_init(&mint, options->data_dir);
    loop_init(&loop, options->server, &broker, broker.plain ? NULL : &mint);
    if (strcmp(options->tls, "off") != 0) loop.tls = tls_client_create();
    snprintf(report.protocol, sizeof report.protocol, "%s%s", driver->name, loop.tls != NULL ? "+tls" : "");
    users_init(&users, broker.plain ? NULL : options->users_file);
    struct bench bench = {options, driver, &loop, &users, &report};
    workload->run(&bench);
    if (options->note != NULL) {
        size_t len = strlen(report.setting);
        snprintf(report.setting + len, sizeof report.setting - len, ", %s", options->note);
    }
    report_write(&report, options->json);
    users_deinit(&users);
    loop_deinit(&loop);
    return report_ok(&report);
}

int main(int argc, char **argv)
{
#define OPTION_AS_DEFAULT(kind, field, flag, initial, meaning) .field = (initial),
    struct options options = {OPTION_LIST(OPTION_AS_DEFAULT)};
    const struct workload *workload = argc > 1 ? workload_named(argv[1]) : NULL;
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        usage(stdout);
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "heading") == 0) {
        report_print_heading();
        return 0;
    }
    if (workload == NULL) {
        usage(stderr);
        return 2;
    }
    take_options(&options, argc, argv);
    const struct driver *driver = driver_named(options.protocol);
    if (driver == NULL) perf_die("--protocol must be tcp, websocket or mqtt");
    bool plain = broker_is_plain(&options);
    check_tls(&options, workload);
    if (plain && driver != &driver_mqtt) perf_die("a plain broker speaks mqtt only: --protocol mqtt");
    if (workload->needs_calls && driver->call == NULL) perf_die("%s is for tcp and websocket only", workload->name);
    (void)perf_raise_open_files();
    (void)prctl(PR_SET_TIMERSLACK, 1ul); /* timers of the rate workload as exact as they get */
    return run(workload, &options, driver) ? 0 : 1;
}
