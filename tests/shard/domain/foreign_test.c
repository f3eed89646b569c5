/* Letters and stream entries of other hosts that nobody would write: real ones with a few bytes changed, cut or made longer. Whatever they say,
 * the shard refuses it or takes it for what it says, and goes on. */
#include "shard/domain/letters.h"
#include "shard/domain/mqtt/state.h"
#include "shard/domain/mqtt/wills.h"
#include "shard/engine/letter.h"
#include "shard/engine/records.h"
#include "shard/engine/shard_internal.h"
#include "shard/shard_fixture.h"
#include <criterion/criterion.h>
#include <stdio.h>

#define SEEDS_MAX 256
#define ROUNDS    6000 /* letters per run */

static struct writer seeds[SEEDS_MAX]; /* as bytes */
static uint32_t seed_count;
static uint64_t ada, bob, eve; /* on shards 0, 1, 1 */
static uint64_t dice;

static uint32_t roll(uint32_t below)
{
    dice = dice * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(dice >> 33) % below;
}

static void keep(const struct letter *letter)
{
    if (seed_count == SEEDS_MAX) return;
    writer_init(&seeds[seed_count], 0);
    letter_encode(letter, &seeds[seed_count++]);
}

/* Until nothing moves; what goes to another shard is kept. */
static void pump(void)
{
    rig.letters_held = true;
    for (bool moved = true; moved;) {
        moved = rig_turn();
        struct letter *letter = rig_take_letter();
        if (letter == NULL) continue;
        moved = true;
        if (letter->from_shard != letter->to_shard) keep(letter);
        shard_receive(rig.shards[letter->to_shard], letter);
    }
}

static void say(uint64_t from, const char *path, const ProtobufCMessage *message)
{
    struct actor_record actor = rig_actor(from, "phone");
    rig_send(&actor, 0, 0, path, message);
    pump();
}

static void ask_mqtt(enum mqtt_question question, struct slice payload)
{
    struct actor_record actor = rig_actor(ada, "phone");
    struct letter *letter = letter_make(LETTER_MQTT, 1, 0, &actor, payload);
    letter->method = (uint16_t)question;
    letter->admitted = true;
    keep(letter);
    shard_receive(rig.shards[0], letter);
    pump();
}

static void converse(void)
{
    Ringpost__V1__SendRequest send = RINGPOST__V1__SEND_REQUEST__INIT;
    send.to_user_id = ada;
    send.client_msg_id = "one";
    send.body = (ProtobufCBinaryData){5, (uint8_t *)"hello"};
    send.kind = 1;
    say(bob, "/v1/chat/send", &send.base);
    send.to_user_id = bob;
    say(ada, "/v1/chat/send", &send.base);
    Ringpost__V1__CreateRoomRequest room = RINGPOST__V1__CREATE_ROOM_REQUEST__INIT;
    uint64_t members[] = {ada};
    room.name = "group";
    room.client_room_id = "r";
    room.member_ids = members;
    room.n_member_ids = 1;
    say(bob, "/v1/room/create", &room.base);
    Ringpost__V1__SyncRequest sync = RINGPOST__V1__SYNC_REQUEST__INIT;
    say(ada, "/v1/chat/sync", &sync.base);
    Ringpost__V1__PresenceRequest presence = RINGPOST__V1__PRESENCE_REQUEST__INIT;
    uint64_t both[] = {ada, bob, eve};
    presence.user_ids = both;
    presence.n_user_ids = 3;
    say(bob, "/v1/presence/get", &presence.base);
    say(ada, "/v1/presence/get", &presence.base);
}

/* ada looks at eve, who comes. */
static void watch(const struct session *session)
{
    Ringpost__V1__SubscribeRequest subscribe = RINGPOST__V1__SUBSCRIBE_REQUEST__INIT;
    subscribe.user_ids = &eve;
    subscribe.n_user_ids = 1;
    struct actor_record actor = rig_actor(ada, "phone");
    rig_send(&actor, 0, session->id, "/v1/presence/subscribe", &subscribe.base);
    pump();
    Ringpost__V1__AuthRequest auth = RINGPOST__V1__AUTH_REQUEST__INIT;
    say(eve, "/v1/account/auth", &auth.base);
}

