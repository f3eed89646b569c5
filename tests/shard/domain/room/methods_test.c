/* tests/shard/domain/room/methods_test.c - the methods of room/ and chat/ as a client calls them, on two whole shards: from
 * the letter a door sends to the reply it gets. Requests and replies are JSON here, because it reads well. */
#include "shard/domain/domain.h"
#include "shard/shard_fixture.h"
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define SHARDS          2
#define USERS_PER_SHARD 4
#define BODY_MAX        1000
#define ROOMS_PER_USER  4
#define UNANSWERED_MAX  1

static char text[16384]; /* the reply: JSON of the response, or of the refusal its detail */

/* ---- life ---- */

static uint64_t user(int shard, int number)
{
    return id_make((uint16_t)shard, ID_USER, 1 + (uint64_t)number);
}

/* "u00", "u01" … on shard 0, "u10" … on shard 1. */
static void setup(void)
{
    rig_begin(SHARDS);
    rig.machine.limits[LIMIT_ROOM_MEMBERS_MAX] = 5;
    rig.machine.limits[LIMIT_FANOUT_THRESHOLD] = 4;
    rig.machine.limits[LIMIT_DEDUP_ENTRIES] = 1024;
    rig.machine.entities_max = 8; /* nearly everything is loaded again each time */
    rig.setup.options.body_size_max_bytes = BODY_MAX;
    rig.setup.options.rooms_per_user_max = ROOMS_PER_USER;
    rig.setup.options.unanswered_max = UNANSWERED_MAX;
    rig.look_ms = 1;
    rig_open();
    for (int i = 0; i < SHARDS * USERS_PER_SHARD; i++) {
        char name[24];
        snprintf(name, sizeof name, "u%d%d", i / USERS_PER_SHARD, i % USERS_PER_SHARD);
        cr_assert_eq(rig_add_user((uint16_t)(i / USERS_PER_SHARD), name), user(i / USERS_PER_SHARD, i % USERS_PER_SHARD));
    }
}

TestSuite(room_methods, .init = setup, .fini = rig_close);

/* ---- calls ---- */

/* The reply of `actor`'s call is in `text`; its outcome. */
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
    const struct method *method = method_by_path(ringpost_domain(), slice_text(path));
    cr_assert_not_null(method, "%s", path);
    struct writer packed;
    writer_init(&packed, 0);
    char fault[128] = "";
    cr_assert_eq(
        json_to_packed(envelope_request_descriptor(method->number), slice_text(json), &packed, fault, sizeof fault),
        RESULT_OK, "%s: %s", json, fault);
    struct actor_record actor = rig_actor(actor_id, "phone");
    enum error error = rig_call_packed(&actor, 0, 0, path, writer_slice(&packed));
    cr_assert_neq(error, ERROR_COUNT, "%s %s: no answer", path, json);
    writer_reset(&packed);
    struct slice payload = letter_payload(rig.reply);
    if (error == ERROR_NONE)
        cr_assert_eq(json_from_packed(envelope_response_descriptor(method->number), payload, &packed), RESULT_OK);
    else
        writer_raw(&packed, payload.data, payload.len);
    cr_assert_lt(packed.len, sizeof text);
    if (packed.len > 0) memcpy(text, packed.data, packed.len);
    text[packed.len] = '\0';
    writer_deinit(&packed);
    return error;
}

/* The first number under `name` in the reply. */
static uint64_t number(const char *name)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", name);
    const char *at = strstr(text, quoted);
    cr_assert_not_null(at, "no %s in %s", name, text);
    at += strlen(quoted);
    return strtoull(*at == '"' ? at + 1 : at, NULL, 10);
}

