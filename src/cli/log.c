/* cli/log.c - `ringpost log inspect|verify`: what stands in a shard's commit log, read with the server's own reader and changing nothing.
 * PATH may be a data directory (all shards), a shard's directory or its log directory. Of a data directory `verify` also says whether a
 * start would take it: its identity first, then, when every log is good, the shards recovered and compared (shard/worker/rehearsal.h). */
#include "shard/domain/domain.h"
#include "cli/remote.h"
#include "core/check.h"
#include "core/logger.h"
#include "shard/engine/command.h"
#include "shard/worker/rehearsal.h"
#include "storage/commitlog.h"
#include "storage/datadir.h"
#include "storage/format.h"
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LOG_PATH_MAX 1024
#define LOG_BLOCK_SIZE 4096u /* of which a segment's size is a multiple */

struct log_arguments {
    const char *path;
    uint64_t from, to;
    bool json, verify;
};

struct log_scan { /* of one shard's log */
    const struct log_arguments *arguments;
    const char *label; /* "shard-0003", or the path given */
    uint64_t first, last, records, bytes;
};

/* ---- options ---- */

enum { KEY_FROM = 0x100, KEY_TO };
static const struct argp_option inspect_options[] = {
    {"from", KEY_FROM, "INDEX", 0, "the first record to print", 0},
    {"to", KEY_TO, "INDEX", 0, "the last record to print", 0},
    {"json", 'j', NULL, 0, "print JSON, one object a line", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};
static const struct argp_option verify_options[] = {
    {"json", 'j', NULL, 0, "print JSON, one object a line", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t log_parse(int key, char *argument, struct argp_state *state)
{
    struct log_arguments *arguments = state->input;
    switch (key) {
    case KEY_FROM:
        if (!remote_parse_number(argument, 0, UINT64_MAX, &arguments->from)) argp_error(state, "--from takes a number");
        return 0;
    case KEY_TO:
        if (!remote_parse_number(argument, 0, UINT64_MAX, &arguments->to)) argp_error(state, "--to takes a number");
        return 0;
    case 'j': arguments->json = true; return 0;
    case ARGP_KEY_ARG:
        if (arguments->path != NULL) argp_error(state, "`%s` is one too many", argument);
        arguments->path = argument;
        return 0;
    case ARGP_KEY_END:
        if (arguments->path == NULL) argp_error(state, "PATH is missing");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- one log ---- */

static enum result log_on_record(void *context, const struct commitlog_record *record)
{
    struct log_scan *scan = context;
    const struct log_arguments *arguments = scan->arguments;
    if (scan->records == 0) scan->first = record->index;
    scan->last = record->index;
    scan->records++;
    scan->bytes += record->body.len;
    if (arguments->verify || record->index < arguments->from || record->index > arguments->to) return RESULT_OK;
    if (arguments->json)
        printf("{\"log\":\"%s\",\"index\":\"%" PRIu64 "\",\"term\":%" PRIu32 ",\"type\":%u,\"name\":\"%s\",\"size\":%" PRIu32
               ",\"segment\":\"%" PRIu64 "\",\"offset\":\"%" PRIu64 "\"}\n",
               scan->label, record->index, record->term, record->type, domain_command_name(ringpost_domain(), record->type), record->body.len, record->segment,
               record->offset);
    else
        printf("%s  %10" PRIu64 "  term %" PRIu32 "  %-15s %4u  %8" PRIu32 " bytes  segment %" PRIu64 " offset %" PRIu64 "\n", scan->label,
               record->index, record->term, domain_command_name(ringpost_domain(), record->type), record->type, record->body.len, record->segment, record->offset);
    return RESULT_OK;
}

static void print_verdict(const struct log_scan *scan, enum result result, uint64_t torn_offset, const char *text)
{
    bool json = scan->arguments->json;
    const char *verdict = result == RESULT_CORRUPT ? "corrupt" : result != RESULT_OK ? "unreadable" : torn_offset != 0 ? "torn tail" : "good";
    if (json) {
        printf("{\"log\":\"%s\",\"verdict\":\"%s\",\"records\":\"%" PRIu64 "\",\"first\":\"%" PRIu64 "\",\"last\":\"%" PRIu64
               "\",\"bytes\":\"%" PRIu64 "\"}\n",
               scan->label, verdict, scan->records, scan->first, scan->last, scan->bytes);
    } else if (scan->records == 0) {
        printf("%s: %s, no records\n", scan->label, verdict);
    } else {
        printf("%s: %s, %" PRIu64 " records (index %" PRIu64 " to %" PRIu64 "), %" PRIu64 " bytes\n", scan->label, verdict, scan->records,
               scan->first, scan->last, scan->bytes);
    }
    if (text[0] != '\0') fprintf(stderr, "%s: %s\n", scan->label, text);
}

/* "0000000000000001.log" */
static bool is_segment(const char *name)
{
    return strspn(name, "0123456789abcdef") == 16 && strcmp(name + 16, ".log") == 0;
}

/* Size of the segments in a log directory: all are alike. MISSING: there is none. */
static enum result find_segment_size(const char *path, uint64_t *size)
{
    DIR *dir = opendir(path);
    if (dir == NULL) return result_from_errno(errno);
    enum result res = RESULT_MISSING;
    for (const struct dirent *entry = readdir(dir); entry != NULL && res == RESULT_MISSING; entry = readdir(dir)) {
        struct stat status;
        if (!is_segment(entry->d_name)) continue;
        if (fstatat(dirfd(dir), entry->d_name, &status, 0) != 0) continue;
        *size = (uint64_t)status.st_size;
        res = *size == 0 || *size % LOG_BLOCK_SIZE != 0 ? RESULT_CORRUPT : RESULT_OK;
    }
    closedir(dir);
    return res;
}

static enum cli_exit exit_of(enum result result)
{
    return result == RESULT_OK ? CLI_EXIT_OK : result == RESULT_CORRUPT ? CLI_EXIT_CORRUPT : CLI_EXIT_FAILED;
}

static enum cli_exit scan_log(const struct log_arguments *arguments, const char *path, const char *label)
{
    struct log_scan scan = {.arguments = arguments, .label = label};
    struct disk_options options = {.path = path, .look_only = true};
    char text[512] = "";
    uint64_t torn_offset = 0;
    enum result res = find_segment_size(path, &options.segment_size_bytes);
    if (res == RESULT_MISSING) { /* a shard that never wrote */
        if (arguments->verify) print_verdict(&scan, RESULT_OK, 0, text);
        return CLI_EXIT_OK;
    }
    if (res == RESULT_CORRUPT) snprintf(text, sizeof text, "a segment is not a multiple of %u bytes long", LOG_BLOCK_SIZE);
    if (res != RESULT_OK && res != RESULT_CORRUPT) snprintf(text, sizeof text, "%s: %s", path, result_text(res));
    if (res == RESULT_OK) {
        struct disk *disk;
        res = disk_open(&disk, &options, text, sizeof text);
        if (res == RESULT_OK) {
            res = commitlog_scan(disk, log_on_record, &scan, &torn_offset, text, sizeof text);
            disk->ops->close(disk);
        }
    }
    if (arguments->verify)
        print_verdict(&scan, res, torn_offset, text);
    else if (text[0] != '\0')
        fprintf(stderr, "%s: %s\n", label, text);
    return exit_of(res);
}

/* ---- which logs ---- */

static bool path_exists(const char *directory, const char *name)
{
    char path[LOG_PATH_MAX];
    struct stat status;
    int len = snprintf(path, sizeof path, "%s/%s", directory, name);
    return len > 0 && (size_t)len < sizeof path && stat(path, &status) == 0;
}

static int is_shard(const struct dirent *entry)
{
    return strncmp(entry->d_name, "shard-", 6) == 0;
}

static enum cli_exit scan_logs(const struct log_arguments *arguments)
{
    struct dirent **shards;
    int count = scandir(arguments->path, &shards, is_shard, alphasort);
    if (count < 0) {
        remote_complain("%s: %s", arguments->path, strerror(errno));
        return CLI_EXIT_FAILED;
    }
    enum cli_exit worst = CLI_EXIT_OK;
    for (int i = 0; i < count; i++) {
        char path[LOG_PATH_MAX];
        int len = snprintf(path, sizeof path, "%s/%s/log", arguments->path, shards[i]->d_name);
        enum cli_exit code = CLI_EXIT_FAILED;
        if (len > 0 && (size_t)len < sizeof path) code = scan_log(arguments, path, shards[i]->d_name);
        if (code > worst) worst = code;
        free(shards[i]);
    }
    free(shards);
    return worst;
}

/* ---- a data directory as a whole ---- */

static enum cli_exit worse(enum cli_exit a, enum cli_exit b) { return a > b ? a : b; }

static void print_directory(const struct log_arguments *arguments, const char *verdict, const char *text)
{
    if (arguments->json) printf("{\"log\":\"directory\",\"verdict\":\"%s\"}\n", verdict);
    else printf("directory: %s\n", verdict);
    fflush(stdout);
    if (text[0] != '\0') fprintf(stderr, "directory: %s\n", text);
}

static enum cli_exit refuse_directory(const struct log_arguments *arguments, enum result result, const char *text)
{
    print_directory(arguments, result == RESULT_CORRUPT ? "corrupt" : result == RESULT_BUSY ? "in use" : "unreadable", text);
    return exit_of(result);
}

struct rehearsed {
    const struct log_arguments *arguments;
    bool damaged;
};

static void on_state(void *context, uint16_t shard, uint64_t index, uint64_t hash)
{
    const struct rehearsed *rehearsed = context;
    if (rehearsed->arguments->json)
        printf("{\"log\":\"" SHARD_DIRECTORY "\",\"index\":%" PRIu64 ",\"state\":\"%016" PRIx64 "\"}\n", shard, index, hash);
    else
        printf(SHARD_DIRECTORY ": state %016" PRIx64 " at index %" PRIu64 "\n", shard, hash, index);
}

static void on_damage(void *context, uint16_t shard, const char *damage)
{
    struct rehearsed *rehearsed = context;
    rehearsed->damaged = true;
    fprintf(stderr, SHARD_DIRECTORY ": its store is damaged and would serve nothing: %s\n", shard, damage);
}

/* As a start does when it has read the logs. */
static enum cli_exit rehearse(const struct log_arguments *arguments, const struct datadir *dir)
{
    static struct config config; /* large: lists of texts */
    char text[512] = "";
    struct rehearsed rehearsed = {.arguments = arguments};
    config_init_defaults(&config);
    const struct rehearsal_options options = {.config = &config,
                                              .path = arguments->path,
                                              .shard_count = (uint16_t)datadir_shards(dir),
                                              .made_before = datadir_run(dir) > 0,
                                              .on_damage = on_damage,
                                              .on_state = on_state,
                                              .context = &rehearsed};
    enum result result = logger_start(LOGGER_WARN, LOGGER_LOGFMT); /* as the threads of a start need it */
    if (result != RESULT_OK) return refuse_directory(arguments, result, result_text(result));
    result = rehearsal_run(&options, text, sizeof text);
    logger_stop();
    if (result != RESULT_OK) return refuse_directory(arguments, result, text);
    print_directory(arguments, rehearsed.damaged ? "corrupt" : "good", "");
    return rehearsed.damaged ? CLI_EXIT_CORRUPT : CLI_EXIT_OK;
}

/* Whether there is a key in it. Who may read it is not asked: a start does, under the server's user, and here another one may look. */
static enum result look_at_key(const struct log_arguments *arguments, char *text, size_t text_size)
{
    enum result result = datadir_look_at_key(arguments->path, DATADIR_TOKEN_KEY, DATADIR_TOKEN_KEY_SIZE, text, text_size);
    return result == RESULT_CORRUPT ? result : RESULT_OK;
}

static enum cli_exit verify_data_directory(const struct log_arguments *arguments)
{
    struct datadir *dir;
    char text[512] = "";
    enum result result = datadir_inspect(&dir, arguments->path, text, sizeof text);
    enum cli_exit code = scan_logs(arguments);
    if (result == RESULT_OK) result = look_at_key(arguments, text, sizeof text);
    if (result != RESULT_OK) code = worse(code, refuse_directory(arguments, result, text));
    else if (code == CLI_EXIT_OK) code = rehearse(arguments, dir);
    datadir_close(dir);
    return code;
}

static enum cli_exit scan_path(const struct log_arguments *arguments)
{
    char path[LOG_PATH_MAX];
    struct stat status;
    int error = stat(arguments->path, &status) != 0 ? errno : S_ISDIR(status.st_mode) ? 0 : ENOTDIR;
    if (error != 0) {
        remote_complain("%s: %s", arguments->path, strerror(error));
        return CLI_EXIT_FAILED;
    }
    if (path_exists(arguments->path, FORMAT_NAME) || path_exists(arguments->path, FORMAT_COPY_NAME))
        return arguments->verify ? verify_data_directory(arguments) : scan_logs(arguments);
    bool is_shard_directory = path_exists(arguments->path, "log");
    int len = snprintf(path, sizeof path, is_shard_directory ? "%s/log" : "%s", arguments->path);
    uint64_t size;
    if (len < 0 || (size_t)len >= sizeof path || (!is_shard_directory && find_segment_size(path, &size) == RESULT_MISSING)) {
        remote_complain("%s: neither a data directory nor a commit log", arguments->path);
        return CLI_EXIT_FAILED;
    }
    return scan_log(arguments, path, "log");
}

/* ---- commands ---- */

static int log_inspect(int argc, char **argv)
{
    static const char about_inspect[] =
        "Prints the records of a commit log, one line each: index, term, command, size, place.\v"
        "PATH: a data directory (all its shards), a shard's directory, or its log directory. Nothing is changed. The log of a running server "
        "moves while it is read: stop the server, or read a copy.\n"
        "\n"
        "Examples:\n"
        "  ringpost log inspect ./data\n"
        "  ringpost log inspect ./data/shard-0003 --from 1000 --to 1010 --json";
    static const struct argp argp = {.options = inspect_options, .parser = log_parse, .args_doc = "PATH", .doc = about_inspect};
    struct log_arguments arguments = {.to = UINT64_MAX};
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    return scan_path(&arguments);
}

static int log_verify(int argc, char **argv)
{
    static const char about_verify[] =
        "Reads a commit log whole and says whether every record is what was written; of a data directory also whether a start would take it.\v"
        "A torn tail is reported and is no failure: it is the end of what was being written when the machine stopped, and the next start cuts it. "
        "After a crash it may also be the last batch, damaged on the disk since: then no log can tell. A log that was stopped in order, or idle "
        "for a second, is sealed, and there every damage shows. Damage exits with 6 and says where it is.\n"
        "\n"
        "Of a data directory FORMAT, each shard's IDENTITY and the token key are judged as a start judges them (but for who may read the key); when the logs are good, every shard is recovered in "
        "memory, and what the shards know of each other is compared: one that is missing, foreign, older than the others or without its newest "
        "part is named. The rows of each store are counted against what its log has given it. `state` is everything a shard knows as of that index of its "
        "log, in one number: a copy that was brought to the same index has the same. A directory that a server has open exits with 1: stop the server, or verify a copy.\n"
        "\n"
        "Examples:\n"
        "  ringpost log verify ./data\n"
        "  ringpost log verify --json ./data | jq -r 'select(.verdict == \"corrupt\") | .log'";
    static const struct argp argp = {.options = verify_options, .parser = log_parse, .args_doc = "PATH", .doc = about_verify};
    struct log_arguments arguments = {.to = UINT64_MAX, .verify = true};
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    return scan_path(&arguments);
}

int cli_log(int argc, char **argv)
{
    static const struct cli_command actions[] = {
        {"inspect", "print the records", log_inspect},
        {"verify", "check every record", log_verify},
        {NULL, NULL, NULL},
    };
    return cli_dispatch(actions, "A server's commit log, offline.", argc, argv);
}