static void converse_by_mqtt(void)
{
    struct writer payload;
    writer_init(&payload, 0);
    struct mqtt_session_record session = {.client_id = SLICE_TEXT("sensor"), .epoch = 7, .opens = 1, .expiry_s = 100};
    mqtt_session_record_write(&payload, &session);
    ask_mqtt(MQTT_OPEN_SESSION, writer_slice(&payload));
    ask_mqtt(MQTT_SAVE_SESSION, writer_slice(&payload));
    writer_reset(&payload);
    struct will_record will = {.state = WILL_OPENS, .client_id = SLICE_TEXT("sensor"), .device_id = SLICE_TEXT("phone"), .epoch = 7,
                               .send = SLICE_TEXT("\x10\x01")};
    will_record_write(&payload, &will);
    ask_mqtt(MQTT_WILL, writer_slice(&payload));
    writer_reset(&payload);
    writer_u64(&payload, bob);
    ask_mqtt(MQTT_ASK_ROOM, writer_slice(&payload));
    ask_mqtt(MQTT_CLEAR_RETAINED, writer_slice(&payload));
    ask_mqtt(MQTT_ASK_RETAINED, writer_slice(&payload));
    writer_deinit(&payload);
}

static void open_rig(uint64_t seed)
{
    dice = seed;
    rig_begin(2);
    rig_open();
    ada = rig_add_user(0, "ada");
    bob = rig_add_user(1, "bob");
    eve = rig_add_user(1, "eve");
    rig_know(ada, "phone");
    rig_know(bob, "phone");
    rig_know(eve, "phone");
    struct session *session = rig_come(ada, "phone");
    session->json = true; /* which looks into what it shows */
    rig_come(bob, "phone");
    converse();
    watch(session);
    converse_by_mqtt();
    cr_assert_geq(seed_count, 16);
}

#define OFFSET_OF_LEN     0
#define OFFSET_OF_TO      8
#define OFFSET_OF_ADMITTED 14

static void change(struct writer *bytes)
{
    for (uint32_t n = roll(4); n > 0; n--) {
        uint32_t at = 5 + roll((uint32_t)bytes->len - 5);
        bytes->data[at] = roll(2) == 0 ? (uint8_t)roll(256) : (uint8_t)(bytes->data[at] + (roll(2) == 0 ? 1 : 255));
    }
    if (roll(4) == 0) bytes->len -= roll((uint32_t)bytes->len - LETTER_ENCODED_SIZE_MIN + 1);
    if (roll(8) == 0) writer_u64(bytes, dice);
    uint32_t len = (uint32_t)bytes->len;
    memcpy(bytes->data + OFFSET_OF_LEN, &len, sizeof len);
    if (roll(8) != 0) memset(bytes->data + OFFSET_OF_TO, 0, 2); /* shard 0 gets it */
    bytes->data[OFFSET_OF_ADMITTED] &= 1;
}

/* Its entries come next: else they would be taken for repeats. */
static struct letter *as_news(struct letter *letter)
{
    struct relay_record relay;
    struct cursor c = cursor_of(letter_payload(letter));
    if (letter->kind != LETTER_STREAM || !relay_record_read(&relay, &c) || roll(8) == 0) return letter;
    relay.first = rig.shards[0]->sources[1].received + 1;
    struct writer payload;
    writer_init(&payload, 0);
    relay_record_write(&payload, &relay);
    struct letter *news = letter_make(LETTER_STREAM, letter->from_shard, letter->to_shard, NULL, writer_slice(&payload));
    news->foreign = true;
    writer_deinit(&payload);
    letter_free(letter);
    return news;
}

/* Frees what shards have posted: nobody answers. */
static void forget_letters(void)
{
    struct letter *letter;
    while ((letter = rig_take_letter()) != NULL) letter_free(letter);
}

static void bombard(uint64_t seed)
{
    open_rig(seed);
    struct writer bytes;
    writer_init(&bytes, 0);
    uint32_t taken = 0;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        const struct writer *real = &seeds[roll(seed_count)];
        writer_reset(&bytes);
        writer_raw(&bytes, real->data, real->len);
        change(&bytes);
        struct letter *letter = letter_decode(writer_slice(&bytes));
        if (letter == NULL) continue;
        taken++;
        if (letter->kind == LETTER_REPLY) letter_free(letter); /* which are for doors */
        else shard_receive(rig.shards[0], as_news(letter));
        while (roll(4) == 0 && rig_turn()) forget_letters();
        rig_forget_frames();
        if (roll(50) == 0) rig.now_ms += 1000 * roll(20);
        if (roll(50) == 0) shard_tick(rig.shards[0]);
    }
    cr_expect_gt(taken, ROUNDS / 2);
    cr_expect_gt(rig.metrics.letters_refused, 10);
    for (bool moved = true; moved; forget_letters()) moved = rig_turn();
    writer_deinit(&bytes);
}

Test(foreign, letters_that_nobody_would_write_do_no_harm, .timeout = 60) { bombard(1); }
Test(foreign, nor_do_others, .timeout = 60) { bombard(2); }
Test(foreign, nor_do_still_others, .timeout = 60) { bombard(3); }
