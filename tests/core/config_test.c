/* tests/core/config_test.c - what each source takes, what it refuses and in which words, and that the documentation,
 * the example file and the parser are one. */
#include "core/config.h"
#include "core/check.h"
#include "core/config_internal.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct config config;
static char text[512];

static void setup(void)
{
    config_init_defaults(&config);
    text[0] = '\0';
}
TestSuite(config, .init = setup);

static enum result load_bytes(struct config *into, const char *file, size_t len)
{
    FILE *stream = tmpfile();
    cr_assert_eq(fwrite(file, 1, len, stream), len);
    rewind(stream);
    enum result res = config_load_stream(into, stream, "x.conf", text, sizeof text);
    fclose(stream);
    return res;
}
static enum result load(const char *file)
{
    return load_bytes(&config, file, strlen(file));
}

Test(config, defaults_are_those_of_the_documentation)
{
    cr_assert_str_eq(config.listen, "127.0.0.1:7800");
    cr_assert_eq(config.connections_max, 200000);
    cr_assert_eq(config.frame_size_max_bytes, 65536);
    cr_assert_eq(config.header_timeout_ms, 5000);
    cr_assert_eq(config.refresh_token_ttl_ms, UINT64_C(2592000000));
    cr_assert_eq(config.password_memory_bytes, 19 << 20);
    cr_assert_eq(config.segment_size_bytes, 64 << 20);
    cr_assert_eq(config.log_level, LOGGER_INFO);
    cr_assert_eq(config.pin_workers, true);
    cr_assert_eq(config.allowed_origins.count, 0);
}

Test(config, every_default_is_inside_its_own_range_and_every_row_is_documented)
{
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        const struct config_row *row = &config_rows[i];
        char reason[CONFIG_SHORT_MAX];
        cr_expect(config_value_parse(&config, row, row->value_default, reason), "%s: %s", row->name, reason);
        cr_expect_gt(strlen(row->meaning), 15, "%s", row->name);
        cr_expect_eq(row->meaning[strlen(row->meaning) - 1], '.', "%s: a sentence ends", row->name);
        cr_expect_leq(strlen(row->name) + strlen(" = ") + CONFIG_TEXT_MAX, 197, "%s fits a line of libinih", row->name);
    }
}

static const struct {
    const char *name, *value;
    uint64_t want;
} numbers[] = {
    {"connections_max", "1", 1},
    {"connections_max", " 5000 ", 5000},
    {"connections_max", "10k", 10000},
    {"connections_max", "2M", 2000000},
    {"connections_max", "10 k", 10000},
    {"connections_per_ip_max", "0", 0},
    {"ring_entries", "128", 128},
    {"frame_size_max", "1024", 1024},
    {"frame_size_max", "4096B", 4096},
    {"frame_size_max", "1KiB", 1024},
    {"frame_size_max", "16MiB", 16777216},
    {"store_backlog_max", "16GiB", UINT64_C(17179869184)},
    {"header_timeout", "100ms", 100},
    {"header_timeout", "7s", 7000},
    {"header_timeout", "10m", 600000},
    {"refresh_token_ttl", "365d", UINT64_C(31536000000)},
    {"refresh_token_ttl", "1h", 3600000},
    {"token_leeway", "0", 0},
    {"spin", "50us", 50},
    {"spin", "2ms", 2000},
    {"pin_workers", "false", 0},
    {"log_level", "debug", LOGGER_DEBUG},
    {"log_level", "error", LOGGER_ERROR},
    {"log_format", "json", LOGGER_JSON},
};

static const struct config_row *row_of(const char *name)
{
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++)
        if (strcmp(config_rows[i].name, name) == 0) return &config_rows[i];
    cr_assert_fail("no row %s", name);
    return NULL;
}

