/* tests/perf/driver_mqtt_test.c - a person at a broker: logs in, listens, sends, acknowledges; against bytes, without a socket. */
#include "perf/session.h"
#include <criterion/criterion.h>

static struct loop loop;
static struct session session;
static uint32_t ready_count, message_count, repeated_count;
static uint64_t last_answer;
static const char *closed_reason;

static void on_ready(struct session *unused)
{
    (void)unused;
    ready_count++;
}
static void on_message(struct session *unused, const struct incoming *message)
{
    (void)unused;
    message_count++;
    repeated_count += message->repeated;
    cr_expect_eq(message->body.len, 2);
}
static void on_answer(struct session *unused, const struct answer *answer)
{
    (void)unused;
    last_answer = answer->id;
}
static void on_closed(struct session *unused, const char *reason)
{
    (void)unused;
    closed_reason = reason;
}
static const struct session_events events = {
    .on_ready = on_ready, .on_message = on_message, .on_answer = on_answer, .on_closed = on_closed};

static void begin(struct login login)
{
    loop = (struct loop){.broker = {.plain = true, .qos = 1}};
    session = (struct session){.driver = &driver_mqtt, .events = &events, .loop = &loop, .fd = -1, .state = SESSION_LOGIN, .login = login};
    closed_reason = NULL;
    driver_mqtt.open(&session);
}
static void end(void)
{
    bytes_free(&session.out);
    free(session.driver_state);
}
static void expect_out(const char *bytes, size_t len)
{
    cr_assert_eq(session.out.len, len);
    cr_expect_arr_eq(session.out.data, bytes, len);
    session.out.len = 0;
}
static void feed(const char *bytes, size_t len)
{
    cr_expect_eq(driver_mqtt.receive(&session, (struct slice){(const uint8_t *)bytes, len}), len);
}

Test(driver_mqtt, logs_in_and_subscribes_to_what_it_hears)
{
    begin((struct login){.user_id = 7, .room_id = 3, .hears_direct = true});
    expect_out("\x10\x13\0\4MQTT\4\2\0\0\0\7bench-7", 21);
    feed("\x20\2\0\0", 4);
    expect_out("\x82\x08\0\1\0\3u/7\1\x82\x08\0\2\0\3r/3\1", 20);
    feed("\x90\3\0\1\1", 5);
    cr_expect_eq(ready_count, 0);
    feed("\x90\3\0\2\1", 5);
    cr_expect_eq(ready_count, 1);
    cr_expect(!session.resumed);
    end();
}

Test(driver_mqtt, a_kept_session_needs_no_subscriptions)
{
    begin((struct login){.user_id = 7, .room_id = 3, .persistent = true});
    expect_out("\x10\x13\0\4MQTT\4\0\0\0\0\7bench-7", 21);
    feed("\x20\2\1\0", 4);
    expect_out("", 0);
    cr_expect_eq(ready_count, 1);
    cr_expect(session.resumed);
    end();
}

Test(driver_mqtt, refusals_end_the_session)
{
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
        {"\x20\2\0\5", 4}, {"\x20\1\0", 3}, {"\x20\2\0\0\x90\3\0\1\x80", 9}, {"\x50\2\0\1", 4}, {"\x30\1\0", 3}, {"\x40\2\0\1", 4},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        begin((struct login){.user_id = 7, .room_id = 3});
        session.out.len = 0;
        (void)driver_mqtt.receive(&session, (struct slice){(const uint8_t *)cases[i].bytes, cases[i].len});
        cr_expect_not_null(closed_reason, "case %zu", i);
        end();
    }
}

Test(driver_mqtt, deliveries_are_acknowledged_together_however_they_arrive)
{
    static const char stream[] = "\x32\x09\0\3r/3\0\1hi\x3a\x09\0\3r/3\0\2hi\x30\7\0\3r/3hi";
    for (size_t cut = 0; cut < sizeof stream; cut++) {
        begin((struct login){.user_id = 7});
        session.out.len = message_count = repeated_count = 0;
        struct slice whole = {(const uint8_t *)stream, sizeof stream - 1};
        size_t taken = driver_mqtt.receive(&session, (struct slice){whole.data, cut});
        taken += driver_mqtt.receive(&session, (struct slice){whole.data + taken, whole.len - taken});
        cr_expect_eq(taken, whole.len);
        cr_expect_eq(message_count, 3);
        cr_expect_eq(repeated_count, 1);
        expect_out("\x40\2\0\1\x40\2\0\2", 8);
        end();
    }
}

/* More messages than there are packet ids: each acknowledgement finds its own. */
Test(driver_mqtt, packet_ids_come_round)
{
    begin((struct login){.user_id = 7});
    struct outgoing message = {.to_user_id = 12, .body = {(const uint8_t *)"hi", 2}};
    for (uint64_t id = 1; id < 140000; id++) {
        session.out.len = 0;
        message.id = id << 20;
        driver_mqtt.send(&session, &message);
        cr_assert_eq(session.out.len, 12);
        cr_assert_arr_eq(session.out.data, "\x32\x0a\0\4u/12", 8);
        char ack[4] = {0x40, 2, (char)session.out.data[8], (char)session.out.data[9]};
        cr_assert(ack[2] != 0 || ack[3] != 0);
        feed(ack, sizeof ack);
        cr_assert_eq(last_answer, message.id);
        feed(ack, sizeof ack);
        cr_assert_eq(last_answer, 0); /* a second one is for nothing */
    }
    end();
}

Test(driver_mqtt, qos_0_is_said_when_it_is_written)
{
    begin((struct login){.user_id = 7});
    loop.broker.qos = 0;
    session.out.len = 0;
    struct outgoing message = {.id = 5, .room_id = 1, .body = {(const uint8_t *)"hi", 2}};
    driver_mqtt.send(&session, &message);
    cr_expect_eq(last_answer, 5);
    expect_out("\x30\7\0\3r/1hi", 9);
    end();
}
