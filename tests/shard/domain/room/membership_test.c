/* tests/shard/domain/room/membership_test.c - who may do what, exact sizes, coming and going. */
#include "shard/room_world.h"
#include <criterion/criterion.h>

/* ---- role x operation ---- */

enum { OWNER, ADMIN, MEMBER, STRANGER, ROLE_KINDS };
static const char *const role_names[ROLE_KINDS] = {"owner", "admin", "member", "stranger"};

struct cast { /* one room and who stands how to it */
    struct world world;
    uint64_t room_id;
    uint64_t users[ROLE_KINDS];
    uint64_t other_admin, other_member, newcomer;
};

static struct cast cast_create(bool joinable)
{
    struct cast c = {.world = world_create(fixture_options(0, 1))};
    for (int i = 0; i < ROLE_KINDS; i++) c.users[i] = world_user(&c.world, 0, role_names[i]);
    c.other_admin = world_user(&c.world, 0, "other admin");
    c.other_member = world_user(&c.world, 0, "other member");
    c.newcomer = world_user(&c.world, 0, "newcomer");
    uint64_t guests[] = {c.users[ADMIN], c.users[MEMBER], c.other_admin, c.other_member};
    c.room_id = world_create_room(&c.world, c.users[OWNER], guests, COUNT_OF(guests), joinable);
    cr_assert_eq(world_set_role(&c.world, c.users[OWNER], c.room_id, c.users[ADMIN], ROLE_ADMIN), ERROR_NONE);
    cr_assert_eq(world_set_role(&c.world, c.users[OWNER], c.room_id, c.other_admin, ROLE_ADMIN), ERROR_NONE);
    return c;
}

static enum error do_send(struct cast *c, uint64_t actor)
{
    return world_send(&c->world, actor, c->room_id, "id", "body");
}
static enum error do_join(struct cast *c, uint64_t actor)
{
    return world_join(&c->world, actor, c->room_id);
}
static enum error do_leave(struct cast *c, uint64_t actor)
{
    return world_leave(&c->world, actor, c->room_id);
}
static enum error do_update(struct cast *c, uint64_t actor)
{
    return world_update(&c->world, actor, c->room_id, "new name", false);
}
static enum error do_dismiss(struct cast *c, uint64_t actor)
{
    return world_dismiss(&c->world, actor, c->room_id);
}
static enum error do_invite(struct cast *c, uint64_t actor)
{
    return world_invite(&c->world, actor, c->room_id, &c->newcomer, 1);
}
static enum error do_remove_member(struct cast *c, uint64_t actor)
{
    return world_remove(&c->world, actor, c->room_id, &c->other_member, 1);
}
static enum error do_remove_admin(struct cast *c, uint64_t actor)
{
    return world_remove(&c->world, actor, c->room_id, &c->other_admin, 1);
}
static enum error do_remove_both(struct cast *c, uint64_t actor)
{
    uint64_t both[] = {c->other_member, c->other_admin};
    return world_remove(&c->world, actor, c->room_id, both, 2);
}
static enum error do_promote(struct cast *c, uint64_t actor)
{
    return world_set_role(&c->world, actor, c->room_id, c->other_member, ROLE_ADMIN);
}
static enum error do_hand_over(struct cast *c, uint64_t actor)
{
    return world_set_role(&c->world, actor, c->room_id, c->other_member, ROLE_OWNER);
}

