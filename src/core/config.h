/* core/config.h - every option of the server: one table gives the struct, the parser, the example file and the documentation.
 * Owns:    nothing; a struct config is plain memory, filled at start and only read after.
 * Thread:  one thread fills it; any thread reads it afterwards.
 * Depends: core/ only, libinih.   Start at: core/core.h
 *
 * Sources, a later one wins whatever the order of the calls: default < file < environment < command line.
 *   file           key = value, one a line; # or ; begins a comment, alone on a line or after a blank; an indented line goes
 *                  on with a list; no sections
 *   environment    RINGPOST_<NAME>, the option's name in capitals; any other RINGPOST_ variable is an error but those of the
 *                  client, RINGPOST_CLI_…, and those an orchestrator makes for a service or container of that name
 *                  (RINGPOST_SERVICE_HOST, RINGPOST_PORT=tcp://…), which are ignored and counted
 *   command line   --name value or --name=value; - and _ are the same
 * Values: a number (10000 or 10k or 2M), a size (512, 64KiB, 8MiB, 1GiB), a duration with its unit (500ms, 30s, 5m, 1h, 30d; spin:
 * 50us), true or false, one word of a choice, text, or a list with commas. Text is taken as it stands: quotes, ~ and $NAME, which
 * somebody may expect to be replaced, are refused. Whatever is unknown, out of range or said twice in one source is refused with
 * its place, the reason and what is allowed.
 *
 * A field has the option's name, plus its unit where it has one: frame_size_max -> frame_size_max_bytes,
 * header_timeout -> header_timeout_ms, spin -> spin_us. */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H

#include "core/cursor.h"
#include "core/logger.h"
#include "core/result.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define CONFIG_TEXT_MAX  160 /* bytes of a text or list item, with its end; so that every value fits a line of a file */
#define CONFIG_ITEMS_MAX 32  /* of a list */

#define CONFIG_KIB(n) ((uint64_t)(n) << 10)
#define CONFIG_MIB(n) ((uint64_t)(n) << 20)
#define CONFIG_GIB(n) ((uint64_t)(n) << 30)
#define CONFIG_S(n)   ((uint64_t)(n) * 1000)
#define CONFIG_M(n)   CONFIG_S((n) * 60)
#define CONFIG_H(n)   CONFIG_M((n) * 60)
#define CONFIG_D(n)   CONFIG_H((uint64_t)(n) * 24)

/* G(title) begins a group. X(kind, name, default, min, max, meaning); kinds and their fields stand below the table.
 * Text: min and max are lengths. List: of items. Choices and truth values have no range. */
