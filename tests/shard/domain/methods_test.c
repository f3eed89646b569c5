/* tests/shard/domain/methods_test.c - the table of methods against the contract, and where each request goes. */
#include "shard/domain/domain.h"
#include "shard/domain/routes.h"
#include "shard/domain/methods.h"
#include "api/token.h"
#include "shard/domain/account/account.h"
#include <criterion/criterion.h>
#include <stdio.h>

#define SHARDS 8

/* ---- the contract ---- */

Test(methods, every_row_is_in_the_contract)
{
    for (uint32_t i = 0; i < method_count; i++) {
        const struct method *m = &methods[i];
        const ProtobufCFieldDescriptor *request =
            protobuf_c_message_descriptor_get_field(&ringpost__v1__request__descriptor, m->number);
        const ProtobufCFieldDescriptor *response =
            protobuf_c_message_descriptor_get_field(&ringpost__v1__response__descriptor, m->number);
        cr_assert(request != NULL && response != NULL, "%s", m->name);
        cr_expect_str_eq(request->name, m->name);
        cr_expect_str_eq(response->name, m->name);
        cr_expect_not_null(m->handle);
        cr_expect(strncmp(m->path, "/v1/", 4) == 0, "%s", m->path);
        cr_expect(i == 0 || methods[i - 1].number < m->number, "%s: rows are in the order of their numbers", m->name);
    }
}

Test(methods, every_method_of_the_contract_has_a_row)
{
    const ProtobufCMessageDescriptor *request = &ringpost__v1__request__descriptor;
    uint32_t count = 0;
    for (uint32_t i = 0; i < request->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &request->fields[i];
        if (field->type != PROTOBUF_C_TYPE_MESSAGE) continue;
        count++;
        const struct method *m = method_by_number(ringpost_domain(), field->id);
        cr_assert_not_null(m, "%s", field->name);
        cr_expect_eq(envelope_request_descriptor(field->id), field->descriptor);
    }
    cr_expect_eq(count, method_count);
}

Test(methods, the_routing_field_has_the_type_its_owner_reads)
{
    for (uint32_t i = 0; i < method_count; i++) {
        const struct method *m = &methods[i];
        cr_expect_eq(m->owner_field == 0, m->route == route_actor, "%s", m->name);
        if (m->owner_field == 0) continue;
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(envelope_request_descriptor(m->number), m->owner_field);
        cr_assert_not_null(field, "%s", m->name);
        bool is_text = m->route == route_name || m->route == route_refresh || m->route == route_user;
        cr_expect_eq(field->type, is_text ? PROTOBUF_C_TYPE_STRING : PROTOBUF_C_TYPE_UINT64, "%s.%s", m->name, field->name);
    }
}

Test(methods, who_may_call_and_what_it_costs)
{
    for (uint32_t i = 0; i < method_count; i++) {
        const struct method *m = &methods[i];
        bool is_open = m->access == ACCESS_OPEN;
        cr_expect_eq(is_open, m->rate == RATE_NONE, "%s: who is known is limited", m->name);
        cr_expect(!is_open || m->route == route_name || m->route == route_refresh, "%s: there is no actor", m->name);
        cr_expect_eq(m->rate == RATE_MESSAGE, m->handle == handle_send, "%s", m->name);
    }
}

/* ---- finding ---- */

Test(methods, found_by_number_and_by_path)
{
    for (uint32_t i = 0; i < method_count; i++) {
        cr_expect_eq(method_by_number(ringpost_domain(), methods[i].number), &methods[i]);
        cr_expect_eq(method_by_path(ringpost_domain(), slice_text(methods[i].path)), &methods[i]);
    }
    static const uint32_t absent[] = {0, 1, 9, 19, 49, 52, 63, 64, 1000, UINT32_MAX};
    for (size_t i = 0; i < COUNT_OF(absent); i++) cr_expect_null(method_by_number(ringpost_domain(), absent[i]), "%u", absent[i]);
    static const char *const paths[] = {"", "/", "/v1/chat/sen", "/v1/chat/send/", "/V1/chat/send", "v1/chat/send"};
    for (size_t i = 0; i < COUNT_OF(paths); i++) cr_expect_null(method_by_path(ringpost_domain(), slice_text(paths[i])), "%s", paths[i]);
}