#define EXPECT(want, ...)                                                                                              \
    do {                                                                                                               \
        enum error got_ = call(__VA_ARGS__);                                                                           \
        cr_expect_eq(got_, want, "got %s: %s", error_row(got_)->reason, text);                                     \
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
        cr_expect_eq(got, cases[i].want, "%s: %s %s", cases[i].name, error_row(got)->reason, text);
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
    cr_expect(strstr(text, "\"peer_name\":\"u10\"") != NULL, "%s", text);
    EXPECT(ERROR_NONE, bob, "/v1/chat/conversations", "{}");
    cr_expect(strstr(text, "\"peer_name\":\"u00\"") != NULL, "%s", text);
    cr_expect_eq(number("unread"), 1, "one's own message is read");
    EXPECT(ERROR_NONE, bob, "/v1/chat/mark_read", "{\"room_id\":\"%" ID "\",\"seq\":\"2\"}", room_id);
    EXPECT(ERROR_NONE, bob, "/v1/chat/sync", "{\"sync_key\":\"1\"}");
    cr_expect_eq(number("read_seq"), 2);
    EXPECT(ERROR_NONE, bob, "/v1/chat/history", "{\"room_id\":\"%" ID "\",\"after_seq\":\"1\"}", room_id);
    cr_expect(strstr(text, "\"sender_name\":\"u00\"") != NULL, "%s", text);
    EXPECT(ERROR_NONE, bob, "/v1/chat/history", "{\"room_id\":\"%" ID "\",\"after_seq\":\"0\",\"limit\":1}", room_id);
    cr_expect_eq(number("next_seq"), 1, "after_seq 0 goes upwards from the first message: %s", text);
    EXPECT(ERROR_NONE, bob, "/v1/chat/history", "{\"room_id\":\"%" ID "\",\"before_seq\":\"0\",\"limit\":1}", room_id);
    cr_expect_eq(number("next_seq"), 2, "before_seq 0 goes downwards from the newest: %s", text);
    EXPECT(ERROR_ROOM_NOT_FOUND, user(1, 1), "/v1/chat/history", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_ROOM_IS_DIRECT, ada, "/v1/room/leave", "{\"room_id\":\"%" ID "\"}", room_id);
}

Test(room_methods, pages_refuse_what_is_malformed)
{
    uint64_t ada = user(0, 0), room_id = new_room(ada, "", false);
    EXPECT(ERROR_BAD_FIELD, ada, "/v1/chat/history", "{\"room_id\":\"%" ID "\",\"limit\":201}", room_id);
    EXPECT(ERROR_ROOM_NOT_FOUND, ada, "/v1/chat/history", "{\"room_id\":\"1\"}");
    EXPECT(ERROR_BAD_FIELD, ada, "/v1/chat/sync", "{\"limit\":501}");
    EXPECT(ERROR_BAD_FIELD, ada, "/v1/chat/conversations", "{\"limit\":501}");
    EXPECT(ERROR_BAD_FIELD, ada, "/v1/chat/conversations", "{\"cursor\":\"18446744073709551615\"}");
    EXPECT(ERROR_BAD_FIELD, ada, "/v1/room/members", "{\"room_id\":\"%" ID "\",\"limit\":501}", room_id);
    EXPECT(ERROR_BAD_FIELD, ada, "/v1/chat/mark_read", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_ROOM_NOT_FOUND, user(1, 0), "/v1/room/members", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_ROOM_NOT_FOUND, user(1, 0), "/v1/room/get", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_ROOM_NOT_FOUND, user(1, 0), "/v1/chat/mark_read", "{\"room_id\":\"%" ID "\",\"seq\":\"1\"}", room_id);
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
    cr_expect(strstr(text, "\"name\":\"u10\"") && strstr(text, "\"name\":\"u01\"") &&
              strstr(text, "\"name\":\"u00\""));
    EXPECT(ERROR_USER_NOT_FOUND, ada, "/v1/room/create", "{\"name\":\"x\",\"member_ids\":[\"%" ID "\"]}", user(1, 77));
    snprintf(members, sizeof members, "%" ID, user(1, 77));
    cr_expect(strstr(text, members) != NULL, "it says who: %s", text);
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
    for (int i = 1; i < ROOMS_PER_USER - 1; i++) new_room(ada, member, false);
    EXPECT(ERROR_TOO_MANY_ROOMS, ada, "/v1/room/create", "{\"name\":\"x\",\"member_ids\":[%s]}", member);
    new_room(bob, "", false); /* the last quarter is for rooms of one's own */
    uint64_t alone = new_room(ada, "", false);
    EXPECT(ERROR_NONE, ada, "/v1/room/create", "{\"name\":\"x\",\"client_room_id\":\"first\",\"member_ids\":[%s]}",
           member);
    cr_expect_eq(number("room_id"), first, "a repeat makes no room");
    EXPECT(ERROR_TOO_MANY_ROOMS, ada, "/v1/room/create", "{\"name\":\"x\"}");
    EXPECT(ERROR_TOO_MANY_ROOMS, eve, "/v1/room/create", "{\"name\":\"x\",\"member_ids\":[%s]}", member);
    EXPECT(ERROR_TOO_MANY_ROOMS, bob, "/v1/room/join", "{\"room_id\":\"%" ID "\"}", open_room);
    EXPECT(ERROR_TOO_MANY_ROOMS, eve, "/v1/room/invite", "{\"room_id\":\"%" ID "\",\"user_ids\":[%s]}", open_room,
           member);
    EXPECT(ERROR_NONE, ada, "/v1/room/invite", "{\"room_id\":\"%" ID "\",\"user_ids\":[%s]}", first, member);
    cr_expect_eq(number("added_count"), 0, "who is there already needs no room more");
    EXPECT(ERROR_ROOM_NOT_FOUND, eve, "/v1/room/invite", "{\"room_id\":\"%" ID "\",\"user_ids\":[%s]}", first, member);
    EXPECT(ERROR_ROOM_NOT_FOUND, eve, "/v1/room/invite", "{\"room_id\":\"%" ID "\",\"user_ids\":[%s]}", alone, member);
    EXPECT(ERROR_NONE, bob, "/v1/room/leave", "{\"room_id\":\"%" ID "\"}", first);
    EXPECT(ERROR_NONE, bob, "/v1/room/join", "{\"room_id\":\"%" ID "\"}", open_room);
}