Test(config, values_with_units)
{
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        config_init_defaults(&config);
        cr_expect_eq(config_set(&config, numbers[i].name, numbers[i].value, text, sizeof text), RESULT_OK, "%s", text);
        cr_expect_eq(config_value_number(&config, row_of(numbers[i].name)), numbers[i].want, "%s = %s", numbers[i].name,
                     numbers[i].value);
    }
}

static const struct {
    const char *name, *value, *says;
} refused[] = {
    {"connections_max", "", "not a number"},
    {"connections_max", "-1", "not a number"},
    {"connections_max", "1.5", "not a number"},
    {"connections_max", "0x10", "not a number"},
    {"connections_max", "10K", "not a number"},
    {"connections_max", "10 k k", "not a number"},
    {"connections_max", "18446744073709551616", "not a number"},
    {"connections_max", "18446744073709551615M", "not a number"},
    {"connections_max", "0", "too small; allowed: 1 .. 4M"},
    {"connections_max", "5M", "too large; allowed: 1 .. 4M"},
    {"ring_entries", "100", "not a power of two"},
    {"frame_size_max", "64KB", "not a size"},
    {"frame_size_max", "64K", "not a size"},
    {"frame_size_max", "64kib", "not a size"},
    {"frame_size_max", "17MiB", "too large; allowed: 1KiB .. 16MiB"},
    {"header_timeout", "5", "a duration with its unit"},
    {"header_timeout", "5sec", "a duration with its unit"},
    {"header_timeout", "0", "too small; allowed: 100ms .. 10m"},
    {"access_token_ttl", "61m", "too large; allowed: 1m .. 1h"},
    {"pin_workers", "yes", "allowed: false, true"},
    {"log_level", "INFO", "allowed: debug, info, warn, error"},
    {"listen", "x", "too short"},
    {"data_dir", "", "too short"},
    {"data_dir", "/a;b", "not allowed"},
    {"data_dir", "/a\nb", "not allowed"},
    {"allowed_origins", "a,b\tc,\x01", "not allowed"},
    {"allowed_origins", "a, #b", "begins a comment"},
    {"data_dir", "/srv/rp # the fast disk", "begins a comment"},
    {"data_dir", "#rp", "begins a comment"},
    {"data_dir", "${HOME}/rp", "$ and a name are not replaced"},
    {"data_dir", "$HOME/rp", "$ and a name are not replaced"},
    {"data_dir", "/srv/$(hostname)", "$ and a name are not replaced"},
    {"data_dir", "~/rp", "~ is not replaced"},
    {"data_dir", "\"/srv/rp\"", "without quotes"},
    {"data_dir", "'/srv/rp'", "without quotes"},
    {"data_dir", "/srv/rp'", "without quotes"},
    {"data_dir", "/srv/rp\xc2\xa0", "cannot be seen"},
    {"data_dir", "/srv/\xe2\x80\x8brp", "cannot be seen"},
    {"data_dir", "\xef\xbb\xbf/srv/rp", "cannot be seen"},
    {"allowed_origins", "https://a.example, \"https://b.example\"", "without quotes"},
    {"allowed_origins", "https://$HOST", "$ and a name are not replaced"},
    {"connections_max", "010k # ten", "not a number"},
    {"connections_max", "\"10\"", "not a number"},
    {"connections_max", "1_000", "not a number"},
    {"connections_max", "1,000", "not a number"},
    {"connections_max", "+5", "not a number"},
    {"connections_max", "5\xc2\xa0", "not a number"},
    {"header_timeout", "1.5s", "a duration with its unit"},
    {"header_timeout", "1s500ms", "a duration with its unit"},
    {"header_timeout", "1M", "a duration with its unit"},
    {"pin_workers", "True", "allowed: false, true"},
    {"pin_workers", "1", "allowed: false, true"},
    {"allowed_origins", "[::1]", "may not begin"},
    {"conections_max", "5", "did you mean connections_max?"},
    {"heartbeat", "5", "no such option"},
    {"", "5", "no such option"},
    {"Connections_Max", "5", "no such option"},
};

