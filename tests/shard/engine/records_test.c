/* tests/shard/engine/records_test.c - what stands in logs and stores keeps its form: a record that changes its fields no longer reads what
 * an older server wrote. Such a change needs a new record with a new number, or another format of the data directory (DATADIR_FORMAT). */
#include "shard/domain/records.h"
#include "shard/domain/room/room.h"
#include "shard/domain/room/view.h"
#include "storage/datadir.h"
#include <criterion/criterion.h>

/* The bytes of each record with every number 0 and every text empty. */
#define STORED(name, want)                                                                                             \
    do {                                                                                                               \
        struct writer w;                                                                                               \
        struct name##_record record, again;                                                                            \
        memset(&record, 0, sizeof record);                                                                             \
        writer_init(&w, 0);                                                                                            \
        name##_record_write(&w, &record);                                                                              \
        struct cursor c = cursor_of(writer_slice(&w));                                                                 \
        cr_expect_eq(w.len, (size_t)want, #name " has %zu bytes", w.len);                                              \
        cr_expect(name##_record_read(&again, &c) && cursor_done(&c), #name " does not read back");                     \
        writer_deinit(&w);                                                                                             \
    } while (0);

Test(records, keep_their_form)
{
    cr_expect_eq(DATADIR_FORMAT, 5, "another format: say here what its records look like");
    STORED(command, 17)
    STORED(incarnation, 9)
    STORED(follower_begin, 15)
    STORED(follower_ack, 42)
    STORED(follower_end, 22)
    STORED(follower, 40)
    STORED(followed_user, 17)
    STORED(followed_device, 21)
    STORED(followed_room, 25)
    STORED(followed_member, 34)
    STORED(followed_message, 17)
    STORED(user_create, 13)
    STORED(device_put, 54)
    STORED(refresh, 41)
    STORED(device_revoke, 13)
    STORED(revocation_time, 13)
    STORED(seen, 13)
    STORED(send, 47) /* 46 without the second list */
    STORED(read, 25)
    STORED(person, 13)
    STORED(room_create, 19) /* 18 without the second list */
    STORED(room_update, 15) /* 14 without the second list */
    STORED(room_dismiss, 9)
    STORED(members_add, 14)
    STORED(members_remove, 13)
    STORED(role_set, 18)
    STORED(mqtt_session, 67) /* 59 without the second list */
    STORED(retained_clear, 9)
    STORED(relay, 21)
    STORED(relay_name, 18)
    STORED(relay_heard, 26)
    STORED(message, 51) /* 50 without the second list */
    STORED(relay_message, 14)
    STORED(snapshot, 42) /* 41 without the second list */
    STORED(relay_change, 55)
    STORED(meta, 65) /* 33 without the second list */
    STORED(stream_ack, 5)
    STORED(acknowledged, 11)
    STORED(stream, 25) /* 17 without the second list */
    STORED(name, 13)
    STORED(account, 21)
    STORED(device, 75) /* 46 without the second list */
    STORED(inbox, 30) /* 17 without the second list */
    STORED(conversation, 29)
    STORED(room, 42) /* 33 without the second list */
    STORED(member, 22) /* 14 without the second list */
    STORED(event_message, 17)
    STORED(event_read, 17)
    STORED(event_device, 13)
}

/* What an older server wrote: the first list under version 1. The second means the former behaviour then. */
Test(records, of_an_older_server_read_with_nothing_in_the_second_list)
{
    static const uint8_t hash[32] = {7};
    struct writer w;
    writer_init(&w, 0);
    writer_u8(&w, 1);
    writer_bytes(&w, SLICE_TEXT("web"));
    writer_bytes(&w, SLICE_TEXT("My laptop"));
    for (uint64_t number = 1; number <= 3; number++) writer_u64(&w, number); /* created, last seen, valid after */
    writer_u8(&w, 1);
    writer_bytes(&w, slice_of(hash, sizeof hash));
    writer_u64(&w, 4);
    struct device_record device;
    memset(&device, 0xff, sizeof device);
    struct cursor c = cursor_of(writer_slice(&w));
    cr_assert(device_record_read(&device, &c) && cursor_done(&c));
    cr_expect(slice_equal(device.platform, SLICE_TEXT("web")) && slice_equal(device.name, SLICE_TEXT("My laptop")));
    cr_expect(device.created_ms == 1 && device.last_seen_ms == 2 && device.valid_after_s == 3 && device.refresh_expires_ms == 4);
    cr_expect(device.revoked == 1 && slice_equal(device.refresh_hash, slice_of(hash, sizeof hash)));
    cr_expect(device.generation == 0 && device.family == 0 && device.refresh_number == 0 && device.refreshed_ms == 0);
    writer_deinit(&w);
}

/* A room of before: everybody reads all of it, whoever comes when. */
Test(records, of_rooms_without_a_history_hide_nothing)
{
    struct writer w;
    writer_init(&w, 0);
    writer_u8(&w, 1);
    writer_u64(&w, 7); /* room */
    writer_u8(&w, 0);
    writer_bytes(&w, SLICE_TEXT("Hikers"));
    writer_u64(&w, 8); /* owner */
    writer_u32(&w, 2);
    writer_u32(&w, 500);
    writer_u64(&w, 9); /* created */
    for (uint8_t flag = 0; flag < 3; flag++) writer_u8(&w, flag == 1); /* joinable */
    writer_u64(&w, 12);                                                /* head, behind the snapshot: a view */
    struct view_value view;
    memset(&view, 0xff, sizeof view);
    cr_assert(view_value_read(writer_slice(&w), &view));
    cr_expect(view.snapshot.joinable == 1 && view.snapshot.large == 0 && view.snapshot.since_join == 0 && view.head_seq == 12);

    writer_reset(&w);
    writer_u8(&w, 1);
    writer_u8(&w, 2); /* role */
    writer_u64(&w, 3);
    writer_bytes(&w, SLICE_TEXT("Ada"));
    struct member_record member;
    memset(&member, 0xff, sizeof member);
    struct cursor c = cursor_of(writer_slice(&w));
    cr_assert(member_record_read(&member, &c) && cursor_done(&c));
    cr_expect(member.role == 2 && member.joined_ms == 3 && member.joined_seq == 0);

    writer_reset(&w);
    writer_u8(&w, 1);
    writer_u64(&w, 7);
    writer_bytes(&w, SLICE_EMPTY);
    writer_u8(&w, 1);
    struct room_update_record update;
    memset(&update, 0xff, sizeof update);
    c = cursor_of(writer_slice(&w));
    cr_assert(room_update_record_read(&update, &c) && cursor_done(&c));
    cr_expect(update.joinable == 1 && update.history == RINGPOST__V1__ROOM_HISTORY__NOT_CHOSEN, "in a log: unchanged");
    writer_deinit(&w);
}
