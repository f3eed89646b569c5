/* tests/client/model_test.c - what is said twice, late or with holes still makes one right picture. */
#include "client/model.h"
#include "core/check.h"
#include <criterion/criterion.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#define SELF 1u

static struct model model;

static void model_up(void)
{
    cr_assert_not_null(setlocale(LC_CTYPE, "C.UTF-8"));
    model_init(&model, SELF);
}
static void model_down(void)
{
    model_deinit(&model);
}
TestSuite(model, .init = model_up, .fini = model_down);

/* ---- making what a server says ---- */

struct said_message {
    Ringpost__V1__Message message;
    char text[48], name[16], id[40];
};

static void make_message(struct said_message *made, uint64_t room_id, uint64_t seq, uint64_t sender_id)
{
    ringpost__v1__message__init(&made->message);
    made->id[0] = '\0';
    snprintf(made->text, sizeof made->text, "text %llu", (unsigned long long)seq);
    snprintf(made->name, sizeof made->name, "user%llu", (unsigned long long)sender_id);
    made->message.room_id = room_id;
    made->message.seq = seq;
    made->message.sender_id = sender_id;
    made->message.sender_name = made->name;
    made->message.time_ms = 1000 * seq;
    made->message.client_msg_id = made->id;
    made->message.body = (ProtobufCBinaryData){strlen(made->text), (uint8_t *)made->text};
}

static void say_message(uint64_t room_id, uint64_t seq, uint64_t sender_id)
{
    struct said_message made;
    make_message(&made, room_id, seq, sender_id);
    model_on_message(&model, &made.message);
}

static void say_group(uint64_t room_id, const char *name, uint64_t head_seq, uint64_t read_seq)
{
    char text[32];
    Ringpost__V1__Room room;
    Ringpost__V1__Conversation conversation;
    ringpost__v1__room__init(&room);
    ringpost__v1__conversation__init(&conversation);
    snprintf(text, sizeof text, "%s", name);
    room.room_id = room_id;
    room.name = text;
    room.head_seq = conversation.head_seq = head_seq;
    room.created_ms = room_id;
    conversation.room = &room;
    conversation.read_seq = read_seq;
    model_on_conversation(&model, &conversation);
}

static void say_direct_joined(uint64_t room_id, uint64_t peer_id, const char *name)
{
    char text[32];
    Ringpost__V1__Room room;
    Ringpost__V1__RoomChange change;
    Ringpost__V1__Event event;
    ringpost__v1__room__init(&room);
    ringpost__v1__room_change__init(&change);
    ringpost__v1__event__init(&event);
    snprintf(text, sizeof text, "%s", name);
    room.room_id = room_id;
    room.type = RINGPOST__V1__ROOM_TYPE__DIRECT;
    change.change = RINGPOST__V1__ROOM_CHANGE_KIND__ROOM_JOINED;
    change.room = &room;
    change.peer_id = peer_id;
    change.peer_name = text;
    event.kind_case = RINGPOST__V1__EVENT__KIND_ROOM;
    event.room = &change;
    model_on_event(&model, &event);
}

/* "5 6 7" */
static const char *seqs(uint64_t room_id)
{
    static char out[256];
    const struct conversation *conversation = model_find_room(&model, room_id);
    size_t len = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < conversation->message_count && len < sizeof out - 24; i++)
        len += (size_t)snprintf(out + len, sizeof out - len, "%s%llu", i > 0 ? " " : "", (unsigned long long)conversation->messages[i].seq);
    return out;
}

/* oldest > newest: an empty page. */
static void say_page(uint64_t room_id, uint64_t newest, uint64_t oldest, bool has_more, uint64_t hidden_seq)
{
    Ringpost__V1__HistoryResponse answer = RINGPOST__V1__HISTORY_RESPONSE__INIT;
    static struct said_message made[256];
    Ringpost__V1__Message *page[256];
    size_t count = 0;
    for (uint64_t seq = newest; seq >= oldest; seq--, count++) {
        make_message(&made[count], room_id, seq, 2);
        page[count] = &made[count].message;
    }
    answer.messages = page;
    answer.n_messages = count;
    answer.has_more = has_more;
    answer.hidden_seq = hidden_seq;
    model_on_history(&model, room_id, &answer);
}