Test(config, bad_values_are_refused_with_reason_and_range_and_change_nothing)
{
    static struct config before;
    config_init_defaults(&before);
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        text[0] = '\0';
        cr_expect_eq(config_set(&config, refused[i].name, refused[i].value, text, sizeof text), RESULT_MALFORMED,
                     "%s = %s", refused[i].name, refused[i].value);
        cr_expect(strstr(text, "command line: --") == text, "%s", text);
        cr_expect_not_null(strstr(text, refused[i].name), "%s", text);
        cr_expect_not_null(strstr(text, refused[i].says), "%s", text);
        cr_expect_null(strchr(text, '\n'));
    }
    cr_expect_eq(memcmp(&config.origins, &before.origins, sizeof config.origins), 0);
    cr_expect_eq(config.allowed_origins.count, 0);
}

Test(config, a_text_or_item_of_the_greatest_length_fits_and_one_more_does_not)
{
    char longest[CONFIG_TEXT_MAX + 1];
    memset(longest, 'a', CONFIG_TEXT_MAX);
    longest[CONFIG_TEXT_MAX] = '\0';
    cr_expect_eq(config_set(&config, "data_dir", longest, text, sizeof text), RESULT_MALFORMED);
    cr_expect_eq(config_set(&config, "allowed_origins", longest, text, sizeof text), RESULT_MALFORMED);
    longest[CONFIG_TEXT_MAX - 1] = '\0';
    cr_expect_eq(config_set(&config, "data_dir", longest, text, sizeof text), RESULT_OK, "%s", text);
    cr_expect_eq(config_set(&config, "allowed_origins", longest, text, sizeof text), RESULT_OK, "%s", text);
    cr_expect_str_eq(config.data_dir, longest);
    cr_expect_str_eq(config_item(&config.allowed_origins, 0), longest);
}

Test(config, a_list_has_items_and_a_limit)
{
    char many[CONFIG_ITEMS_MAX * 2 + 3] = "";
    for (int i = 0; i <= CONFIG_ITEMS_MAX; i++) strcat(many, "a,");
    cr_expect_eq(config_set(&config, "allowed_origins", many, text, sizeof text), RESULT_MALFORMED);
    many[2 * CONFIG_ITEMS_MAX] = '\0';
    cr_expect_eq(config_set(&config, "allowed_origins", many, text, sizeof text), RESULT_OK, "%s", text);
    cr_expect_eq(config.allowed_origins.count, CONFIG_ITEMS_MAX);
}

Test(config, flags_take_dashes_and_refuse_repeats)
{
    cr_assert(config_knows("data-dir"));
    cr_assert(config_knows("data_dir"));
    cr_assert_not(config_knows("data"));
    cr_assert_not(config_knows("DATA-DIR"));
    cr_assert_eq(config_set(&config, "data-dir", "/one", text, sizeof text), RESULT_OK);
    cr_assert_eq(config_set(&config, "data_dir", "/two", text, sizeof text), RESULT_MALFORMED);
    cr_assert_not_null(strstr(text, "already"), "%s", text);
    cr_assert_str_eq(config.data_dir, "/one");
}

Test(config, a_file_with_all_its_syntax)
{
    cr_assert_eq(load("\xef\xbb\xbf# comment\n"
                      "; comment\n"
                      "\n"
                      "listen = [::]:7800 ; all addresses\r\n"
                      "workers=2\n"
                      "allowed_origins = https://a.example, https://b.example\n"
                      "    https://c.example,\n"
                      "\thttps://d.example\n"
                      "heartbeat_interval: 20s\n"
                      "log_format = json"),
                 RESULT_OK, "%s", text);
    cr_expect_str_eq(config.listen, "[::]:7800");
    cr_expect_eq(config.workers, 2);
    cr_expect_eq(config.heartbeat_interval_ms, 20000);
    cr_expect_eq(config.log_format, LOGGER_JSON);
    cr_assert_eq(config.allowed_origins.count, 4);
    cr_expect_str_eq(config_item(&config.allowed_origins, 1), "https://b.example");
    cr_expect_str_eq(config_item(&config.allowed_origins, 3), "https://d.example");
    cr_expect_eq(config.origins[CONFIG_OPTION_workers].line, 5);
    cr_expect_eq(config.origins[CONFIG_OPTION_workers].source, CONFIG_FILE);
    cr_expect_eq(config.origins[CONFIG_OPTION_shards].source, CONFIG_DEFAULT);
}

