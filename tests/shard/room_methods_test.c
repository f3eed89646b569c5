/* tests/shard/room_methods_test.c - the methods of room/ and chat/ as a client calls them, on two whole shards: from
 * the letter a door sends to the reply it gets. Requests and replies are JSON here, because it reads well. */
#include "api/api.h"
#include "core/metrics.h"
#include "shard/methods.h"
#include "shard/records.h"
#include "shard/session.h"
#include "storage/fake_disk.h"
#include "storage/fake_store.h"
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define SHARDS          2
#define USERS_PER_SHARD 4
#define BODY_MAX        1000
#define ROOMS_PER_USER  4

static struct rig {
    struct shard *shards[SHARDS];
    struct fake_disk *disks[SHARDS];
    struct fake_store *stores[SHARDS];
    struct buf_pool *pool;
    struct token_keys *keys;
    struct metrics metrics;
    uint64_t now_ms;
    struct letter *posted_first, **posted_last;
    struct letter *reply;
    char text[16384]; /* the reply: JSON of the response, or of the refusal its detail */
} rig;

/* ---- the outside of the shards ---- */

static uint64_t port_now(void *context)
{
    (void)context;
    return rig.now_ms++;
}

static void port_random(void *context, void *out, size_t len)
{
    (void)context;
    memset(out, 7, len);
}

static void port_post(void *context, struct letter *letter)
{
    (void)context;
    letter->next = NULL;
    *rig.posted_last = letter;
    rig.posted_last = &letter->next;
}

static void port_reply(void *context, struct letter *letter)
{
    (void)context;
    cr_assert_null(rig.reply, "answered twice");
    rig.reply = letter;
}

static enum result port_hash(void *context, struct password_job *job)
{
    (void)context;
    (void)job;
    return RESULT_BUSY;
}

static bool port_bind(void *context, const struct origin *origin, struct session *session)
{
    (void)context;
    (void)origin;
    (void)session;
    return false;
}

static enum result port_send(void *context, struct session *session, struct slice head, struct buf *body,
                             bool *above_soft)
{
    (void)context;
    (void)session;
    (void)head;
    (void)body;
    *above_soft = false;
    return RESULT_OK;
}

static void port_end(void *context, struct session *session, uint16_t close_code, const char *reason)
{
    (void)context;
    (void)session;
    (void)close_code;
    (void)reason;
}

static bool deliver_letter(void)
{
    struct letter *letter = rig.posted_first;
    if (letter == NULL) return false;
    rig.posted_first = letter->next;
    if (rig.posted_first == NULL) rig.posted_last = &rig.posted_first;
    letter->next = NULL;
    shard_receive(rig.shards[letter->to_shard], letter);
    return true;
}

/* Turns until nothing moves any more. */
static void pump(void)
{
    for (bool moved = true; moved;) {
        moved = deliver_letter();
        for (int i = 0; i < SHARDS; i++) {
            moved = fake_store_step(rig.stores[i]) || moved;
            shard_flush(rig.shards[i]);
            moved = fake_disk_complete(rig.disks[i]) || moved;
            moved = shard_apply(rig.shards[i], 64) > 0 || moved;
        }
    }
}

/* ---- life ---- */

static uint64_t user(int shard, int number)
{
    return id_make((uint16_t)shard, ID_USER, 1 + (uint64_t)number);
}

/* "u00", "u01" … on shard 0, "u10" … on shard 1, by the command that registration ends in. */
static void create_users(int shard)
{
    for (int i = 0; i < USERS_PER_SHARD; i++) {
        char name[24];
        snprintf(name, sizeof name, "u%d%d", shard, i);
        struct user_create_record record = {
            .name = slice_text(name), .display_name = slice_text(name), .password_hash = SLICE_TEXT("none")};
        struct writer bytes;
        writer_init(&bytes, 0);
        user_create_record_write(&bytes, &record);
        shard_propose_internal(rig.shards[shard], COMMAND_USER_CREATE, 0, writer_slice(&bytes));
        writer_deinit(&bytes);
        pump();
    }
}