static enum error write_to(uint64_t from, uint64_t to, const char *client_msg_id)
{
    return call(from, "/v1/chat/send", "{\"to_user_id\":\"%" ID "\",\"client_msg_id\":\"%s\",\"body\":\"aGk=\"}", to, client_msg_id);
}

/* Whoever others write to loses nothing by it: neither a room nor the right to write first to somebody. */
Test(room_methods, strangers_take_no_places)
{
    uint64_t ada = user(0, 0), bob = user(1, 0), eve = user(1, 1), tom = user(0, 1);
    cr_expect_eq(write_to(bob, ada, "1"), ERROR_NONE);
    cr_expect_eq(write_to(eve, ada, "1"), ERROR_NONE);
    cr_expect_eq(write_to(tom, ada, "1"), ERROR_NONE);
    for (int i = 0; i < ROOMS_PER_USER; i++) new_room(ada, "", false);
    EXPECT(ERROR_TOO_MANY_ROOMS, ada, "/v1/room/create", "{\"name\":\"x\"}");

    cr_expect_eq(write_to(bob, ada, "2"), ERROR_NONE, "the limit is on conversations, not on messages");
    cr_expect_eq(write_to(bob, eve, "3"), ERROR_TOO_MANY_UNANSWERED);
    cr_expect_eq(write_to(ada, bob, "4"), ERROR_NONE);
    cr_expect_eq(write_to(bob, eve, "5"), ERROR_NONE, "ada has answered");
    cr_expect_eq(write_to(bob, tom, "6"), ERROR_TOO_MANY_UNANSWERED, "eve has not");
    cr_expect_eq(write_to(eve, ada, "7"), ERROR_NONE, "who is written to may go on writing to others");
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
    cr_expect(strstr(text, "\"role\":\"ADMIN\"") != NULL, "%s", text);
    EXPECT(ERROR_NONE, bob, "/v1/room/update", "{\"room_id\":\"%" ID "\",\"name\":\"renamed\"}", room_id);
    cr_expect(strstr(text, "\"name\":\"renamed\"") && strstr(text, "\"joinable\":false"), "%s", text);
    EXPECT(ERROR_ROOM_NOT_FOUND, user(1, 2), "/v1/room/join", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_BAD_FIELD, bob, "/v1/room/remove", "{\"room_id\":\"%" ID "\",\"user_ids\":[\"%" ID "\"]}", room_id,
           bob);
    EXPECT(ERROR_BAD_FIELD, bob, "/v1/room/remove", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_NONE, bob, "/v1/room/remove", "{\"room_id\":\"%" ID "\",\"user_ids\":[\"%" ID "\"]}", room_id, eve);
    cr_expect_eq(number("removed_count"), 1);
    EXPECT(ERROR_ROOM_NOT_FOUND, eve, "/v1/room/get", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_OWNER_MUST_STAY, ada, "/v1/room/leave", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_ROLE_TOO_LOW, bob, "/v1/room/dismiss", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_NONE, ada, "/v1/room/dismiss", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_ROOM_DISMISSED, bob, "/v1/chat/send",
           "{\"room_id\":\"%" ID "\",\"client_msg_id\":\"1\",\"body\":\"aGk=\"}", room_id);
    EXPECT(ERROR_NONE, bob, "/v1/chat/history", "{\"room_id\":\"%" ID "\"}", room_id);
}