static void say_history(uint64_t room_id, uint64_t newest, uint64_t oldest, bool has_more)
{
    say_page(room_id, newest, oldest, has_more, 0);
}

static void say_update(uint64_t room_id, Ringpost__V1__RoomHistory history)
{
    Ringpost__V1__Room room = RINGPOST__V1__ROOM__INIT;
    room.room_id = room_id;
    room.history = history;
    model_on_room(&model, &room);
}

/* ---- timelines ---- */

Test(model, a_timeline_is_a_run_without_holes)
{
    static const struct { const char *name; uint64_t seqs[8]; const char *want; } cases[] = {
        {"in order", {1, 2, 3}, "1 2 3"},
        {"repeats", {1, 2, 2, 1, 3}, "1 2 3"},
        {"backwards joins", {9, 8, 7}, "7 8 9"},
        {"a gap ahead starts over", {1, 2, 5, 6}, "5 6"},
        {"a gap behind is left out", {5, 6, 2}, "5 6"},
        {"started over, then joined again", {1, 2, 4, 3, 2}, "2 3 4"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t room_id = 100 + i;
        for (size_t j = 0; cases[i].seqs[j] != 0; j++) say_message(room_id, cases[i].seqs[j], 2);
        cr_expect_str_eq(seqs(room_id), cases[i].want, "%s", cases[i].name);
    }
}

Test(model, history_is_asked_for_until_the_screen_is_full)
{
    uint64_t before;
    say_group(7, "team", 100, 100);
    const struct conversation *team = model_find_room(&model, 7);
    cr_assert(conversation_wants_history(team, 20, &before));
    cr_expect_eq(before, 0, "first the newest");
    say_history(7, 100, 91, true);
    cr_assert(conversation_wants_history(team, 20, &before));
    cr_expect_eq(before, 91);
    say_history(7, 90, 81, true);
    cr_expect_not(conversation_wants_history(team, 20, &before));
    cr_expect_eq(team->message_count, 20);
    cr_expect_eq(team->messages[0].seq, 81);

    model_on_head(&model, 7, 120, 100); /* a large room moved on */
    cr_expect_eq(conversation_unread(team), 20);
    cr_assert(conversation_wants_history(team, 20, &before));
    cr_expect_eq(before, 0);
    say_history(7, 120, 96, true); /* connects with nothing below 96: starts over */
    cr_expect_eq(team->messages[0].seq, 96);
    cr_expect_eq(team->message_count, 25);
}

Test(model, the_start_of_what_may_be_seen_ends_the_asking)
{
    uint64_t before;
    say_group(7, "team", 6, 6);
    say_history(7, 6, 4, false); /* a member since 4 */
    cr_expect_not(conversation_wants_history(model_find_room(&model, 7), 20, &before));
    say_group(8, "empty", 0, 0);
    cr_expect_not(conversation_wants_history(model_find_room(&model, 8), 20, &before));
    say_group(9, "nothing for us", 5, 0);
    say_history(9, 0, 1, false);
    cr_expect_not(conversation_wants_history(model_find_room(&model, 9), 20, &before));
}

/* A group that hides what was before: what an earlier membership left here does not connect with what comes now. */
Test(model, what_is_hidden_is_not_asked_for_again_and_again)
{
    uint64_t before;
    say_group(7, "team", 2, 2);
    say_history(7, 2, 1, false);
    const struct conversation *team = model_find_room(&model, 7);
    say_group(7, "team", 5, 5); /* left, and came back at 5 */
    cr_assert(conversation_wants_history(team, 20, &before));
    say_page(7, 4, 5, false, 5);
    cr_expect_not(conversation_wants_history(team, 20, &before));
    cr_expect_str_eq(seqs(7), "");
    cr_expect(team->start_reached && team->hidden_seq == 5);
    say_message(7, 6, 2);
    cr_expect_str_eq(seqs(7), "6");
    cr_expect_not(conversation_wants_history(team, 20, &before), "nothing older may be seen");
}

Test(model, a_group_that_shows_its_past_again_is_read_again)
{
    uint64_t before;
    say_group(7, "team", 6, 6);
    const struct conversation *team = model_find_room(&model, 7);
    say_update(7, RINGPOST__V1__ROOM_HISTORY__SINCE_JOIN);
    say_page(7, 6, 6, false, 5);
    cr_expect_not(conversation_wants_history(team, 20, &before));
    say_update(7, RINGPOST__V1__ROOM_HISTORY__SINCE_JOIN);
    cr_expect_not(conversation_wants_history(team, 20, &before));
    say_update(7, RINGPOST__V1__ROOM_HISTORY__ALL);
    cr_assert(conversation_wants_history(team, 20, &before));
    say_history(7, 6, 1, false);
    cr_expect_eq(team->hidden_seq, 0);
    cr_expect_str_eq(seqs(7), "1 2 3 4 5 6");
    say_update(7, RINGPOST__V1__ROOM_HISTORY__SINCE_JOIN);
    cr_expect_str_eq(seqs(7), "", "what is not shown any more goes from the screen");
}

Test(model, a_timeline_has_a_limit)
{
    for (uint64_t seq = 1; seq <= MODEL_TIMELINE_MAX + 10; seq++) say_message(7, seq, 2);
    const struct conversation *team = model_find_room(&model, 7);
    uint64_t before;
    cr_expect_eq(team->message_count, MODEL_TIMELINE_MAX);
    cr_expect_eq(team->messages[0].seq, 11);
    cr_expect_eq(team->messages[MODEL_TIMELINE_MAX - 1].seq, MODEL_TIMELINE_MAX + 10);
    cr_expect_not(conversation_wants_history(team, MODEL_TIMELINE_MAX + 100, &before));
}

Test(model, what_it_holds_is_safe_to_print)
{
    struct said_message made;
    make_message(&made, 7, 1, 2);
    static char evil[] = "\x1b[2Jhi\a\n\n", name[] = "\x1b]0;x\x07mallory";
    made.message.body = (ProtobufCBinaryData){strlen(evil), (uint8_t *)evil};
    made.message.sender_name = name;
    model_on_message(&model, &made.message);
    const struct model_message *message = &model_find_room(&model, 7)->messages[0];
    cr_expect_str_eq(message->text, "[2Jhi", "no escape, no trailing line ends");
    cr_expect_str_eq(message->sender, "]0;xmallory");
    cr_expect_str_eq(model_name_of(&model, 2), "]0;xmallory");
    cr_expect_null(strchr(model_find_room(&model, 7)->title, '\x1b'));
}

Test(model, long_and_foreign_bodies_are_described)
{
    static char body[MODEL_TEXT_MAX * 2];
    memset(body, 'x', sizeof body);
    struct said_message made;
    make_message(&made, 7, 1, 2);
    made.message.body = (ProtobufCBinaryData){sizeof body, (uint8_t *)body};
    model_on_message(&model, &made.message);
    made.message.seq = 2;
    made.message.kind = RINGPOST__V1__MESSAGE_KIND__IMAGE;
    model_on_message(&model, &made.message);
    made.message.seq = 3;
    made.message.kind = (Ringpost__V1__MessageKind)99;
    model_on_message(&model, &made.message);
    const struct conversation *room = model_find_room(&model, 7);
    cr_expect_not_null(strstr(room->messages[0].text, "x […]"));
    cr_expect_str_eq(room->messages[1].text, "[image, 16384 bytes]");
    cr_expect_str_eq(room->messages[2].text, "[unknown, 16384 bytes]");
}

/* ---- conversations ---- */

Test(model, the_latest_conversation_comes_first)
{
    say_group(1, "one", 0, 0);
    say_group(2, "two", 0, 0);
    say_group(3, "three", 0, 0);
    cr_expect_str_eq(model.conversations[0]->title, "three");
    say_message(1, 1, 2);
    cr_expect_str_eq(model.conversations[0]->title, "one");
    cr_expect_str_eq(model.conversations[1]->title, "three");
    say_group(1, "renamed", 1, 0);
    cr_expect_str_eq(model.conversations[0]->title, "renamed");
    cr_expect_eq(model.conversation_count, 3);
}

Test(model, unread_is_head_minus_read_and_never_goes_back)
{
    say_group(7, "team", 10, 4);
    const struct conversation *team = model_find_room(&model, 7);
    cr_expect_eq(conversation_unread(team), 6);
    model_on_read(&model, 7, 9);
    model_on_read(&model, 7, 5);
    cr_expect_eq(conversation_unread(team), 1);
    say_message(7, 11, 2);
    cr_expect_eq(conversation_unread(team), 2);
    model_on_read(&model, 7, 11);
    cr_expect_eq(conversation_unread(team), 0);
}

Test(model, an_unknown_room_is_shown_until_it_is_described)
{
    say_message(7, 3, 2);
    const struct conversation *room = model_find_room(&model, 7);
    cr_expect(room->incomplete);
    cr_expect_str_eq(room->title, "user2");
    say_group(7, "team", 3, 0);
    cr_expect_not(room->incomplete);
    cr_expect_str_eq(room->title, "team");
}

Test(model, leaving_and_coming_back)
{
    say_group(7, "team", 3, 0);
    Ringpost__V1__Room room;
    Ringpost__V1__RoomChange change;
    Ringpost__V1__Event event;
    ringpost__v1__room__init(&room);
    ringpost__v1__room_change__init(&change);
    ringpost__v1__event__init(&event);
    room.room_id = 7;
    change.room = &room;
    event.kind_case = RINGPOST__V1__EVENT__KIND_ROOM;
    event.room = &change;
    change.change = RINGPOST__V1__ROOM_CHANGE_KIND__ROOM_LEFT;
    model_on_event(&model, &event);
    cr_expect(model_find_room(&model, 7)->left);
    change.change = RINGPOST__V1__ROOM_CHANGE_KIND__ROOM_JOINED;
    model_on_event(&model, &event);
    cr_expect_not(model_find_room(&model, 7)->left);
}

/* ---- sending ---- */

Test(model, what_is_sent_shows_once_whichever_comes_first)
{
    say_group(7, "team", 0, 0);
    struct conversation *team = model_find_room(&model, 7);
    struct said_message own;

    cr_assert_eq(model_send(team, "a", "hello", 5), RESULT_OK); /* answer first */
    cr_expect_eq(team->outgoing_count, 1);
    model_on_sent(&model, "a", 7, 1);
    cr_expect_eq(team->outgoing_count, 1, "stays until the timeline has it");
    make_message(&own, 7, 1, SELF);
    model_on_message(&model, &own.message);
    cr_expect_eq(team->outgoing_count, 0);

    cr_assert_eq(model_send(team, "b", "hello", 5), RESULT_OK); /* event first */
    make_message(&own, 7, 2, SELF);
    snprintf(own.id, sizeof own.id, "b");
    model_on_message(&model, &own.message);
    cr_expect_eq(team->outgoing_count, 0);
    model_on_sent(&model, "b", 7, 2);
    cr_expect_str_eq(seqs(7), "1 2");

    cr_assert_eq(model_send(team, "c", "hello", 5), RESULT_OK); /* refused */
    model_on_send_failed(&model, "c", "room\x1b_full");
    cr_expect_eq(team->outgoing[0].state, OUTGOING_FAILED);
    cr_expect_str_eq(team->outgoing[0].reason, "room_full");
    say_message(7, 3, 2);
    cr_expect_eq(team->outgoing_count, 1);
    model_drop_failed(team);
    cr_expect_eq(team->outgoing_count, 0);
}

Test(model, what_waits_to_be_sent_has_a_limit)
{
    say_group(7, "team", 0, 0);
    struct conversation *team = model_find_room(&model, 7);
    char id[16];
    for (int i = 0; i < MODEL_OUTGOING_MAX; i++) {
        snprintf(id, sizeof id, "m%d", i);
        cr_assert_eq(model_send(team, id, "x", 5), RESULT_OK);
    }
    cr_expect_eq(model_send(team, "more", "x", 5), RESULT_BUSY);
}

Test(model, a_first_message_to_somebody_gets_its_room_by_answer_or_event)
{
    struct conversation *bob = model_open_peer(&model, 2, "bob");
    cr_assert_eq(model_send(bob, "a", "hello", 5), RESULT_OK);
    model_on_sent(&model, "a", 70, 1);
    cr_expect_eq(model_find_room(&model, 70), bob);
    say_direct_joined(70, 2, "bob");
    cr_expect_eq(model.conversation_count, 1);

    struct conversation *carol = model_open_peer(&model, 3, "carol");
    cr_assert_eq(model_send(carol, "b", "hello", 5), RESULT_OK);
    say_direct_joined(71, 3, "carol");
    cr_expect_eq(model_find_room(&model, 71), carol);
    model_on_sent(&model, "b", 71, 1);
    cr_expect_eq(model.conversation_count, 2);
    cr_expect_eq(model_open_peer(&model, 3, "carol"), carol, "opened again it is the same one");

    struct conversation *dave = model_open_peer(&model, 4, "dave");
    cr_assert_eq(model_send(dave, "c", "hello", 5), RESULT_OK);
    say_message(72, 1, 4); /* his message came before we knew that this room is his */
    cr_expect_eq(model.conversation_count, 4);
    model_on_sent(&model, "c", 72, 2);
    cr_expect_eq(model.conversation_count, 3, "the two became one");
    const struct conversation *merged = model_find_peer(&model, 4);
    cr_expect_eq(merged->room_id, 72);
    cr_expect_eq(merged->outgoing_count, 1);
    cr_expect_str_eq(merged->title, "dave");
}

/* ---- who is there ---- */

Test(model, typing_ends_by_itself_by_a_message_or_by_word)
{
    say_group(7, "team", 0, 0);
    const struct conversation *team = model_find_room(&model, 7);
    Ringpost__V1__TypingNotice notice;
    ringpost__v1__typing_notice__init(&notice);
    uint64_t next_ms;
    notice.room_id = 7;
    notice.user_id = SELF;
    model_on_typing(&model, &notice, 1000);
    cr_expect_eq(team->typing_count, 0, "our own other device");
    notice.user_id = 2;
    model_on_typing(&model, &notice, 1000);
    model_on_typing(&model, &notice, 2000);
    cr_expect_eq(team->typing_count, 1);
    cr_expect_not(model_expire_typing(&model, 2000 + MODEL_TYPING_SHOWN_MS - 1, &next_ms));
    cr_expect_eq(next_ms, 2000 + MODEL_TYPING_SHOWN_MS);
    cr_expect(model_expire_typing(&model, next_ms, &next_ms));
    cr_expect_eq(team->typing_count, 0);
    cr_expect_eq(next_ms, UINT64_MAX);
    model_on_typing(&model, &notice, 9000);
    say_message(7, 1, 2);
    cr_expect_eq(team->typing_count, 0);
    model_on_typing(&model, &notice, 9000);
    notice.stopped = true;
    model_on_typing(&model, &notice, 9001);
    cr_expect_eq(team->typing_count, 0);
}

/* Presence tells a name as it is now; pages of history tell older ones. */
Test(model, a_name_that_presence_told_stays)
{
    Ringpost__V1__Presence presence;
    ringpost__v1__presence__init(&presence);
    presence.user_id = 2;
    (void)model_open_peer(&model, 2, "Bob");
    presence.display_name = (char *)(uintptr_t)"Robert";
    model_on_presence(&model, &presence);
    model_on_person(&model, 2, "Bob");
    cr_expect_str_eq(model_name_of(&model, 2), "Robert");
    cr_expect_str_eq(model_find_peer(&model, 2)->title, "Robert");
    presence.display_name = (char *)(uintptr_t)"";
    model_on_presence(&model, &presence); /* of an older server */
    cr_expect_str_eq(model_name_of(&model, 2), "Robert");
    presence.display_name = (char *)(uintptr_t)"Bob again";
    model_on_presence(&model, &presence);
    cr_expect_str_eq(model_name_of(&model, 2), "Bob again");
}

Test(model, presence_is_kept_by_person)
{
    Ringpost__V1__Presence presence;
    ringpost__v1__presence__init(&presence);
    presence.user_id = 2;
    presence.online = true;
    cr_expect_not(model_is_online(&model, 2));
    model_on_presence(&model, &presence);
    cr_expect(model_is_online(&model, 2));
    cr_expect_str_eq(model_name_of(&model, 2), "?");
    model_on_person(&model, 2, "bob");
    cr_expect_str_eq(model_name_of(&model, 2), "bob");
    presence.online = false;
    presence.last_seen_ms = 55;
    model_on_presence(&model, &presence);
    cr_expect_not(model_is_online(&model, 2));
    cr_expect_eq(model_find_person(&model, 2)->last_seen_ms, 55);
}