#define AAAAA "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
static const struct {
    const char *name, *file, *says;
} bad_files[] = {
    {"unknown key", "workers = 1\n\nworkrs = 2\n", "x.conf:3: workrs: there is no such option; did you mean workers?"},
    {"bad value", "#\nworkers = many\n",
     "x.conf:2: workers = \"many\": it is not a number, such as 500 or 10k; allowed: 0 .. 256"},
    {"duplicate", "workers = 1\nshards = 1\nworkers = 1\n", "x.conf:3: workers was set in line 1 already"},
    {"section", "workers = 1\n[limits]\n", "x.conf:2: sections are not used; remove the line"},
    {"indented section", "  [limits]\n", "x.conf:1: sections are not used; remove the line"},
    {"no equals sign", "workers = 1\n\nshards\n", "x.conf:3: it is not of the form key = value"},
    {"indented after a number", "workers = 1\n  2\n",
     "x.conf:2: an indented line goes on with a list, but workers is none"},
    {"indented after a list", "allowed_origins = https://a\n  log_level = debug\n",
     "x.conf:2: an indented line goes on with the list allowed_origins: begin it without a blank to set log_level"},
    {"indented after a list and a blank line", "allowed_origins =\n\n\tworkers: 2\n",
     "x.conf:3: an indented line goes on with the list allowed_origins: begin it without a blank to set workers"},
    {"an option among the items", "allowed_origins = https://a, log_level = debug\n",
     "x.conf:1: allowed_origins = \"https://a, log_level = debug\": log_level is an option: set it on a line of its own; allowed: up to 32 items with commas between"},
    {"section behind a byte order mark", "\xef\xbb\xbf[limits]\n", "x.conf:1: sections are not used; remove the line"},
    {"old line ends", "workers = 1\rshards = 1\r", "x.conf:1: there is a control character in the line"},
    {"a variable", "data_dir = ${STATE_DIRECTORY}\n",
     "x.conf:1: data_dir = \"${STATE_DIRECTORY}\": $ and a name are not replaced: write the value itself; allowed: 1 .. 159 bytes of text"},
    {"control character", "workers = 1\nshards = \x01\n", "x.conf:2: there is a control character in the line"},
    {"long line", "data_dir = " AAAAA AAAAA AAAAA AAAAA "\n", "x.conf:1: the line is longer than 198 bytes"},
    {"empty key", "= 5\n", "x.conf:1: : there is no such option"},
    {"terminal escapes",
     "workers = \xc2\x9b"
     "31m\n",
     "x.conf:1: workers = \"??31m\": it is not a number, such as 500 or 10k; allowed: 0 .. 256"},
};

Test(config, bad_files_are_refused_with_line_and_reason)
{
    for (size_t i = 0; i < COUNT_OF(bad_files); i++) {
        config_init_defaults(&config);
        cr_expect_eq(load(bad_files[i].file), RESULT_MALFORMED, "%s", bad_files[i].name);
        cr_expect_str_eq(text, bad_files[i].says, "%s", bad_files[i].name);
    }
    cr_expect_eq(load_bytes(&config, "workers = 1\0shards = 2\n", 23), RESULT_MALFORMED);
    cr_expect_str_eq(text, "x.conf:1: there is a control character in the line");
}