#define CONFIG_LIST(G, X)                                                                                              \
    G("Address and data")                                                                                              \
    X(TEXT, listen, "127.0.0.1:7800", 3, CONFIG_TEXT_MAX - 1,                                                          \
      "Address and port of the one listener that serves HTTP, WebSocket, MQTT and raw TCP. 0.0.0.0:7800 or [::]:7800 to be " \
      "reachable from other hosts; with port 0 the kernel chooses one.")                                               \
    X(TEXT, data_dir, "./data", 1, CONFIG_TEXT_MAX - 1,                                                                \
      "Directory of the commit logs, the stores and the generated keys; made when it is absent.")                      \
    X(LIST, allowed_origins, "", 0, CONFIG_ITEMS_MAX,                                                                  \
      "Web pages that may use the server from a browser besides its own: scheme, host and port as in their Origin header " \
      "(https://chat.example.com), without a path and without patterns.")                                              \
                                                                                                                       \
    G("Proxies")                                                                                                       \
    X(LIST, trusted_proxies, "", 0, CONFIG_ITEMS_MAX,                                                                  \
      "Addresses of HTTP proxies in front of the server, or blocks of them (10.0.0.0/8), whose X-Forwarded-For, -Proto and -Host are " \
      "believed. connections_per_ip_max then counts their clients' WebSockets and not their own connections.")         \
    X(LIST, proxy_protocol_from, "", 0, CONFIG_ITEMS_MAX,                                                              \
      "Addresses of proxies, or blocks of them, each of whose connections begins, before TLS, with a header of the PROXY protocol, " \
      "version 1 or 2; one without is closed. Limits, log lines and all else then see the client's address.")          \
                                                                                                                       \
    G("Threads")                                                                                                       \
    X(COUNT, workers, "0", 0, 256, "Worker threads, each with its own loop and io_uring. 0: one for each core.")       \
    X(COUNT, shards, "0", 0, 1024,                                                                                     \
      "Shards of a new data directory, fixed for its life. 0: as many as cores for a new directory, whatever an "      \
      "existing one has; any other number than an existing directory has is refused.")                                 \
    X(BOOL, pin_workers, "true", 0, 0, "Binds every worker to one core.")                                              \
    X(MICROSECONDS, spin, "0", 0, 10000,                                                                               \
      "How long an idle worker looks for work before it sleeps. Buys latency (a wake-up costs about 25us) with the "   \
      "idle time of its core.")                                                                                        \
                                                                                                                       \
    G("Log")                                                                                                           \
    X(LEVEL, log_level, "info", 0, 0, "The least severe lines that are written to stderr.")                            \
    X(FORMAT, log_format, "logfmt", 0, 0, "How a line is written: key=value pairs or one JSON object.")                \
                                                                                                                       \
    G("Connections")                                                                                                   \
    X(COUNT, connections_max, "200k", 1, 4000000,                                                                      \
      "Connections of the whole process, an equal share of them for each worker. One more on a worker than its share " \
      "is closed as soon as it is accepted.")                                                                          \
    X(BOOL, direct_descriptors, "true", 0, 0,                                                                          \
      "Keeps sockets in tables of the rings, where the limit of open files does not count them (Linux 6.13 or newer; " \
      "else, and with false, each is an open file). Tools that list a process's files do not show them.")              \
    X(COUNT, connections_per_ip_max, "256", 0, 4000000,                                                                \
      "Connections from one address, counted by each worker. 0: no limit.")                                            \
    X(COUNT, accepts_per_turn_max, "64", 1, 4096, "New connections a worker takes before it serves the others again.") \
    X(BYTES, frame_size_max, "64KiB", CONFIG_KIB(1), CONFIG_MIB(16),                                                   \
      "A WebSocket message with all its fragments, or a TCP frame. A larger one closes the connection (1009).")        \
    X(BYTES, http_head_size_max, "16KiB", CONFIG_KIB(1), CONFIG_MIB(1),                                                \
      "Request line and headers of an HTTP request; a larger head is answered with 431.")                              \
    X(BYTES, http_body_size_max, "256KiB", CONFIG_KIB(1), CONFIG_MIB(64),                                              \
      "Body of an HTTP request; a larger one is answered with 413.")                                                   \
    X(BYTES, outbound_soft, "256KiB", CONFIG_KIB(4), CONFIG_MIB(256),                                                  \
      "Bytes waiting for a slow reader above which it gets no more pushes; it is told that it is behind and syncs.")   \
    X(BYTES, outbound_hard, "1MiB", CONFIG_KIB(8), CONFIG_MIB(512),                                                    \
      "Bytes waiting for one connection at which it is closed (1013).")                                                \
    X(DURATION, header_timeout, "5s", 100, CONFIG_M(10), "From accept to the first complete request (408).")           \
    X(DURATION, authenticate_timeout, "10s", 100, CONFIG_M(10),                                                        \
      "From an open WebSocket or TCP connection to its login (close 4401).")                                           \
    X(DURATION, keep_alive_timeout, "30s", 100, CONFIG_H(1), "An HTTP connection without a request is closed.")        \
    X(COUNT, keep_alive_requests_max, "1000", 1, 65535, "Requests on one HTTP connection before it is closed.")        \
    X(DURATION, heartbeat_interval, "25s", CONFIG_S(1), CONFIG_H(1),                                                   \
      "Time between two pings of an idle WebSocket or TCP connection, changed at random by up to a fifth.")            \
    X(DURATION, heartbeat_timeout, "60s", CONFIG_S(2), CONFIG_H(3),                                                    \
      "A connection from which nothing came for so long is closed (4408).")                                            \
    X(DURATION, write_timeout, "10s", 100, CONFIG_M(10), "A connection that takes no bytes for so long is closed.")    \
                                                                                                                       \
    G("TLS")                                                                                                           \
    X(TEXT, tls_certificate_file, "", 0, CONFIG_TEXT_MAX - 1,                                                          \
      "The server's certificate with its chain, PEM, the server's own first. With it the listener speaks TLS 1.2 and " \
      "1.3 too; the first byte tells the connections apart. Read again on SIGHUP.")                                    \
    X(TEXT, tls_key_file, "", 0, CONFIG_TEXT_MAX - 1,                                                                  \
      "The certificate's key, PEM, not encrypted; best ECDSA P-256, whose handshakes cost the least.")                 \
    X(BOOL, tls_required, "false", 0, 0,                                                                               \
      "Refuses what is not TLS: HTTP and WebSocket are answered with 403, other connections closed.")                  \
    X(COUNT, hsts_max_age_s, "0", 0, 63072000,                                                                         \
      "Answers over TLS tell browsers to use nothing else with this host for so many seconds (Strict-Transport-"       \
      "Security). 0: they do not. It cannot be taken back before: begin small.")                                       \
    X(COUNT, tls_handshakes_per_turn_max, "2", 1, 1000,                                                                \
      "TLS handshakes a worker makes before it serves the others again; each costs 0.1 to 0.8 ms.")                    \
                                                                                                                       \
    G("Accounts")                                                                                                      \
    X(COUNT, devices_per_user_max, "10", 1, 1000,                                                                      \
      "Devices one user is logged in on, and sockets one user has open. One more device takes the place of the one "   \
      "unseen for longest of those without a connection and a kept MQTT session, one more socket that of the oldest "  \
      "of its device; where there is none it is refused.")                                                             \
    X(DURATION, access_token_ttl, "1h", CONFIG_M(1), CONFIG_H(1),                                                      \
      "Life of an access token. Short, because only its end takes it back everywhere.")                                \
    X(PERIOD, refresh_token_ttl, "30d", CONFIG_H(1), CONFIG_D(365),                                                    \
      "Life of a refresh token: how long a device may stay away without logging in again.")                            \
    X(DURATION, refresh_grace, "60s", 0, CONFIG_H(1),                                                                  \
      "How long after a refresh the token it used up gets the same answer again, for a client that lost it. Later, and with "\
      "any token used up before, the whole login ends: one of two who have it has stolen it.")                         \
    X(DURATION, token_leeway, "30s", 0, CONFIG_M(5),                                                                   \
      "Difference between clocks that is forgiven when a token is accepted. A socket ends when its token expires all the "\
      "same.")                                                                                                         \
    X(LIST, token_audiences, "ringpost", 0, CONFIG_ITEMS_MAX,                                                          \
      "Names of this server in aud: an access token that has an aud must name one of them.")                           \
    X(LIST, token_issuers, "ringpost", 0, CONFIG_ITEMS_MAX,                                                            \
      "Who may issue access tokens with this server's key: one that has an iss must name one of them.")                \
    X(COUNT, password_ops, "2", 1, 64, "Passes of argon2id over a password; more cost an attacker and the server.")    \
    X(BYTES, password_memory, "19MiB", CONFIG_MIB(1), CONFIG_GIB(1), "Memory of argon2id for one password.")           \
    X(COUNT, password_threads, "2", 1, 64, "Threads that hash passwords, one each at a time, apart from the workers.") \
    X(COUNT, password_queue_max, "256", 1, 100000,                                                                     \
      "Logins and registrations waiting for a password thread; one more is refused and may be tried again.")           \
    X(COUNT, password_queue_per_address_max, "32", 1, 100000,                                                          \
      "Of them from one address (IPv6: one /64), on each worker; one more is refused and may be tried again.")         \
                                                                                                                       \
    G("Time")                                                                                                          \
    X(DURATION, clock_skew_max, "5s", 100, CONFIG_M(5),                                                                \
      "Differences of the wall clock that are followed at once, and how far the times of messages may be ahead of it.")\
    X(DURATION, clock_step_hold, "60s", CONFIG_S(1), CONFIG_H(1),                                                      \
      "A larger step of the wall clock, forward or back, is followed when it has held for so long; it is logged when " \
      "it is seen and when it is followed.")                                                                           \
                                                                                                                       \
    G("Messages and rooms")                                                                                            \
    X(BYTES, body_size_max, "32KiB", 1, CONFIG_MIB(1), "Body of one message.")                                         \
    X(COUNT, room_members_max, "500", 2, 1000000, "Members of one room, exact under concurrent joins.")                \
    X(COUNT, rooms_per_user_max, "1000", 1, 100000,                                                                    \
      "Groups one user may be in. Conversations of two do not count, because others open them; the last quarter of "   \
      "the places is for groups that one makes or joins oneself.")                                                     \
    X(COUNT, unanswered_max, "50", 0, 100000,                                                                          \
      "Conversations one user may open that the other one has not answered. 0: no limit.")                             \
    X(COUNT, fanout_threshold, "500", 0, 1000000,                                                                      \
      "Up to so many members every member's inbox gets each message; in a larger room the inbox only learns that "     \
      "something came and the member reads the room's timeline.")                                                      \
    X(COUNT, inbox_events_max, "10k", 16, 10000000,                                                                    \
      "Events kept for one user's sync; a device that missed more starts again from its conversations.")               \
    X(DURATION, repeat_window, "10m", CONFIG_M(1), CONFIG_H(24),                                                       \
      "How long a send is remembered, so that one sent again gets the first answer and is stored once.")               \
    X(COUNT, repeats_per_sender, "1024", 16, 65536, "Sends of one user that are remembered for so long.")              \
    X(COUNT, dedup_entries, "262144", 1024, 16777216,                                                                  \
      "Sends each shard remembers, 80 to 112 bytes of memory each. Half of them can be kept for repeat_window; when "  \
      "people send more than that, fewer are kept of those who send most.")                                            \
    X(COUNT, rate_messages_per_second, "20", 0, 1000000, "Messages of one user, sustained. 0: no limit.")              \
    X(COUNT, rate_messages_burst, "100", 1, 1000000, "Messages of one user at once.")                                  \
    X(COUNT, rate_requests_per_second, "50", 0, 1000000, "Requests of one user, messages too, sustained. 0: no limit.")\
    X(COUNT, rate_logins_per_second, "2", 0, 1000000,                                                                  \
      "Logins, registrations and refreshes from one address (IPv6: one /64) on one worker, sustained. 0: no limit, for a " \
      "server behind a proxy that limits them itself.")                                                                \
    X(COUNT, rate_logins_burst, "100", 1, 1000000, "Logins, registrations and refreshes from one address at once.")    \
    X(COUNT, rate_requests_burst, "200", 1, 1000000, "Requests of one user at once.")                                  \
                                                                                                                       \
    G("Storage")                                                                                                       \
    X(SIZE, segment_size, "64MiB", CONFIG_MIB(1), CONFIG_GIB(1),                                                       \
      "One file of the commit log; written full of zeros once and used again. A multiple of 4KiB.")                    \
    X(BYTES, log_pending_max, "8MiB", CONFIG_KIB(256), CONFIG_MIB(64),                                                 \
      "Bytes of one shard that wait for the disk; above it writes wait, and their clients are not read from.")         \
    X(SIZE, store_backlog_max, "16MiB", CONFIG_MIB(1), CONFIG_GIB(16),                                                 \
      "Bytes one shard has applied and its storage thread has not written; above it writes wait, and their clients "   \
      "are not read from. A read of the store waits for those before it: some 0.1 s at the limit.")                    \
    X(SIZE, memtable_size, "32MiB", CONFIG_MIB(1), CONFIG_GIB(1), "Write buffer of one shard's store; 16 to 32MiB is best.")\
    X(SIZE, block_cache, "256MiB", CONFIG_MIB(1), CONFIG_GIB(1024), "Cache of store blocks, shared by all shards.")    \
    X(DURATION, flush_interval, "60s", CONFIG_S(1), CONFIG_H(1),                                                       \
      "How often a store's memory goes to disk, if it does not fill before; the commit log before it is then reused, " \
      "and a restart has less to apply again.")                                                                        \
                                                                                                                       \
    G("Memory and queues")                                                                                             \
    X(SIZE, connection_memory, "256MiB", CONFIG_MIB(4), CONFIG_GIB(256),                                               \
      "Memory of one worker for what is under way to and from its connections: what slow readers have not taken, messages " \
      "that are not whole yet. At the limit the connections that hold most are closed.")                               \
    X(SIZE, connection_memory_per_address, "64MiB", 0, CONFIG_GIB(256),                                                \
      "What all connections of one address (IPv6: one /64) may hold of it; at the limit those of them that hold most are " \
      "closed. 0: no limit, for a server behind a proxy that has one address for all.")                                \
    X(COUNT, entities_max, "200k", 1000, 100000000, "Users, rooms and members one shard holds in memory.")             \
    X(SIZE, body_cache, "4MiB", 0, CONFIG_GIB(16),                                                                     \
      "Messages of rooms that other shards own, which one shard keeps as they come, so that syncs need not ask for them; the " \
      "oldest go. 0: every one is asked for.")                                                                         \
    X(COUNT, requests_parked_max, "10k", 1, 10000000,                                                                  \
      "Requests of one shard that wait for its store: at half of it sockets that ask more are not read from; "         \
      "beyond it requests over HTTP and logins are refused.")                                                          \
    X(COUNT, outbox_entries_max, "65536", 256, 16777216,                                                               \
      "Entries one shard keeps for another until they are durable there; at the limit writes wait.")                   \
    X(COUNT, follower_backlog_max, "1000k", 1000, 1000000000,                                                          \
      "Entries each shard keeps for a follower (ringpost tail --all --name) that has not acknowledged them, some 25 bytes each on " \
      "the disk. One that falls behind by more is lost: nothing is kept for it, and it has to be rebuilt.")             \
    X(POWER, mailbox_slots, "8192", 16, 1048576, "Letters under way from one worker to another. A power of two.")      \
    X(POWER, ring_entries, "4096", 64, 32768, "Submission entries of a worker's io_uring. A power of two.")            \
    X(POWER, receive_buffers, "1024", 16, 32768, "Receive buffers all connections of a worker share. A power of two.") \
    X(BYTES, receive_buffer_size, "4KiB", 512, CONFIG_KIB(64), "Size of one receive buffer.")