Test(room_membership, roles_decide)
{
#define OK  ERROR_NONE
#define LOW ERROR_ROLE_TOO_LOW
#define OUT ERROR_ROOM_NOT_FOUND
    static const struct {
        const char *name;
        enum error (*operation)(struct cast *, uint64_t actor);
        bool joinable;
        enum error want[ROLE_KINDS]; /* owner, admin, member, stranger */
    } cases[] = {
        {"send", do_send, false, {OK, OK, OK, OUT}},
        {"join a closed room", do_join, false, {OK, OK, OK, ERROR_ROOM_NOT_FOUND}},
        {"join an open room", do_join, true, {OK, OK, OK, OK}},
        {"leave", do_leave, false, {ERROR_OWNER_MUST_STAY, OK, OK, OUT}},
        {"update", do_update, false, {OK, OK, LOW, OUT}},
        {"dismiss", do_dismiss, false, {OK, LOW, LOW, OUT}},
        {"invite", do_invite, false, {OK, OK, LOW, OUT}},
        {"invite to an open room", do_invite, true, {OK, OK, LOW, OUT}},
        {"remove a member", do_remove_member, false, {OK, OK, LOW, OUT}},
        {"remove an admin", do_remove_admin, false, {OK, LOW, LOW, OUT}},
        {"remove a member and an admin", do_remove_both, false, {OK, LOW, LOW, OUT}},
        {"make somebody an admin", do_promote, false, {OK, LOW, LOW, OUT}},
        {"hand the room over", do_hand_over, false, {OK, LOW, LOW, OUT}},
    };
#undef OK
#undef LOW
#undef OUT
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (int role = 0; role < ROLE_KINDS; role++) {
            struct cast c = cast_create(cases[i].joinable);
            size_t before = c.world.shards[0]->journal.len;
            enum error got = cases[i].operation(&c, c.users[role]);
            cr_expect_eq(got, cases[i].want[role], "%s as %s: %s", cases[i].name, role_names[role],
                         error_row(got)->reason);
            if (got != ERROR_NONE)
                cr_expect_eq(c.world.shards[0]->journal.len, before, "%s as %s: a refusal changes nothing",
                             cases[i].name, role_names[role]);
            world_destroy(&c.world);
        }
    }
}

Test(room_membership, nobody_removes_the_owner)
{
    struct cast c = cast_create(false);
    cr_expect_eq(world_remove(&c.world, c.users[ADMIN], c.room_id, &c.users[OWNER], 1), ERROR_ROLE_TOO_LOW);
    cr_expect_eq(world_room(&c.world, c.room_id)->member_count, 5);
    world_destroy(&c.world);
}

Test(room_membership, handing_over_makes_the_old_owner_an_admin)
{
    struct cast c = cast_create(false);
    uint64_t owner = c.users[OWNER], heir = c.users[MEMBER];
    cr_expect_eq(world_set_role(&c.world, owner, c.room_id, owner, ROLE_ADMIN), ERROR_OWNER_MUST_STAY);
    cr_expect_eq(world_set_role(&c.world, owner, c.room_id, owner, ROLE_OWNER), ERROR_NONE);
    cr_expect_eq(world_set_role(&c.world, owner, c.room_id, c.newcomer, ROLE_ADMIN), ERROR_MEMBER_NOT_FOUND);
    cr_assert_eq(world_set_role(&c.world, owner, c.room_id, heir, ROLE_OWNER), ERROR_NONE);
    cr_expect_eq(world_room(&c.world, c.room_id)->owner_id, heir);
    struct fixture *shard = c.world.shards[0];
    cr_expect_eq(member_of(fixture_entity(shard, ENTITY_MEMBER, c.room_id, owner))->role, ROLE_ADMIN);
    cr_expect_eq(member_of(fixture_entity(shard, ENTITY_MEMBER, c.room_id, heir))->role, ROLE_OWNER);
    cr_expect_eq(world_dismiss(&c.world, owner, c.room_id), ERROR_ROLE_TOO_LOW);
    cr_expect_eq(world_leave(&c.world, owner, c.room_id), ERROR_NONE, "who handed over may go");
    Ringpost__V1__SyncResponse *sync = world_sync(&c.world, c.other_member, 0, 100);
    cr_assert_geq(sync->n_events, 3);
    const Ringpost__V1__RoomChange *to_owner = sync->events[sync->n_events - 3]->room;
    const Ringpost__V1__RoomChange *to_admin = sync->events[sync->n_events - 2]->room;
    cr_expect(to_owner->target_id == heir && to_owner->role == RINGPOST__V1__ROLE__OWNER &&
              to_owner->room->owner_id == heir);
    cr_expect(to_admin->target_id == owner && to_admin->role == RINGPOST__V1__ROLE__ADMIN);
    WORLD_FREE(sync);
    world_destroy(&c.world);
}