Test(config, a_comment_may_stand_behind_a_value)
{
    static const struct {
        const char *file, *data_dir;
    } cases[] = {
        {"data_dir = /srv/rp # the fast disk\n", "/srv/rp"},
        {"data_dir = /srv/rp\t#the fast disk\n", "/srv/rp"},
        {"data_dir = /srv/rp ; the fast disk # or so\n", "/srv/rp"},
        {"data_dir = /srv/rp ;\r\n", "/srv/rp"},
        {"data_dir = /srv/a#b\n", "/srv/a#b"},
        {"data_dir = /srv/~a$\n", "/srv/~a$"},
        {"\xef\xbb\xbf" "data_dir = /srv/rp\n", "/srv/rp"},
        {"data_dir = /srv/rp # " AAAAA AAAAA AAAAA AAAAA AAAAA AAAAA "\nworkers = 1\n", "/srv/rp"},
        {"# " AAAAA AAAAA AAAAA AAAAA AAAAA AAAAA "\ndata_dir = /srv/rp", "/srv/rp"},
        {"# " AAAAA AAAAA AAAAA AAAAA AAAAA AAAAA, "./data"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        config_init_defaults(&config);
        cr_expect_eq(load(cases[i].file), RESULT_OK, "%s: %s", cases[i].file, text);
        cr_expect_str_eq(config.data_dir, cases[i].data_dir, "%s", cases[i].file);
    }
    config_init_defaults(&config);
    cr_assert_eq(load("allowed_origins = https://a # the first\n  # none here\n  https://b # the second\nworkers = 2 # two\n"), RESULT_OK,
                 "%s", text);
    cr_expect_eq(config.allowed_origins.count, 2);
    cr_expect_eq(config.workers, 2);
}

Test(config, a_file_that_cannot_be_read)
{
    cr_assert_eq(config_load_file(&config, "/nonexistent/x.conf", text, sizeof text), RESULT_MISSING);
    cr_assert_str_eq(text, "/nonexistent/x.conf: cannot be opened: No such file or directory");
    cr_assert_eq(config_load_file(&config, "/", text, sizeof text), RESULT_IO);
}

Test(config, the_environment_takes_its_own_names_only)
{
    char *good[] = {"PATH=/bin", "RINGPOST=x", "RINGPOST_DATA_DIR=/data=1", "RINGPOST_WORKERS=3", NULL};
    cr_assert_eq(config_load_environment(&config, good, text, sizeof text), RESULT_OK, "%s", text);
    cr_assert_str_eq(config.data_dir, "/data=1");
    cr_assert_eq(config.workers, 3);
    static const struct {
        const char *entry, *says;
    } bad[] = {
        {"RINGPOST_WORKER=3", "environment: RINGPOST_WORKER: there is no such option; did you mean workers?"},
        {"RINGPOST_workers=3", "environment: RINGPOST_workers: there is no such option"},
        {"RINGPOST_WORKERS=x",
         "environment: RINGPOST_WORKERS = \"x\": it is not a number, such as 500 or 10k; allowed: 0 .. 256"},
        {"RINGPOST_" AAAAA AAAAA "=1", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char entry[256];
        snprintf(entry, sizeof entry, "%s", bad[i].entry);
        char *environment[] = {entry, NULL};
        config_init_defaults(&config);
        cr_expect_eq(config_load_environment(&config, environment, text, sizeof text), RESULT_MALFORMED);
        if (bad[i].says != NULL) cr_expect_str_eq(text, bad[i].says);
    }
}

Test(config, what_an_orchestrator_injects_is_ignored_and_counted)
{
    char *injected[] = {"RINGPOST_SERVICE_HOST=10.0.0.11", "RINGPOST_SERVICE_PORT=7800", "RINGPOST_SERVICE_PORT_HTTP=7800",
                        "RINGPOST_PORT=tcp://10.0.0.11:7800", "RINGPOST_PORT_7800_TCP=tcp://10.0.0.11:7800",
                        "RINGPOST_PORT_7800_TCP_PROTO=tcp", "RINGPOST_PORT_7800_TCP_PORT=7800", "RINGPOST_PORT_7800_TCP_ADDR=10.0.0.11",
                        "RINGPOST_PORT_53_UDP=udp://10.0.0.11:53", "RINGPOST_WEB_CHAT_SERVICE_HOST=fd00::11",
                        "RINGPOST_WEB_CHAT_PORT_80_TCP_ADDR=fd00::11", "RINGPOST_NAME=/web/ringpost", "RINGPOST_ENV_PATH=/bin", NULL};
    cr_assert_eq(config_load_environment(&config, injected, text, sizeof text), RESULT_OK, "%s", text);
    cr_expect_eq(config.injected_count, COUNT_OF(injected) - 1);
    cr_expect_str_eq(config.injected_first, "RINGPOST_SERVICE_HOST");
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) cr_expect_eq(config.origins[i].source, CONFIG_DEFAULT);
    static char *mistyped[] = {"RINGPOST_PORT=7800", "RINGPOST_SERVICE_HOST=yes", "RINGPOST_SERVICE_PORT=http", "RINGPOST_PORT_7800=1",
                               "RINGPOST_PORT_7800_TCP=1", "RINGPOST_PORT_7800_TCP_NAME=x", "RINGPOST_NAME=ringpost", "RINGPOST_HOST=10.0.0.1",
                               "RINGPOST_LISTENS=tcp://10.0.0.11:7800", "RINGPOST_PORT"};
    for (size_t i = 0; i < COUNT_OF(mistyped); i++) {
        char *environment[] = {mistyped[i], NULL};
        config_init_defaults(&config);
        cr_expect_eq(config_load_environment(&config, environment, text, sizeof text), RESULT_MALFORMED, "%s", mistyped[i]);
    }
    char *twice[] = {"RINGPOST_WORKERS=1", "RINGPOST_WORKERS=2", NULL};
    config_init_defaults(&config);
    cr_expect_eq(config_load_environment(&config, twice, text, sizeof text), RESULT_MALFORMED);
    cr_expect_str_eq(text, "environment: RINGPOST_WORKERS is there twice");
}

Test(config, priority_does_not_depend_on_the_order_of_the_calls)
{
    char *environment[] = {"RINGPOST_WORKERS=2", "RINGPOST_SHARDS=2", NULL};
    static const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (size_t i = 0; i < COUNT_OF(orders); i++) {
        config_init_defaults(&config);
        for (int j = 0; j < 3; j++) {
            enum result res = RESULT_OK;
            if (orders[i][j] == 0) res = load("workers = 1\nshards = 1\nentities_max = 1000\nallowed_origins = a\n");
            if (orders[i][j] == 1) res = config_load_environment(&config, environment, text, sizeof text);
            if (orders[i][j] == 2) {
                res = config_set(&config, "workers", "3", text, sizeof text);
                if (res == RESULT_OK) res = config_set(&config, "allowed-origins", "b,c", text, sizeof text);
            }
            cr_assert_eq(res, RESULT_OK, "%s", text);
        }
        cr_expect_eq(config.workers, 3);
        cr_expect_eq(config.shards, 2);
        cr_expect_eq(config.entities_max, 1000);
        cr_assert_eq(config.allowed_origins.count, 2, "a list replaces, it does not add");
        cr_expect_str_eq(config_item(&config.allowed_origins, 0), "b");
    }
}

Test(config, a_covered_value_is_still_checked)
{
    cr_assert_eq(config_set(&config, "workers", "3", text, sizeof text), RESULT_OK);
    cr_assert_eq(load("workers = x\n"), RESULT_MALFORMED);
    config_init_defaults(&config);
    cr_assert_eq(config_set(&config, "allowed_origins", "a", text, sizeof text), RESULT_OK);
    cr_assert_eq(load("allowed_origins = b\n  c\n"), RESULT_OK, "%s", text);
    cr_assert_eq(config.allowed_origins.count, 1);
    cr_assert_str_eq(config_item(&config.allowed_origins, 0), "a");
}

/* Byte for byte except where values come from. */
static void expect_equal_values(struct config *left, struct config *right)
{
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        struct writer a, b;
        writer_init(&a, 0);
        writer_init(&b, 0);
        config_value_render(left, &config_rows[i], ",", &a);
        config_value_render(right, &config_rows[i], ",", &b);
        cr_expect(slice_equal(writer_slice(&a), writer_slice(&b)), "%s", config_rows[i].name);
        writer_deinit(&a);
        writer_deinit(&b);
    }
}

