/* tests/shard/records_test.c - what stands in logs and stores keeps its form: a record that changes its fields no longer reads what
 * an older server wrote. Such a change needs a new record with a new number, or another format of the data directory (DATADIR_FORMAT). */
#include "shard/records.h"
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
    cr_expect_eq(DATADIR_FORMAT, 4, "another format: say here what its records look like");
    STORED(command, 17)
    STORED(limits, 29) /* 21 without the second list */
    STORED(incarnation, 9)
    STORED(user_create, 13)
    STORED(device_put, 54)
    STORED(refresh, 41)
    STORED(device_revoke, 13)
    STORED(revocation_time, 13)
    STORED(seen, 13)
    STORED(send, 47) /* 46 without the second list */
    STORED(read, 25)
    STORED(person, 13)
    STORED(room_create, 18)
    STORED(room_update, 14)
    STORED(room_dismiss, 9)
    STORED(members_add, 14)
    STORED(members_remove, 13)
    STORED(role_set, 18)
    STORED(mqtt_session, 59)
    STORED(retained_clear, 9)
    STORED(relay, 21)
    STORED(relay_name, 18)
    STORED(message, 51) /* 50 without the second list */
    STORED(relay_message, 14)
    STORED(snapshot, 41)
    STORED(relay_change, 55)
    STORED(meta, 33)
    STORED(stream, 17)
    STORED(name, 13)
    STORED(account, 21)
    STORED(device, 75) /* 46 without the second list */
    STORED(inbox, 30) /* 17 without the second list */
    STORED(conversation, 29)
    STORED(room, 41) /* 33 without the second list */
    STORED(member, 14)
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