/* ---- what newcomers read ---- */

static uint64_t room_with_history(uint64_t owner_id, const char *history)
{
    EXPECT(ERROR_NONE, owner_id, "/v1/room/create", "{\"name\":\"room\",\"joinable\":true%s%s%s}", history[0] == '\0' ? "" : ",\"history\":\"",
           history, history[0] == '\0' ? "" : "\"");
    return number("room_id");
}

static void say_in(uint64_t sender_id, uint64_t room_id, uint32_t first, uint32_t last)
{
    for (uint32_t i = first; i <= last; i++)
        EXPECT(ERROR_NONE, sender_id, "/v1/chat/send", "{\"room_id\":\"%" ID "\",\"client_msg_id\":\"m%u\",\"body\":\"aGk=\"}", room_id, i);
}

/* The seqs of all messages in the reply, as "3 2 1 "; with " more" behind them. */
static const char *page_of(void)
{
    static char page[256];
    size_t len = 0;
    page[0] = '\0';
    for (const char *at = text; (at = strstr(at, "\"seq\":\"")) != NULL;)
        len += (size_t)snprintf(page + len, sizeof page - len, "%llu ", strtoull(at += 7, NULL, 10));
    snprintf(page + len, sizeof page - len, "%s", strstr(text, "\"has_more\":true") == NULL ? "" : "more");
    return page;
}

/* Every page that `reader` can ask for, and the list of conversations: messages first_seq … 7, of 7; 8: none. */
static void expect_readable(uint64_t reader, uint64_t room_id, uint64_t first_seq, const char *who)
{
    for (int up = 0; up < 2; up++)
        for (uint64_t seq = 0; seq <= 9; seq++)
            for (uint64_t limit = 1; limit <= 8; limit++) {
                EXPECT(ERROR_NONE, reader, "/v1/chat/history", "{\"room_id\":\"%" ID "\",\"%s\":\"%" ID "\",\"limit\":%" ID "}", room_id,
                       up ? "after_seq" : "before_seq", seq, limit);
                char want[64] = "";
                uint64_t from = up ? (seq < first_seq ? first_seq : seq + 1) : seq == 0 || seq > 7 ? 7 : seq - 1, count = 0;
                for (uint64_t at = from; at >= first_seq && at <= 7 && count < limit; at = up ? at + 1 : at - 1, count++)
                    snprintf(want + strlen(want), sizeof want - strlen(want), "%" ID " ", at);
                bool more = up ? from + count <= 7 && count > 0 : from >= first_seq && from - count >= first_seq;
                snprintf(want + strlen(want), sizeof want - strlen(want), "%s", more ? "more" : "");
                cr_expect_str_eq(page_of(), want, "%s, %s %d, limit %d: %s, not %s", who, up ? "after" : "before", (int)seq, (int)limit,
                                 page_of(), want);
                cr_expect_eq(number("head_seq"), 7);
                cr_expect_eq(number("hidden_seq"), first_seq - 1, "%s: %s", who, text);
            }
    EXPECT(ERROR_NONE, reader, "/v1/chat/conversations", "{}");
    cr_expect_eq(strstr(text, "\"last_message\"") != NULL, first_seq <= 7, "%s: %s", who, text);
    cr_expect(number("unread") <= 8 - first_seq, "%s: %s", who, text);
}