Test(config, the_example_file_loads_and_says_the_defaults)
{
    static struct config defaults;
    config_init_defaults(&defaults);
    struct writer out;
    writer_init(&out, 0);
    config_render_defaults(&out);
    cr_assert_eq(load_bytes(&config, (char *)out.data, out.len), RESULT_OK, "%s", text);
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) cr_expect_eq(config.origins[i].source, CONFIG_DEFAULT);
    /* With the # before every option removed it says the same. */
    for (size_t i = 0; i + 1 < out.len; i++)
        if (out.data[i] == '\n' && out.data[i + 1] == '#' && out.data[i + 2] != ' ') out.data[i + 1] = ' ';
    struct writer plain;
    writer_init(&plain, 0);
    for (size_t i = 0; i < out.len; i++)
        if (!(out.data[i] == ' ' && i > 0 && out.data[i - 1] == '\n')) writer_u8(&plain, out.data[i]);
    config_init_defaults(&config);
    cr_assert_eq(load_bytes(&config, (char *)plain.data, plain.len), RESULT_OK, "%s", text);
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++)
        cr_expect_eq(config.origins[i].source, CONFIG_FILE, "%s stands in the example", config_rows[i].name);
    expect_equal_values(&config, &defaults);
    writer_deinit(&plain);
    writer_deinit(&out);
}