static void open_shard(uint16_t number)
{
    struct shard_options options = {
        .machine = {.shard = number,
                    .shard_count = SHARDS,
                    .room_members_max = 5,
                    .fanout_threshold = 4,
                    .inbox_events_max = 100,
                    .devices_per_user_max = 3,
                    .dedup_entries = 1024,
                    .entities_max = 8, /* nearly everything is loaded again each time */
                    .outbox_entries_max = 100},
        .limits = {.requests_parked_max = 100,
                   .store_backlog_max_bytes = 1 << 20,
                   .body_size_max_bytes = BODY_MAX,
                   .rooms_per_user_max = ROOMS_PER_USER,
                   .sessions_per_user_max = 4,
                   .access_token_ttl_s = 600,
                   .refresh_token_ttl_s = 600,
                   .token_leeway_s = 30},
        .ports = {.now_ms = port_now,
                  .now_ns = port_now,
                  .random = port_random,
                  .post = port_post,
                  .reply = port_reply,
                  .hash_password = port_hash,
                  .session_bind = port_bind,
                  .session_send = port_send,
                  .session_end = port_end},
        .disk = fake_disk_base(rig.disks[number]),
        .store = fake_store_base(rig.stores[number]),
        .log_pending_max_bytes = 1 << 20,
        .pool = rig.pool,
        .metrics = &rig.metrics,
        .token_keys = rig.keys,
    };
    uint64_t replayed = 0;
    char text[256] = "";
    cr_assert_eq(shard_open(&rig.shards[number], &options, &replayed, text, sizeof text), RESULT_OK, "%s", text);
}

static void setup(void)
{
    api_init();
    rig.now_ms = 1700000000500;
    rig.posted_last = &rig.posted_first;
    cr_assert_eq(buf_pool_create(&rig.pool, 1 << 20), RESULT_OK);
    cr_assert_eq(token_keys_create(&rig.keys), RESULT_OK);
    cr_assert_eq(token_keys_add(rig.keys, "test", SLICE_TEXT("0123456789abcdef0123456789abcdef")), RESULT_OK);
    for (uint16_t i = 0; i < SHARDS; i++) {
        struct fake_disk_options disk = {.block_size_bytes = 4096, .segment_size_bytes = 1 << 20, .seed = 1};
        rig.disks[i] = fake_disk_create(&disk);
        rig.stores[i] = fake_store_create(1);
        open_shard(i);
    }
    for (int i = 0; i < SHARDS; i++) create_users(i);
}

static void teardown(void)
{
    pump();
    for (int i = 0; i < SHARDS; i++) {
        cr_expect(shard_idle(rig.shards[i]));
        shard_close(rig.shards[i]);
        fake_store_destroy(rig.stores[i]);
        fake_disk_destroy(rig.disks[i]);
    }
    letter_free(rig.reply);
    token_keys_destroy(rig.keys);
    buf_pool_destroy(rig.pool);
}

TestSuite(room_methods, .init = setup, .fini = teardown);

/* ---- calls ---- */

/* The reply of `actor`'s call is in rig.text; its outcome. */
static enum error call(uint64_t actor_id, const char *path, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static enum error call(uint64_t actor_id, const char *path, const char *format, ...)
{
    static char json[8192];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(json, sizeof json, format, arguments);
    va_end(arguments);
    cr_assert(len >= 0 && (size_t)len < sizeof json);
    const struct method *method = method_by_path(slice_text(path));
    cr_assert_not_null(method, "%s", path);
    struct writer packed;
    writer_init(&packed, 0);
    char fault[128] = "";
    cr_assert_eq(
        json_to_packed(envelope_request_descriptor(method->number), slice_text(json), &packed, fault, sizeof fault),
        RESULT_OK, "%s: %s", json, fault);
    struct actor_record actor = {.user_id = actor_id,
                                 .issued_s = 1700000000,
                                 .expires_s = 1800000000,
                                 .device_id = SLICE_TEXT("phone"),
                                 .platform = SLICE_TEXT("test")};
    uint16_t home = id_partition(actor_id);
    struct letter *letter = letter_make(LETTER_REQUEST, home, home, &actor, writer_slice(&packed));
    letter->method = method->number;
    letter_free(rig.reply);
    rig.reply = NULL;
    shard_receive(rig.shards[home], letter);
    pump();
    cr_assert_not_null(rig.reply, "%s %s: no answer", path, json);
    writer_reset(&packed);
    struct slice payload = letter_payload(rig.reply);
    enum error error = (enum error)rig.reply->error;
    if (error == ERROR_NONE)
        cr_assert_eq(json_from_packed(envelope_response_descriptor(method->number), payload, &packed), RESULT_OK);
    else
        writer_raw(&packed, payload.data, payload.len);
    cr_assert_lt(packed.len, sizeof rig.text);
    if (packed.len > 0) memcpy(rig.text, packed.data, packed.len);
    rig.text[packed.len] = '\0';
    writer_deinit(&packed);
    return error;
}

/* The first number under `name` in the reply. */
static uint64_t number(const char *name)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", name);
    const char *at = strstr(rig.text, quoted);
    cr_assert_not_null(at, "no %s in %s", name, rig.text);
    at += strlen(quoted);
    return strtoull(*at == '"' ? at + 1 : at, NULL, 10);
}

