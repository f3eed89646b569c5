/* tests/shard/domain/account/register_test.c - USER_CREATE: what a new user leaves behind, and who gets a name. */
#include "shard/domain/account/account.h"
#include "shard/domain/delivery/inbox.h"
#include "shard/machine_fixture.h"
#include <criterion/criterion.h>

static struct user_create_record record_of(const char *name)
{
    return (struct user_create_record){.name = slice_text(name),
                                       .display_name = SLICE_TEXT("Alice L."),
                                       .password_hash = SLICE_TEXT("$argon2id$hash")};
}

static struct fixture *shard_of(const char *name, uint16_t shard_count)
{
    struct machine_options options = fixture_options(account_place_of(slice_text(name), shard_count).shard, shard_count);
    return fixture_create(&options);
}

static uint64_t replied_user(struct fixture *f)
{
    Ringpost__V1__RegisterResponse *reply = fixture_reply(f, &ringpost__v1__register_response__descriptor);
    uint64_t user_id = reply->user_id;
    protobuf_c_message_free_unpacked(&reply->base, NULL);
    return user_id;
}

static struct name *name_entity(struct fixture *f, const char *name)
{
    struct account_place place = account_place_of(slice_text(name), f->machine->options.shard_count);
    return name_of(fixture_entity(f, ENTITY_NAME, place.hash_high, place.hash_low));
}

/* The user as a login and a delivery see it, from memory or from the store. */
static void expect_alice(struct fixture *f, uint64_t user_id, uint64_t created_ms)
{
    cr_expect(name_entity(f, "alice")->entity.exists);
    cr_expect_eq(name_entity(f, "alice")->user_id, user_id);
    struct account *account = account_of(fixture_entity(f, ENTITY_ACCOUNT, user_id, 0));
    cr_assert(account->entity.exists);
    cr_expect_str_eq(account->name, "alice");
    cr_expect_str_eq(account->display_name, "Alice L.");
    cr_expect_str_eq(account->password_hash, "$argon2id$hash");
    cr_expect_eq(account->created_ms, created_ms);
    cr_expect_eq(account->device_count, 0);
    struct inbox *inbox = inbox_of(fixture_entity(f, ENTITY_INBOX, user_id, 0));
    cr_assert(inbox->entity.exists);
    cr_expect_str_eq(inbox->name, "alice");
    cr_expect_str_eq(inbox->display_name, "Alice L.");
    cr_expect_eq(inbox->head, 0);
    cr_expect_eq(inbox->room_count, 0);
}

Test(account_register, makes_name_account_and_inbox)
{
    struct user_create_record alice = record_of("alice");
    for (int forgetful = 0; forgetful < 2; forgetful++) {
        struct fixture *f = shard_of("alice", 4);
        f->forgetful = forgetful == 1; /* then everything is read back from the store */
        uint64_t now_ms = f->now_ms;
        cr_assert_eq(FIXTURE_RUN(f, 0, USER_CREATE, user_create, &alice), ERROR_NONE);
        uint64_t user_id = replied_user(f);
        cr_expect_eq(id_partition(user_id), f->machine->options.shard);
        cr_expect_eq(id_type(user_id), ID_USER);
        expect_alice(f, user_id, now_ms);
        fixture_destroy(f);
    }
}

Test(account_register, a_name_is_given_once)
{
    struct user_create_record alice = record_of("alice");
    struct fixture *f = shard_of("alice", 4);
    cr_assert_eq(FIXTURE_RUN(f, 0, USER_CREATE, user_create, &alice), ERROR_NONE);
    uint64_t user_id = replied_user(f);
    cr_expect_eq(FIXTURE_RUN(f, 0, USER_CREATE, user_create, &alice), ERROR_NAME_TAKEN);
    cr_expect_eq(name_entity(f, "alice")->user_id, user_id);
    cr_expect_eq(fixture_count(f, KEY_ACCOUNT, user_id), 1);
    cr_expect_eq(fixture_count(f, KEY_ACCOUNT, user_id + 1), 0, "the refused one left nothing");
    fixture_destroy(f);
}

Test(account_register, of_two_in_one_batch_the_second_is_refused_when_applied)
{
    struct fixture *f = shard_of("alice", 4);
    struct user_create_record alice = record_of("alice"), other = alice;
    other.display_name = SLICE_TEXT("The other Alice");
    cr_assert_eq(FIXTURE_PROPOSE(f, 0, USER_CREATE, user_create, &alice), ERROR_NONE);
    cr_assert_eq(FIXTURE_PROPOSE(f, 0, USER_CREATE, user_create, &other), ERROR_NONE, "both pass the first look");
    uint64_t now_ms = f->now_ms;
    cr_expect_eq(fixture_apply(f), ERROR_NONE);
    uint64_t user_id = replied_user(f);
    cr_expect_eq(fixture_apply(f), ERROR_NAME_TAKEN);
    fixture_end_batch(f);
    cr_expect_lt(account_of(fixture_entity(f, ENTITY_ACCOUNT, user_id, 0))->created_ms, now_ms);
    expect_alice(f, user_id, account_of(fixture_entity(f, ENTITY_ACCOUNT, user_id, 0))->created_ms);
    fixture_destroy(f);
}

Test(account_register, replays_to_the_same_store)
{
    struct fixture *f = shard_of("alice", 1), *again = shard_of("alice", 1);
    struct user_create_record alice = record_of("alice"), bob = record_of("bob");
    cr_assert_eq(FIXTURE_RUN(f, 0, USER_CREATE, user_create, &alice), ERROR_NONE);
    cr_assert_eq(FIXTURE_RUN(f, 0, USER_CREATE, user_create, &alice), ERROR_NAME_TAKEN);
    cr_assert_eq(FIXTURE_RUN(f, 0, USER_CREATE, user_create, &bob), ERROR_NONE);
    fixture_replay(f, again, 0);
    cr_expect(slice_equal(writer_slice(&f->journal), writer_slice(&again->journal)));
    fixture_destroy(f);
    fixture_destroy(again);
}