struct config_items { /* a list; config_item() reads it */
    uint32_t count;
    char texts[CONFIG_ITEMS_MAX][CONFIG_TEXT_MAX];
};

/* The field of each kind. */
#define CONFIG_FIELD_COUNT(name)        uint32_t name
#define CONFIG_FIELD_POWER(name)        uint32_t name
#define CONFIG_FIELD_BYTES(name)        uint32_t name##_bytes
#define CONFIG_FIELD_SIZE(name)         uint64_t name##_bytes
#define CONFIG_FIELD_MICROSECONDS(name) uint32_t name##_us
#define CONFIG_FIELD_DURATION(name)     uint32_t name##_ms
#define CONFIG_FIELD_PERIOD(name)       uint64_t name##_ms
#define CONFIG_FIELD_BOOL(name)         bool name
#define CONFIG_FIELD_LEVEL(name)        enum logger_level name
#define CONFIG_FIELD_FORMAT(name)       enum logger_format name
#define CONFIG_FIELD_TEXT(name)         char name[CONFIG_TEXT_MAX]
#define CONFIG_FIELD_LIST(name)         struct config_items name

enum config_option {
#define CONFIG_NO_GROUP(title)
#define CONFIG_AS_ENUM(kind, name, ...) CONFIG_OPTION_##name,
    CONFIG_LIST(CONFIG_NO_GROUP, CONFIG_AS_ENUM)
#undef CONFIG_AS_ENUM
        CONFIG_OPTION_COUNT
};