Test(config, rendered_values_load_to_the_same_values)
{
    cr_assert_eq(load("listen = 0.0.0.0:1\nheader_timeout = 1500ms\nframe_size_max = 65537\nlog_level = debug\n"
                      "allowed_origins = https://a\n  https://b\nconnections_max = 123456\nspin = 70us\n"),
                 RESULT_OK, "%s", text);
    struct writer out;
    writer_init(&out, 0);
    config_render(&config, &out);
    static struct config again;
    config_init_defaults(&again);
    cr_assert_eq(load_bytes(&again, (char *)out.data, out.len), RESULT_OK, "%s", text);
    expect_equal_values(&config, &again);
    writer_u8(&out, 0);
    cr_expect_not_null(strstr((char *)out.data, "\nheader_timeout = 1500ms ; file, line 2\n"));
    cr_expect_not_null(strstr((char *)out.data, "\nworkers = 0 ; default\n"));
    cr_expect_not_null(strstr((char *)out.data, "\nallowed_origins = https://a\n    https://b ; file, line 6\n"));
    cr_expect_not_null(strstr((char *)out.data, "\ntrusted_proxies =  ; default\n"));
    writer_deinit(&out);
}

Test(config, the_documentation_has_a_row_for_every_option)
{
    struct writer out;
    writer_init(&out, 0);
    config_render_markdown(&out);
    writer_u8(&out, 0);
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        char row[128];
        snprintf(row, sizeof row, "\n| `%s` | ", config_rows[i].name);
        cr_expect_not_null(strstr((char *)out.data, row), "%s", config_rows[i].name);
    }
    cr_expect_not_null(strstr((char *)out.data, "| `header_timeout` | 5s | 100ms .. 10m | "));
    writer_deinit(&out);
}