/* ---- routing ---- */

static uint64_t user_on(uint16_t shard) { return id_make(shard, ID_USER, 5); }
static uint64_t room_on(uint16_t shard) { return id_make(shard, ID_ROOM, 5); }

static enum error route(const char *path, uint64_t actor_id, const ProtobufCMessage *message, uint16_t *shard)
{
    struct writer packed;
    writer_init(&packed, 0);
    envelope_pack(&packed, message);
    *shard = UINT16_MAX;
    const struct method *method = method_by_path(ringpost_domain(), slice_text(path));
    enum error error = method->route(method, writer_slice(&packed), actor_id, SHARDS, shard);
    writer_deinit(&packed);
    return error;
}

Test(methods, to_the_home_of_the_actor)
{
    Ringpost__V1__SyncRequest in = RINGPOST__V1__SYNC_REQUEST__INIT;
    static const struct {
        uint64_t actor_id;
        enum error want;
        uint16_t want_shard;
    } cases[] = {
        {1ull << 38 | 5, ERROR_NONE, 0},
        {3ull << 48 | 1ull << 38 | 5, ERROR_NONE, 3},
        {8ull << 48 | 1ull << 38 | 5, ERROR_TOKEN_INVALID, UINT16_MAX},
        {0, ERROR_TOKEN_INVALID, UINT16_MAX},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint16_t shard;
        cr_expect_eq(route("/v1/chat/sync", cases[i].actor_id, &in.base, &shard), cases[i].want, "case %zu", i);
        cr_expect_eq(shard, cases[i].want_shard, "case %zu", i);
    }
}

Test(methods, to_the_room)
{
    Ringpost__V1__HistoryRequest in = RINGPOST__V1__HISTORY_REQUEST__INIT;
    const struct {
        uint64_t room_id;
        enum error want;
        uint16_t want_shard;
    } cases[] = {{room_on(7), ERROR_NONE, 7}, {room_on(0), ERROR_NONE, 0}, {room_on(8), ERROR_ROOM_NOT_FOUND, UINT16_MAX},
                 {0, ERROR_ROOM_NOT_FOUND, UINT16_MAX}, {UINT64_MAX, ERROR_ROOM_NOT_FOUND, UINT16_MAX}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint16_t shard;
        in.room_id = cases[i].room_id;
        cr_expect_eq(route("/v1/chat/history", user_on(1), &in.base, &shard), cases[i].want, "case %zu", i);
        cr_expect_eq(shard, cases[i].want_shard, "case %zu", i);
    }
}

Test(methods, a_message_to_the_room_or_to_the_smaller_of_two)
{
    Ringpost__V1__SendRequest in = RINGPOST__V1__SEND_REQUEST__INIT;
    const struct {
        const char *name;
        uint64_t actor_id, room_id, to_user_id;
        enum error want;
        uint16_t want_shard;
    } cases[] = {
        {"a room", user_on(1), room_on(6), 0, ERROR_NONE, 6},
        {"a smaller peer", user_on(4), 0, user_on(2), ERROR_NONE, 2},
        {"a larger peer", user_on(4), 0, user_on(5), ERROR_NONE, 4},
        {"nobody", user_on(4), 0, 0, ERROR_BAD_FIELD, UINT16_MAX},
        {"a peer of no shard", user_on(4), 0, user_on(9), ERROR_USER_NOT_FOUND, UINT16_MAX},
        {"a room of no shard", user_on(4), room_on(9), 0, ERROR_ROOM_NOT_FOUND, UINT16_MAX},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint16_t shard;
        in.room_id = cases[i].room_id;
        in.to_user_id = cases[i].to_user_id;
        cr_expect_eq(route("/v1/chat/send", cases[i].actor_id, &in.base, &shard), cases[i].want, "%s", cases[i].name);
        if (cases[i].want == ERROR_NONE) cr_expect_eq(shard, cases[i].want_shard, "%s", cases[i].name);
    }
}

