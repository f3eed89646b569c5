/* shard/domain/followed.c - one row per kind of entry; the behaviour stands with its area. */
#include "shard/domain/followed.h"

const struct follower_row *const follower_rows[FOLLOWER_KINDS_MAX] = {
    [FOLLOWED_USER_CREATED] = &followed_user_created,     [FOLLOWED_DEVICE_ADDED] = &followed_device_added,
    [FOLLOWED_DEVICE_REVOKED] = &followed_device_revoked, [FOLLOWED_ROOM_CREATED] = &followed_room_created,
    [FOLLOWED_ROOM_UPDATED] = &followed_room_updated,     [FOLLOWED_ROOM_DISMISSED] = &followed_room_dismissed,
    [FOLLOWED_MEMBER_JOINED] = &followed_member_joined,   [FOLLOWED_MEMBER_LEFT] = &followed_member_left,
    [FOLLOWED_ROLE_CHANGED] = &followed_role_changed,     [FOLLOWED_MESSAGE] = &followed_message_stored,
};