#define EXPECT(want, ...)                                                                                              \
    do {                                                                                                               \
        enum error got_ = call(__VA_ARGS__);                                                                           \
        cr_expect_eq(got_, want, "got %s: %s", error_row(got_)->reason, rig.text);                                     \
    } while (0)
#define ID PRIu64

static uint64_t new_room(uint64_t owner_id, const char *members, bool joinable)
{
    EXPECT(ERROR_NONE, owner_id, "/v1/room/create", "{\"name\":\"room\",\"member_ids\":[%s],\"joinable\":%s}", members,
           joinable ? "true" : "false");
    return number("room_id");
}

/* ---- send ---- */

Test(room_methods, send_refuses_what_is_malformed)
{
    uint64_t ada = user(0, 0), bob = user(1, 0), room_id = new_room(ada, "", false);
    static char long_body[2 * BODY_MAX];
    memset(long_body, 'A', sizeof long_body - 1); /* base64 of three quarters as many bytes */
    const struct {
        const char *name;
        enum error want;
        uint64_t room_id, to_user_id;
        const char *client_id, *kind, *body;
    } cases[] = {
        {"no target", ERROR_BAD_FIELD, 0, 0, "c", "TEXT", "aGk="},
        {"two targets", ERROR_BAD_FIELD, room_id, bob, "c", "TEXT", "aGk="},
        {"oneself", ERROR_BAD_FIELD, 0, ada, "c", "TEXT", "aGk="},
        {"no client id", ERROR_BAD_FIELD, room_id, 0, "", "TEXT", "aGk="},
        {"a client id of 65 bytes", ERROR_BAD_FIELD, room_id, 0,
         "12345678901234567890123456789012345678901234567890123456789012345", "TEXT", "aGk="},
        {"no body", ERROR_BAD_FIELD, room_id, 0, "c", "TEXT", ""},
        {"text that is no UTF-8", ERROR_BAD_FIELD, room_id, 0, "c", "TEXT", "/w=="},
        {"an emoji that is no UTF-8", ERROR_BAD_FIELD, room_id, 0, "c", "EMOJI", "/w=="},
        {"too large", ERROR_BODY_TOO_LARGE, room_id, 0, "c", "FILE", long_body},
        {"an unknown kind", ERROR_BAD_FIELD, room_id, 0, "c", "7", "aGk="},
        {"no such room", ERROR_ROOM_NOT_FOUND, id_make(1, ID_ROOM, 99), 0, "c", "TEXT", "aGk="},
        {"no such user", ERROR_USER_NOT_FOUND, 0, user(1, 77), "c", "TEXT", "aGk="},
        {"no user id at all", ERROR_USER_NOT_FOUND, 0, room_id, "c", "TEXT", "aGk="},
        {"bytes", ERROR_NONE, room_id, 0, "b", "FILE", "/w=="},
        {"an empty file", ERROR_NONE, room_id, 0, "e", "FILE", ""},
        {"a client id of 64 bytes", ERROR_NONE, room_id, 0,
         "1234567890123456789012345678901234567890123456789012345678901234", "TEXT", "aGk="},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bool is_name = cases[i].kind[0] >= 'A';
        enum error got = call(ada, "/v1/chat/send",
                              "{\"room_id\":\"%" ID "\",\"to_user_id\":\"%" ID
                              "\",\"client_msg_id\":\"%s\",\"kind\":%s%s%s,\"body\":\"%s\"}",
                              cases[i].room_id, cases[i].to_user_id, cases[i].client_id, is_name ? "\"" : "",
                              cases[i].kind, is_name ? "\"" : "", cases[i].body);
        cr_expect_eq(got, cases[i].want, "%s: %s %s", cases[i].name, error_row(got)->reason, rig.text);
    }
}