Test(room_methods, newcomers_read_what_the_room_shows_them)
{
    static const struct {
        const char *history, *said;
        bool hides;
    } cases[] = {{"", "ALL", false}, {"NOT_CHOSEN", "ALL", false}, {"ALL", "ALL", false}, {"SINCE_JOIN", "SINCE_JOIN", true}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *name = cases[i].history;
        bool hides = cases[i].hides;
        uint64_t ada = user(0, (int)i), near = user(0, (int)(i + 1) % 4), far = user(1, (int)i), late = user(1, (int)(i + 1) % 4);
        uint64_t room_id = room_with_history(ada, name);
        char said[40];
        snprintf(said, sizeof said, "\"history\":\"%s\"", cases[i].said);
        cr_expect_not_null(strstr(text, said), "%s", text);
        say_in(ada, room_id, 1, 3);
        EXPECT(ERROR_NONE, far, "/v1/room/join", "{\"room_id\":\"%" ID "\"}", room_id);
        cr_expect_not_null(strstr(text, said), "%s", text);
        say_in(ada, room_id, 4, 5);
        EXPECT(ERROR_NONE, ada, "/v1/room/invite", "{\"room_id\":\"%" ID "\",\"user_ids\":[\"%" ID "\"]}", room_id, near);
        say_in(ada, room_id, 6, 7);
        EXPECT(ERROR_NONE, late, "/v1/room/join", "{\"room_id\":\"%" ID "\"}", room_id);
        expect_readable(ada, room_id, 1, "who made it");
        expect_readable(far, room_id, hides ? 4 : 1, "who joined");
        expect_readable(near, room_id, hides ? 6 : 1, "who was invited");
        EXPECT(ERROR_NONE, late, "/v1/chat/history", "{\"room_id\":\"%" ID "\"}", room_id);
        cr_expect_eq(number("hidden_seq"), hides ? 7 : 0);
        cr_expect_eq(strstr(text, "\"body\"") == NULL, hides, "%s", text);
        for (int who = 0; who < 3; who++)
            EXPECT(ERROR_NONE, (uint64_t[]){far, near, late}[who], "/v1/room/leave", "{\"room_id\":\"%" ID "\"}", room_id);
        EXPECT(ERROR_NONE, ada, "/v1/room/leave", "{\"room_id\":\"%" ID "\"}", room_id);
    }
}

/* One that is too large for the stream: its members read the timeline alone. */
Test(room_methods, newcomers_of_a_large_room_read_no_more)
{
    uint64_t ada = user(0, 0), room_id = room_with_history(ada, "SINCE_JOIN");
    say_in(ada, room_id, 1, 5);
    for (int i = 0; i < 4; i++) EXPECT(ERROR_NONE, user(1, i), "/v1/room/join", "{\"room_id\":\"%" ID "\"}", room_id);
    cr_expect_not_null(strstr(text, "\"large\":true"), "%s", text);
    EXPECT(ERROR_NONE, user(1, 0), "/v1/chat/sync", "{\"sync_key\":\"0\"}");
    cr_expect(strstr(text, "\"message\":{") == NULL && strstr(text, "\"heads\":[{") == NULL, "nothing to be read: %s", text);
    say_in(ada, room_id, 6, 7);
    expect_readable(user(1, 0), room_id, 6, "who came first");
    expect_readable(user(1, 3), room_id, 6, "who made it large");
    EXPECT(ERROR_NONE, user(1, 3), "/v1/chat/sync", "{\"sync_key\":\"0\"}");
    cr_expect_not_null(strstr(text, "\"head_seq\":\"7\",\"read_seq\":\"5\"}]"), "%s", text);
}

