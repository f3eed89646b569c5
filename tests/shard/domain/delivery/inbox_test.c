/* tests/shard/domain/delivery/inbox_test.c - the light part of a user as an older server left it: what was not counted then is counted at the load. */
#include "shard/domain/delivery/inbox.h"
#include "shard/domain/keys.h"
#include "shard/machine_fixture.h"
#include "shard/domain/records.h"
#include <criterion/criterion.h>

Test(inbox, conversations_of_two_are_counted_where_the_record_does_not_say)
{
    struct machine_options options = fixture_options(0, 1);
    struct fixture *f = fixture_create(&options);
    uint64_t ada = fixture_add_user(f, "ada");
    struct writer w;
    writer_init(&w, 0);
    writer_u8(&w, 1); /* the first version: room_count, large_count, last_seen_ms */
    writer_u32(&w, 3);
    writer_u32(&w, 0);
    writer_u64(&w, 77);
    struct key key = key_one(KEY_INBOX, ada);
    fixture_put(f, &key, writer_slice(&w));
    static const uint64_t peers[] = {5, 0, 6}; /* 0: a group */
    for (uint64_t i = 0; i < COUNT_OF(peers); i++) {
        struct conversation_record conversation = {.peer_id = peers[i], .peer_name = SLICE_TEXT("x")};
        writer_reset(&w);
        conversation_record_write(&w, &conversation);
        key = key_two(KEY_CONVERSATION, ada, 100 + i);
        fixture_put(f, &key, writer_slice(&w));
    }
    writer_deinit(&w);
    const struct inbox *inbox = inbox_of(fixture_entity(f, ENTITY_INBOX, ada, 0));
    cr_expect_eq(inbox->room_count, 3);
    cr_expect_eq(inbox->direct_count, 2);
    cr_expect_eq(inbox_group_count(inbox), 1);
    cr_expect_eq(inbox->unanswered_count, 0);
    cr_expect_eq(inbox->last_seen_ms, 77);
    fixture_destroy(f);
}