Test(room_methods, two_people_on_two_shards_talk)
{
    uint64_t ada = user(0, 0), bob = user(1, 0);
    EXPECT(ERROR_NONE, bob, "/v1/chat/send", "{\"to_user_id\":\"%" ID "\",\"client_msg_id\":\"1\",\"body\":\"aGk=\"}",
           ada);
    uint64_t room_id = number("room_id");
    cr_expect_eq(id_partition(room_id), 0, "on the home shard of the smaller id");
    EXPECT(ERROR_NONE, bob, "/v1/chat/send", "{\"to_user_id\":\"%" ID "\",\"client_msg_id\":\"1\",\"body\":\"aGk=\"}",
           ada);
    cr_expect_eq(number("seq"), 1, "the same again");
    EXPECT(ERROR_NONE, ada, "/v1/chat/send", "{\"to_user_id\":\"%" ID "\",\"client_msg_id\":\"1\",\"body\":\"aGk=\"}",
           bob);
    cr_expect_eq(number("seq"), 2);
    EXPECT(ERROR_NONE, ada, "/v1/chat/conversations", "{}");
    cr_expect(strstr(rig.text, "\"peer_name\":\"u10\"") != NULL, "%s", rig.text);
    EXPECT(ERROR_NONE, bob, "/v1/chat/conversations", "{}");
    cr_expect(strstr(rig.text, "\"peer_name\":\"u00\"") != NULL, "%s", rig.text);
    cr_expect_eq(number("unread"), 1, "one's own message is read");
    EXPECT(ERROR_NONE, bob, "/v1/chat/mark_read", "{\"room_id\":\"%" ID "\",\"seq\":\"2\"}", room_id);
    EXPECT(ERROR_NONE, bob, "/v1/chat/sync", "{\"sync_key\":\"1\"}");
    cr_expect_eq(number("read_seq"), 2);
    EXPECT(ERROR_NONE, bob, "/v1/chat/history", "{\"room_id\":\"%" ID "\",\"after_seq\":\"1\"}", room_id);
    cr_expect(strstr(rig.text, "\"sender_name\":\"u00\"") != NULL, "%s", rig.text);
    EXPECT(ERROR_NOT_A_MEMBER, user(1, 1), "/v1/chat/history", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_ROOM_IS_DIRECT, ada, "/v1/room/leave", "{\"room_id\":\"%" ID "\"}", room_id);
}

Test(room_methods, pages_refuse_what_is_malformed)
{
    uint64_t ada = user(0, 0), room_id = new_room(ada, "", false);
    EXPECT(ERROR_BAD_FIELD, ada, "/v1/chat/history", "{\"room_id\":\"%" ID "\",\"limit\":201}", room_id);
    EXPECT(ERROR_BAD_FIELD, ada, "/v1/chat/history",
           "{\"room_id\":\"%" ID "\",\"before_seq\":\"1\",\"after_seq\":\"1\"}", room_id);
    EXPECT(ERROR_ROOM_NOT_FOUND, ada, "/v1/chat/history", "{\"room_id\":\"1\"}");
    EXPECT(ERROR_BAD_FIELD, ada, "/v1/chat/sync", "{\"limit\":501}");
    EXPECT(ERROR_BAD_FIELD, ada, "/v1/chat/conversations", "{\"limit\":501}");
    EXPECT(ERROR_BAD_FIELD, ada, "/v1/chat/conversations", "{\"cursor\":\"18446744073709551615\"}");
    EXPECT(ERROR_BAD_FIELD, ada, "/v1/room/members", "{\"room_id\":\"%" ID "\",\"limit\":501}", room_id);
    EXPECT(ERROR_BAD_FIELD, ada, "/v1/chat/mark_read", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_NOT_A_MEMBER, user(1, 0), "/v1/room/members", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_NOT_A_MEMBER, user(1, 0), "/v1/room/get", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_NOT_A_MEMBER, user(1, 0), "/v1/chat/mark_read", "{\"room_id\":\"%" ID "\",\"seq\":\"1\"}", room_id);
}

/* ---- rooms ---- */