enum config_source { CONFIG_DEFAULT, CONFIG_FILE, CONFIG_ENVIRONMENT, CONFIG_FLAG }; /* ascending priority */

struct config {
#define CONFIG_AS_FIELD(kind, name, ...) CONFIG_FIELD_##kind(name);
    CONFIG_LIST(CONFIG_NO_GROUP, CONFIG_AS_FIELD)
#undef CONFIG_AS_FIELD
    /* Where each value comes from. */
    struct config_origin {
        enum config_source source;
        uint32_t line; /* CONFIG_FILE only */
    } origins[CONFIG_OPTION_COUNT];
    char file_name[256]; /* of the loaded file, for messages; may be cut */
    /* What the environment held of an orchestrator's, see above. */
    uint32_t injected_count;
    char injected_first[80]; /* its name; may be cut */
};

void config_init_defaults(struct config *config);

/* Every loader stops at the first fault and writes one line to `text`: place, key, reason, what is allowed. MALFORMED then;
 * MISSING or another code when the file itself cannot be read. `config` is then partly filled and of no use. */
NODISCARD enum result config_load_file(struct config *config, const char *path, char *text, size_t text_size);
/* The same from an open stream; `name` stands in the messages. */
NODISCARD enum result config_load_stream(struct config *config, FILE *stream, const char *name, char *text, size_t text_size);
/* `environment`: "NAME=value" strings and a NULL, like environ. */
NODISCARD enum result config_load_environment(struct config *config, char *const *environment, char *text, size_t text_size);
/* One pair of the command line; `name` without its dashes. */
NODISCARD enum result config_set(struct config *config, const char *name, const char *value, char *text, size_t text_size);
/* Whether a command line's --NAME is an option of this table. */
bool config_knows(const char *name);

/* For what no single value shows (shard/worker/rules.h): "option = value (place)", an option's name, its number in its base unit (bytes, ms, us),
 * and such a number as text with its unit. */
void config_describe(const struct config *config, enum config_option option, char *text, size_t text_size);
const char *config_name(enum config_option option);
uint64_t config_number(const struct config *config, enum config_option option);
void config_number_text(enum config_option option, uint64_t number, char *text, size_t text_size);

/* Item `index` of a list. */
const char *config_item(const struct config_items *items, uint32_t index);

/* A complete example file: every option with meaning, default and range, commented out. */
void config_render_defaults(struct writer *out);
/* The values in force as a file, each with where it comes from; loading it again gives the same values. */
void config_render(const struct config *config, struct writer *out);
/* The documentation: one Markdown table a group. */
void config_render_markdown(struct writer *out);

#endif
