/* tests/shard/domain/delivery/roster_test.c - who is online in which large rooms, against a plain table of the same. */
#include "shard/domain/delivery/roster.h"
#include "shard/domain/delivery/inbox.h"
#include <criterion/criterion.h>

#define ROOMS 300 /* the map grows from 64 rows */
#define USERS 20

static struct roster *roster;
static struct inbox inboxes[USERS];
static bool online[ROOMS][USERS];

static void setup(void) { cr_assert_eq(roster_create(&roster), RESULT_OK); }
static void teardown(void) { roster_destroy(roster); }

TestSuite(roster, .init = setup, .fini = teardown);

static uint64_t room_id(uint32_t room) { return id_make(0, ID_ROOM, room + 1u); }

static void check_room(uint32_t room)
{
    uint32_t count = UINT32_MAX, want = 0;
    struct inbox *const *listed = roster_online(roster, room_id(room), &count);
    bool seen[USERS] = {false};
    for (uint32_t i = 0; i < count; i++) seen[listed[i] - inboxes] = true;
    for (uint32_t user = 0; user < USERS; user++) {
        cr_assert_eq(seen[user], online[room][user], "room %u, user %u", room, user);
        want += online[room][user];
    }
    cr_assert_eq(count, want, "room %u: nobody twice", room);
}

static void check(void)
{
    uint32_t counts[USERS] = {0};
    for (uint32_t room = 0; room < ROOMS; room++) {
        check_room(room);
        for (uint32_t user = 0; user < USERS; user++) counts[user] += online[room][user];
    }
    for (uint32_t user = 0; user < USERS; user++) cr_assert_eq(inboxes[user].roster_count, counts[user], "user %u", user);
}

static void add(uint32_t room, uint32_t user)
{
    roster_add(roster, room_id(room), &inboxes[user]);
    online[room][user] = true;
}

static void remove_from(uint32_t room, uint32_t user)
{
    roster_remove(roster, room_id(room), &inboxes[user]);
    online[room][user] = false;
}

static void remove_all(uint32_t user)
{
    roster_remove_all(roster, &inboxes[user]);
    for (uint32_t room = 0; room < ROOMS; room++) online[room][user] = false;
}

Test(roster, adding_and_removing_again_changes_nothing)
{
    check();
    add(1, 1);
    add(1, 1);
    add(1, 2);
    add(2, 1);
    check();
    remove_from(3, 1); /* a room nobody is in */
    remove_from(2, 2); /* not one of them */
    remove_from(1, 1);
    remove_from(1, 1);
    check();
    remove_all(1);
    remove_all(1);
    remove_all(2);
    check();
}

Test(roster, grows_and_shrinks_without_losing_anybody)
{
    for (uint32_t room = 0; room < ROOMS; room++)
        for (uint32_t user = 0; user < USERS; user += 1 + room % 7) add(room, user);
    check();
    for (uint32_t room = 0; room < ROOMS; room += 3)
        for (uint32_t user = 0; user < USERS; user++) remove_from(room, user);
    check();
    for (uint32_t user = 0; user < USERS; user += 2) remove_all(user);
    check();
    for (uint32_t user = 0; user < USERS; user++) remove_all(user);
    check();
}

/* Rows are removed by shifting back: every order of removals must leave all other rows to be found. */
Test(roster, any_order_of_changes)
{
    uint64_t state = 88172645463325252u;
    for (uint32_t step = 0; step < 20000; step++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        uint32_t room = (uint32_t)(state >> 33) % ROOMS, user = (uint32_t)(state >> 20) % USERS;
        switch ((state >> 8) % 8) {
        case 0:
        case 1:
        case 2: add(room, user); break;
        case 7:
            if (state % 16 == 0) remove_all(user);
            else remove_from(room, user);
            break;
        default: remove_from(room, user); break;
        }
        if (step % 1000 == 0) check();
        else check_room(room);
    }
    check();
}