Test(room_methods, create_asks_who_they_are)
{
    uint64_t ada = user(0, 0);
    char members[128];
    snprintf(members, sizeof members, "\"%" ID "\",\"%" ID "\",\"%" ID "\",\"%" ID "\"", user(1, 0), user(0, 1),
             user(1, 0), ada);
    uint64_t room_id = new_room(ada, members, false);
    cr_expect_eq(number("member_count"), 3, "repeats and oneself are left out");
    EXPECT(ERROR_NONE, user(1, 0), "/v1/room/members", "{\"room_id\":\"%" ID "\"}", room_id);
    cr_expect(strstr(rig.text, "\"name\":\"u10\"") && strstr(rig.text, "\"name\":\"u01\"") &&
              strstr(rig.text, "\"name\":\"u00\""));
    EXPECT(ERROR_USER_NOT_FOUND, ada, "/v1/room/create", "{\"name\":\"x\",\"member_ids\":[\"%" ID "\"]}", user(1, 77));
    snprintf(members, sizeof members, "%" ID, user(1, 77));
    cr_expect(strstr(rig.text, members) != NULL, "it says who: %s", rig.text);
    EXPECT(ERROR_USER_NOT_FOUND, ada, "/v1/room/create", "{\"name\":\"x\",\"member_ids\":[\"%" ID "\"]}", user(9, 1));
    EXPECT(ERROR_BAD_FIELD, ada, "/v1/room/create", "{\"name\":\"\"}");
    EXPECT(ERROR_BAD_FIELD, ada, "/v1/room/create", "{\"name\":\"a\\u0007b\"}");
    EXPECT(ERROR_BAD_FIELD, ada, "/v1/room/create", "{\"name\":\"x\",\"client_room_id\":\"%065d\"}", 1);
}

Test(room_methods, nobody_gets_more_rooms_than_allowed)
{
    uint64_t ada = user(0, 0), bob = user(1, 0), eve = user(1, 1), open_room = new_room(eve, "", true);
    char member[32];
    snprintf(member, sizeof member, "\"%" ID "\"", bob);
    EXPECT(ERROR_NONE, ada, "/v1/room/create", "{\"name\":\"x\",\"client_room_id\":\"first\",\"member_ids\":[%s]}",
           member);
    uint64_t first = number("room_id");
    for (int i = 1; i < ROOMS_PER_USER; i++) new_room(ada, member, false);
    EXPECT(ERROR_NONE, ada, "/v1/room/create", "{\"name\":\"x\",\"client_room_id\":\"first\",\"member_ids\":[%s]}",
           member);
    cr_expect_eq(number("room_id"), first, "a repeat makes no room");
    EXPECT(ERROR_TOO_MANY_ROOMS, ada, "/v1/room/create", "{\"name\":\"x\"}");
    EXPECT(ERROR_TOO_MANY_ROOMS, eve, "/v1/room/create", "{\"name\":\"x\",\"member_ids\":[%s]}", member);
    EXPECT(ERROR_TOO_MANY_ROOMS, bob, "/v1/room/join", "{\"room_id\":\"%" ID "\"}", open_room);
    EXPECT(ERROR_TOO_MANY_ROOMS, eve, "/v1/room/invite", "{\"room_id\":\"%" ID "\",\"user_ids\":[%s]}", open_room,
           member);
    EXPECT(ERROR_TOO_MANY_ROOMS, eve, "/v1/chat/send",
           "{\"to_user_id\":\"%" ID "\",\"client_msg_id\":\"1\",\"body\":\"aGk=\"}", bob);
    EXPECT(ERROR_NONE, ada, "/v1/room/invite", "{\"room_id\":\"%" ID "\",\"user_ids\":[%s]}", first, member);
    cr_expect_eq(number("added_count"), 0, "who is there already needs no room more");
    EXPECT(ERROR_NONE, bob, "/v1/room/leave", "{\"room_id\":\"%" ID "\"}", first);
    EXPECT(ERROR_NONE, bob, "/v1/room/join", "{\"room_id\":\"%" ID "\"}", open_room);
}