Test(room_methods, who_comes_back_came_in_then)
{
    uint64_t ada = user(0, 0), bob = user(1, 0), room_id = room_with_history(ada, "SINCE_JOIN");
    EXPECT(ERROR_NONE, bob, "/v1/room/join", "{\"room_id\":\"%" ID "\"}", room_id);
    say_in(bob, room_id, 1, 2);
    EXPECT(ERROR_NONE, bob, "/v1/room/join", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_NONE, bob, "/v1/chat/history", "{\"room_id\":\"%" ID "\"}", room_id);
    cr_expect_str_eq(page_of(), "2 1 ", "who is in it already does not come in again");
    EXPECT(ERROR_NONE, bob, "/v1/room/leave", "{\"room_id\":\"%" ID "\"}", room_id);
    say_in(ada, room_id, 3, 5);
    EXPECT(ERROR_ROOM_NOT_FOUND, bob, "/v1/chat/history", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_NONE, bob, "/v1/room/join", "{\"room_id\":\"%" ID "\"}", room_id);
    say_in(ada, room_id, 6, 7);
    expect_readable(bob, room_id, 6, "who came back");
    EXPECT(ERROR_NONE, ada, "/v1/room/set_role", "{\"room_id\":\"%" ID "\",\"user_id\":\"%" ID "\",\"role\":\"OWNER\"}", room_id, bob);
    expect_readable(bob, room_id, 6, "another role changes nothing");
}

/* The room's history counts as it is now, for those who came before the change too; who does not name it leaves it alone. */
Test(room_methods, history_can_be_shown_and_hidden_later)
{
    uint64_t ada = user(0, 0), bob = user(1, 0), eve = user(1, 1), room_id = room_with_history(ada, "");
    say_in(ada, room_id, 1, 3);
    EXPECT(ERROR_NONE, bob, "/v1/room/join", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_NONE, ada, "/v1/chat/conversations", "{}");
    EXPECT(ERROR_ROLE_TOO_LOW, bob, "/v1/room/update", "{\"room_id\":\"%" ID "\",\"history\":\"ALL\"}", room_id);
    EXPECT(ERROR_ROOM_NOT_FOUND, eve, "/v1/room/update", "{\"room_id\":\"%" ID "\",\"history\":\"ALL\"}", room_id);
    EXPECT(ERROR_BAD_FIELD, ada, "/v1/room/update", "{\"room_id\":\"%" ID "\",\"history\":3}", room_id);
    EXPECT(ERROR_BAD_FIELD, ada, "/v1/room/create", "{\"name\":\"x\",\"history\":-1}");
    EXPECT(ERROR_NONE, bob, "/v1/chat/conversations", "{}");
    cr_expect_not_null(strstr(text, "\"last_message\":{\"msg_id\""), "from before bob came in, and the history is for all: %s", text);
    say_in(ada, room_id, 4, 7);
    expect_readable(bob, room_id, 1, "before");
    EXPECT(ERROR_NONE, ada, "/v1/room/update", "{\"room_id\":\"%" ID "\",\"joinable\":true,\"history\":\"SINCE_JOIN\"}", room_id);
    cr_expect_not_null(strstr(text, "\"history\":\"SINCE_JOIN\""), "%s", text);
    EXPECT(ERROR_NONE, bob, "/v1/chat/sync", "{\"sync_key\":\"0\"}");
    cr_expect_not_null(strstr(text, "\"change\":\"ROOM_UPDATED\",\"room\":{"), "%s", text);
    cr_expect_not_null(strstr(text, "\"history\":\"SINCE_JOIN\""), "%s", text);
    expect_readable(bob, room_id, 4, "hidden");
    expect_readable(ada, room_id, 1, "who made it");
    EXPECT(ERROR_NONE, ada, "/v1/room/update", "{\"room_id\":\"%" ID "\",\"joinable\":true,\"name\":\"renamed\"}", room_id);
    cr_expect_not_null(strstr(text, "\"history\":\"SINCE_JOIN\""), "%s", text);
    expect_readable(bob, room_id, 4, "renamed");
    EXPECT(ERROR_NONE, eve, "/v1/room/join", "{\"room_id\":\"%" ID "\"}", room_id);
    EXPECT(ERROR_NONE, eve, "/v1/chat/conversations", "{}");
    cr_expect_null(strstr(text, "last_message"), "this shard has it, eve may not read it: %s", text);
    cr_expect(strstr(text, "\"head_seq\":\"7\"") != NULL && number("unread") == 0, "%s", text);
    EXPECT(ERROR_NONE, ada, "/v1/room/update", "{\"room_id\":\"%" ID "\",\"joinable\":true,\"history\":\"ALL\"}", room_id);
    expect_readable(bob, room_id, 1, "shown");
    expect_readable(eve, room_id, 1, "shown to who came later");
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