Test(methods, names_have_one_place_however_they_are_written)
{
    char lower[] = "alice", upper[] = "ALICE", empty[] = "";
    uint16_t by_register, by_login, by_user, by_id;
    Ringpost__V1__RegisterRequest make = RINGPOST__V1__REGISTER_REQUEST__INIT;
    make.name = lower;
    cr_expect_eq(route("/v1/account/register", 0, &make.base, &by_register), ERROR_NONE);
    Ringpost__V1__LoginRequest login = RINGPOST__V1__LOGIN_REQUEST__INIT;
    login.name = upper;
    cr_expect_eq(route("/v1/account/login", 0, &login.base, &by_login), ERROR_NONE);
    Ringpost__V1__UserRequest user = RINGPOST__V1__USER_REQUEST__INIT;
    user.name = lower;
    cr_expect_eq(route("/v1/account/user", user_on(1), &user.base, &by_user), ERROR_NONE);
    cr_expect(by_register == by_login && by_login == by_user && by_user < SHARDS);
    user.name = empty;
    user.user_id = user_on(6);
    cr_expect_eq(route("/v1/account/user", user_on(1), &user.base, &by_id), ERROR_NONE);
    cr_expect_eq(by_id, 6);
    user.user_id = user_on(9);
    cr_expect_eq(route("/v1/account/user", user_on(1), &user.base, &by_id), ERROR_USER_NOT_FOUND);
}

Test(methods, names_spread_over_the_shards)
{
    bool used[SHARDS] = {false};
    for (int i = 0; i < 200; i++) {
        char name[16];
        snprintf(name, sizeof name, "user%d", i);
        used[account_place_of(slice_text(name), SHARDS).shard] = true;
    }
    for (uint32_t i = 0; i < SHARDS; i++) cr_expect(used[i], "shard %u", i);
}

Test(methods, a_refresh_token_names_its_user)
{
    struct writer token;
    writer_init(&token, 0);
    struct token_keys *keys;
    cr_assert_eq(token_keys_create(&keys), RESULT_OK);
    cr_assert_eq(token_keys_add(keys, "test", SLICE_TEXT("0123456789abcdef0123456789abcdef")), RESULT_OK);
    token_refresh_make(keys, &(struct token_refresh){.user_id = user_on(5), .device_id = "laptop"}, &token);
    token_keys_destroy(keys);
    writer_u8(&token, '\0');
    Ringpost__V1__RefreshRequest in = RINGPOST__V1__REFRESH_REQUEST__INIT;
    in.refresh_token = (char *)token.data;
    uint16_t shard;
    cr_expect_eq(route("/v1/account/refresh", 0, &in.base, &shard), ERROR_NONE);
    cr_expect_eq(shard, 5);
    char garbage[] = "garbage";
    in.refresh_token = garbage;
    cr_expect_eq(route("/v1/account/refresh", 0, &in.base, &shard), ERROR_TOKEN_INVALID);
    writer_deinit(&token);
}

Test(methods, bytes_that_are_no_message_go_nowhere)
{
    static const uint8_t garbage[] = {0xff, 0xff, 0xff};
    static const char *const paths[] = {"/v1/chat/send", "/v1/chat/history", "/v1/account/login", "/v1/account/refresh",
                                        "/v1/account/user"};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        uint16_t shard;
        const struct method *method = method_by_path(ringpost_domain(), slice_text(paths[i]));
        cr_expect_eq(method->route(method, slice_of(garbage, sizeof garbage), user_on(1), SHARDS,
                                  &shard),
                     ERROR_BAD_REQUEST, "%s", paths[i]);
    }
}