Test(room_methods, a_group_lives)
{
    uint64_t ada = user(0, 0), bob = user(1, 0), eve = user(1, 1), room_id = new_room(ada, "", true);
    EXPECT(ERROR_NONE, bob, "/v1/room/join", "{\"room_id\":\"%" ID "\"}", room_id);
    cr_expect_eq(number("member_count"), 2);
    EXPECT(ERROR_ROLE_TOO_LOW, bob, "/v1/room/invite", "{\"room_id\":\"%" ID "\",\"user_ids\":[\"%" ID "\"]}", room_id,
           eve);
    EXPECT(ERROR_BAD_FIELD, ada, "/v1/room/set_role", "{\"room_id\":\"%" ID "\",\"user_id\":\"%" ID "\",\"role\":3}",
           room_id, bob);
    EXPECT(ERROR_MEMBER_NOT_FOUND, ada, "/v1/room/set_role", "{\"room_id\":\"%" ID "\",\"user_id\":\"7\",\"role\":1}",
           room_id);
    EXPECT(ERROR_NONE, ada, "/v1/room/set_role", "{\"room_id\":\"%" ID "\",\"user_id\":\"%" ID "\",\"role\":\"ADMIN\"}",
           room_id, bob);
    EXPECT(ERROR_NONE, bob, "/v1/room/invite", "{\"room_id\":\"%" ID "\",\"user_ids\":[\"%" ID "\"]}", room_id, eve);
    cr_expect_eq(number("added_count"), 1);
    EXPECT(ERROR_BAD_FIELD, bob, "/v1/room/invite", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_NONE, bob, "/v1/room/get", "{\"room_id\":\"%" ID "\"}", room_id);
    cr_expect(strstr(rig.text, "\"role\":\"ADMIN\"") != NULL, "%s", rig.text);
    EXPECT(ERROR_NONE, bob, "/v1/room/update", "{\"room_id\":\"%" ID "\",\"name\":\"renamed\"}", room_id);
    cr_expect(strstr(rig.text, "\"name\":\"renamed\"") && strstr(rig.text, "\"joinable\":false"), "%s", rig.text);
    EXPECT(ERROR_NOT_JOINABLE, user(1, 2), "/v1/room/join", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_BAD_FIELD, bob, "/v1/room/remove", "{\"room_id\":\"%" ID "\",\"user_ids\":[\"%" ID "\"]}", room_id,
           bob);
    EXPECT(ERROR_BAD_FIELD, bob, "/v1/room/remove", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_NONE, bob, "/v1/room/remove", "{\"room_id\":\"%" ID "\",\"user_ids\":[\"%" ID "\"]}", room_id, eve);
    cr_expect_eq(number("removed_count"), 1);
    EXPECT(ERROR_NOT_A_MEMBER, eve, "/v1/room/get", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_OWNER_MUST_STAY, ada, "/v1/room/leave", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_ROLE_TOO_LOW, bob, "/v1/room/dismiss", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_NONE, ada, "/v1/room/dismiss", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_ROOM_DISMISSED, bob, "/v1/chat/send",
           "{\"room_id\":\"%" ID "\",\"client_msg_id\":\"1\",\"body\":\"aGk=\"}", room_id);
    EXPECT(ERROR_NONE, bob, "/v1/chat/history", "{\"room_id\":\"%" ID "\"}", room_id);
}

/* Names in requests that are longer than a list may be. */
Test(room_methods, lists_of_people_are_bounded)
{
    uint64_t ada = user(0, 0), room_id = new_room(ada, "", false);
    static char members[4096];
    size_t len = 0;
    for (int i = 0; i <= 100; i++)
        len += (size_t)snprintf(members + len, sizeof members - len, "%s\"%" ID "\"", i == 0 ? "" : ",",
                                user(1, 1000 + i));
    EXPECT(ERROR_BAD_FIELD, ada, "/v1/room/create", "{\"name\":\"x\",\"member_ids\":[%s]}", members);
    EXPECT(ERROR_BAD_FIELD, ada, "/v1/room/invite", "{\"room_id\":\"%" ID "\",\"user_ids\":[%s]}", room_id, members);
    EXPECT(ERROR_BAD_FIELD, ada, "/v1/room/remove", "{\"room_id\":\"%" ID "\",\"user_ids\":[%s]}", room_id, members);
    *strrchr(members, ',') = '\0';
    EXPECT(ERROR_NONE, ada, "/v1/room/remove", "{\"room_id\":\"%" ID "\",\"user_ids\":[%s]}", room_id, members);
    cr_expect_eq(number("removed_count"), 0);
}