/* ---- sizes ---- */

Test(room_membership, a_batch_of_joins_fills_a_room_exactly)
{
    struct machine_options options = fixture_options(0, 1);
    options.limits[LIMIT_ROOM_MEMBERS_MAX] = 5;
    struct world world = world_create(options);
    struct fixture *shard = world.shards[0];
    uint64_t owner = world_user(&world, 0, "owner"), users[8];
    uint64_t room_id = world_create_room(&world, owner, NULL, 0, true);
    for (int i = 0; i < 8; i++) {
        users[i] = world_user(&world, 0, "somebody");
        struct members_add_record join = {.room_id = room_id, .people = world_people(&users[i], 1)};
        cr_assert_eq(FIXTURE_PROPOSE(shard, users[i], MEMBERS_ADD, members_add, &join), ERROR_NONE,
                     "there is room yet");
    }
    for (int i = 0; i < 8; i++) cr_expect_eq(fixture_apply(shard), i < 4 ? ERROR_NONE : ERROR_ROOM_FULL, "join %d", i);
    fixture_end_batch(shard);
    cr_expect_eq(world_room(&world, room_id)->member_count, 5);
    cr_expect_eq(fixture_count(shard, KEY_MEMBER, room_id), 5);
    cr_expect_eq(world_join(&world, users[0], room_id), ERROR_NONE, "a member joins a full room again");
    cr_expect_eq(world_join(&world, users[7], room_id), ERROR_ROOM_FULL);
    cr_assert_eq(world_leave(&world, users[0], room_id), ERROR_NONE);
    cr_expect_eq(world_join(&world, users[7], room_id), ERROR_NONE);
    cr_expect_eq(fixture_count(shard, KEY_MEMBER, room_id), 5);
    world_destroy(&world);
}

Test(room_membership, an_invitation_is_all_or_none_and_leaves_out_who_is_there)
{
    struct machine_options options = fixture_options(0, 1);
    options.limits[LIMIT_ROOM_MEMBERS_MAX] = 4;
    struct world world = world_create(options);
    struct fixture *shard = world.shards[0];
    uint64_t u[6];
    for (int i = 0; i < 6; i++) u[i] = world_user(&world, 0, "somebody");
    uint64_t room_id = world_create_room(&world, u[0], u + 1, 1, false);
    cr_expect_eq(world_invite(&world, u[0], room_id, u + 2, 3), ERROR_ROOM_FULL);
    cr_expect_eq(world_room(&world, room_id)->member_count, 2, "none of the three");
    cr_assert_eq(world_invite(&world, u[0], room_id, u + 1, 3), ERROR_NONE, "one is there already");
    Ringpost__V1__InviteResponse *response = FIXTURE_REPLY(shard, invite_response);
    cr_expect_eq(response->added_count, 2);
    cr_expect_eq(response->room->member_count, 4);
    WORLD_FREE(response);
    cr_assert_eq(world_remove(&world, u[0], room_id, u + 2, 3), ERROR_NONE, "one is not there");
    Ringpost__V1__RemoveMembersResponse *removed = FIXTURE_REPLY(shard, remove_members_response);
    cr_expect_eq(removed->removed_count, 2);
    cr_expect_eq(removed->room->member_count, 2);
    WORLD_FREE(removed);
    world_destroy(&world);
}

/* Two who invite the same person in one batch: the second finds them there. */
Test(room_membership, a_batch_adds_nobody_twice)
{
    struct cast c = cast_create(true);
    struct fixture *shard = c.world.shards[0];
    struct members_add_record join = {.room_id = c.room_id, .people = world_people(&c.newcomer, 1)}, invite = join;
    invite.invited = 1;
    cr_assert_eq(FIXTURE_PROPOSE(shard, c.users[OWNER], MEMBERS_ADD, members_add, &invite), ERROR_NONE);
    cr_assert_eq(FIXTURE_PROPOSE(shard, c.newcomer, MEMBERS_ADD, members_add, &join), ERROR_NONE);
    cr_expect_eq(fixture_apply(shard), ERROR_NONE);
    cr_expect_eq(fixture_apply(shard), ERROR_NONE);
    fixture_end_batch(shard);
    cr_expect_eq(world_room(&c.world, c.room_id)->member_count, 6);
    cr_expect_eq(world_inbox(&c.world, c.newcomer)->room_count, 1);
    world_destroy(&c.world);
}

