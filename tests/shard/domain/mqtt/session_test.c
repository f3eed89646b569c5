/* tests/shard/domain/mqtt/session_test.c - a client comes back so soon that the save of its connection before is in the log and not applied. */
#include "shard/domain/letters.h"
#include "shard/domain/mqtt/state.h"
#include "shard/shard_fixture.h"
#include <criterion/criterion.h>

static uint64_t ada;

static void setup(void)
{
    rig_begin(1);
    rig_open();
    ada = rig_add_user(0, "ada");
    rig_know(ada, "phone");
}

TestSuite(mqtt_session, .init = setup, .fini = rig_close);

static void ask(enum mqtt_question question, const struct mqtt_session_record *session)
{
    struct writer payload;
    struct actor_record actor = rig_actor(ada, "phone");
    writer_init(&payload, 0);
    mqtt_session_record_write(&payload, session);
    struct letter *letter = letter_make(LETTER_MQTT, 0, 0, &actor, writer_slice(&payload));
    letter->method = (uint16_t)question;
    letter->admitted = true;
    shard_receive(rig.shards[0], letter);
    writer_deinit(&payload);
}

/* What the answer to an opening says of the session; false: it is a new one. */
static bool opened(struct mqtt_session_record *session)
{
    struct cursor c = cursor_of(letter_payload(rig.reply));
    bool present = cursor_u8(&c) != 0;
    cr_assert_eq(rig.reply->error, ERROR_NONE);
    cr_assert_eq(rig.reply->method, MQTT_OPEN_SESSION);
    cr_assert(mqtt_session_record_read(session, &c));
    return present;
}

Test(mqtt_session, what_was_saved_last_is_opened_also_when_it_is_not_applied_yet)
{
    struct mqtt_session_record first = {.client_id = SLICE_TEXT("phone"), .epoch = 1, .opens = 1, .expiry_s = 1000}, got;
    ask(MQTT_OPEN_SESSION, &first);
    rig_pump();
    cr_assert_not(opened(&got));
    struct mqtt_session_record saved = first;
    saved.opens = 0;
    saved.recent = SLICE_TEXT("fourteen bytes");
    rig.disks_held = true;
    ask(MQTT_SAVE_SESSION, &saved);
    struct mqtt_session_record second = first;
    second.epoch = 2;
    ask(MQTT_OPEN_SESSION, &second);
    rig_pump();
    rig.disks_held = false;
    rig_pump();
    cr_assert(opened(&got));
    cr_expect(slice_equal(got.recent, SLICE_TEXT("fourteen bytes")));
    cr_expect_eq(got.epoch, 1, "the connection before");
    struct mqtt_session_record late = saved;
    ask(MQTT_SAVE_SESSION, &late);
    ask(MQTT_OPEN_SESSION, &(struct mqtt_session_record){.client_id = SLICE_TEXT("phone"), .epoch = 3, .opens = 1, .expiry_s = 1000});
    rig_pump();
    cr_assert(opened(&got));
    cr_expect_eq(got.epoch, 2, "a save of the first is too late");
}