/* ---- ends ---- */

Test(room_membership, the_last_one_out_ends_the_room)
{
    struct world world = world_create(fixture_options(0, 1));
    uint64_t ada = world_user(&world, 0, "ada"), bob = world_user(&world, 0, "bob");
    uint64_t room_id = world_create_room(&world, ada, &bob, 1, true);
    cr_expect_eq(world_leave(&world, ada, room_id), ERROR_OWNER_MUST_STAY);
    cr_assert_eq(world_leave(&world, bob, room_id), ERROR_NONE);
    cr_assert_eq(world_leave(&world, ada, room_id), ERROR_NONE);
    cr_expect_eq(world_room(&world, room_id)->member_count, 0);
    cr_expect_eq(world_join(&world, bob, room_id), ERROR_ROOM_NOT_FOUND);
    cr_expect_eq(world_inbox(&world, ada)->room_count, 0);
    cr_expect_eq(fixture_count(world.shards[0], KEY_LOCAL, room_id), 0);
    world_destroy(&world);
}

Test(room_membership, a_dismissed_room_is_read_and_left_and_nothing_else)
{
    struct cast c = cast_create(true);
    uint64_t owner = c.users[OWNER];
    cr_assert_eq(world_send(&c.world, owner, c.room_id, "m", "last words"), ERROR_NONE);
    cr_assert_eq(world_dismiss(&c.world, owner, c.room_id), ERROR_NONE);
    enum error (*const refused[])(struct cast *, uint64_t) = {do_join,          do_update,  do_dismiss,  do_invite,
                                                              do_remove_member, do_promote, do_hand_over};
    for (size_t i = 0; i < COUNT_OF(refused); i++) cr_expect_eq(refused[i](&c, owner), ERROR_ROOM_DISMISSED, "%zu", i);
    cr_expect_eq(world_send(&c.world, owner, c.room_id, "n", "one more"), ERROR_ROOM_DISMISSED);
    cr_expect_eq(world_read(&c.world, c.users[MEMBER], c.room_id, 1), ERROR_NONE);
    cr_expect_eq(world_leave(&c.world, c.users[MEMBER], c.room_id), ERROR_NONE);
    cr_expect_eq(world_leave(&c.world, owner, c.room_id), ERROR_NONE, "nothing is left to hand over");
    Ringpost__V1__SyncResponse *sync = world_sync(&c.world, c.other_member, 0, 100);
    bool told = false;
    for (size_t i = 0; i < sync->n_events; i++)
        told = told || (sync->events[i]->kind_case == RINGPOST__V1__EVENT__KIND_ROOM &&
                        sync->events[i]->room->room->dismissed &&
                        sync->events[i]->room->change == RINGPOST__V1__ROOM_CHANGE_KIND__ROOM_DISMISSED);
    cr_expect(told);
    WORLD_FREE(sync);
    world_destroy(&c.world);
}

Test(room_membership, an_update_that_changes_nothing_tells_nobody)
{
    struct cast c = cast_create(true);
    uint64_t head = world_inbox(&c.world, c.users[MEMBER])->head;
    cr_expect_eq(world_update(&c.world, c.users[OWNER], c.room_id, "", true), ERROR_NONE);
    cr_expect_eq(world_inbox(&c.world, c.users[MEMBER])->head, head);
    cr_expect_eq(world_update(&c.world, c.users[OWNER], c.room_id, "", false), ERROR_NONE);
    cr_expect_eq(world_inbox(&c.world, c.users[MEMBER])->head, head + 1);
    cr_expect_str_eq(world_room(&c.world, c.room_id)->name, "the room");
    cr_expect_eq(world_update(&c.world, c.users[ADMIN], c.room_id, "renamed", false), ERROR_NONE);
    cr_expect_str_eq(world_room(&c.world, c.room_id)->name, "renamed");
    world_destroy(&c.world);
}
