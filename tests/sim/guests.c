/* tests/sim/guests.c - see guests.h. What was said stands in one list; its body is its number, so everything that is seen anywhere leads back
 * to it. */
#include "sim/guests_internal.h"
#include "core/check.h"
#include "shard/domain/keys.h"
#include "shard/domain/records.h"
#include "shard/domain/room/timeline.h"
#include "sim/doors.h"
#include "sim/report.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUIET_ROUNDS 60u /* longer than a session takes to save itself */

struct guests *guests_create(struct world *w)
{
    struct guests *g = calloc(1, sizeof *g);
    ASSERT(g != NULL);
    g->world = w;
    for (uint32_t i = 0; i < GUESTS_MAX; i++) {
        struct guest *guest = &g->guests[i];
        guest->number = i;
        snprintf(guest->name, sizeof guest->name, "guest%u", i);
        guest->thing.five = dice_one_in(&w->dice, 2);
        guest->app.next_id = 1;
        writer_init(&guest->app.line.in, 0);
        writer_init(&guest->thing.line.in, 0);
    }
    return g;
}

void guests_destroy(struct guests *g)
{
    for (uint32_t i = 0; g != NULL && i < GUESTS_MAX; i++) {
        struct guest *guest = &g->guests[i];
        app_lose(g, guest, false);
        thing_lose(g, guest, false);
        writer_deinit(&guest->app.line.in);
        writer_deinit(&guest->thing.line.in);
        free(guest->thing.heard);
    }
    if (g != NULL) free(g->saids);
    free(g);
}

/* ---- lines ------------------------------------------------------------------------------------------------------------------ */

bool line_open(struct world *w, struct line *line)
{
    ASSERT(line->wire == NULL);
    line->wire = wire_connect(doors_io(w, (uint16_t)dice_below(&w->dice, world_shard_count(w))));
    writer_reset(&line->in);
    line->in_at = 0;
    return true;
}

void line_close(struct world *w, struct line *line, bool politely)
{
    (void)w;
    if (line->wire != NULL) wire_leave(line->wire, politely);
    line->wire = NULL;
}

/* ---- what was said ------------------------------------------------------------------------------------------------------------ */

uint8_t guest_granted_qos(const struct guest *guest) { return guest->number == 2 ? 1 : 2; }

uint32_t guests_say(struct guests *g, const struct guest *from, uint32_t to, uint8_t qos, bool is_will)
{
    if (g->said_count == g->said_capacity) {
        g->said_capacity = g->said_capacity == 0 ? 64 : g->said_capacity * 2;
        g->saids = realloc(g->saids, g->said_capacity * sizeof *g->saids);
        ASSERT(g->saids != NULL);
    }
    struct said *said = &g->saids[g->said_count];
    *said = (struct said){.from = from->number, .to = to, .qos = qos, .is_will = is_will};
    for (uint32_t i = 0; i < GUESTS_MAX; i++)
        said->expected[i] = g->guests[i].thing.subscribed && (to == TO_GROUP || to == i);
    return g->said_count++;
}

struct slice guests_body(uint32_t said, char out[400])
{
    int len = snprintf(out, 400, "m%u ", said);
    uint32_t pad = (said * 2654435761u >> 24) * (said % 7 == 0) + said % 50;
    memset(out + len, 'a' + (char)(said % 26), pad);
    return slice_of(out, (size_t)len + pad);
}

uint32_t guests_said_of(const struct guests *g, struct slice body)
{
    char text[16] = "", again[400];
    uint32_t said = UINT32_MAX;
    memcpy(text, body.data, body.len < sizeof text - 1 ? body.len : sizeof text - 1);
    bool read = sscanf(text, "m%u ", &said) == 1 && said < g->said_count && slice_equal(guests_body(said, again), body);
    EXPECT(read, "a message of %u bytes that no guest has said: %s", body.len, text);
    return said;
}

/* ---- steps -------------------------------------------------------------------------------------------------------------------- */

static struct guest *any(struct guests *g) { return &g->guests[dice_below(&g->world->dice, GUESTS_MAX)]; }

void guests_act(struct world *w)
{
    struct guest *guest = any(w->guests);
    if (dice_one_in(&w->dice, 2)) app_step(w->guests, guest);
    else thing_step(w->guests, guest);
}

void guests_read(struct world *w)
{
    struct guest *guest = any(w->guests);
    uint32_t most = 1 + dice_below(&w->dice, 600);
    if (dice_one_in(&w->dice, 2)) app_read(w->guests, guest, most);
    else thing_read(w->guests, guest, most, 1 + dice_below(&w->dice, 3));
}

static void read_all(struct guests *g, struct guest *guest)
{
    app_read(g, guest, UINT32_MAX);
    thing_read(g, guest, UINT32_MAX, UINT32_MAX);
}

void guests_take_leave(struct world *w)
{
    for (uint32_t i = 0; i < GUESTS_MAX; i++) read_all(w->guests, &w->guests->guests[i]);
}

/* ---- what is stored ------------------------------------------------------------------------------------------------------------- */

struct stored {
    struct guests *guests;
    uint64_t room_id;
};

static bool take_message(void *context, uint64_t seq, struct slice record)
{
    struct stored *stored = context;
    struct message_record m;
    struct cursor c = cursor_of(record);
    bool read = message_record_read(&m, &c) && cursor_done(&c);
    ASSERT(read);
    struct said *said = &stored->guests->saids[guests_said_of(stored->guests, m.body)];
    EXPECT(m.sender_id == stored->guests->guests[said->from].user_id, "message m%u is of another sender", (uint32_t)(said - stored->guests->saids));
    said->stored++;
    said->room_id = stored->room_id;
    said->seq = seq;
    return true;
}

static bool take_room(void *context, struct slice key, struct slice value)
{
    (void)value;
    struct stored stored = *(struct stored *)context;
    struct world *w = stored.guests->world;
    stored.room_id = key_u64_at(key, 1);
    enum result result =
        timeline_down(fake_store_view(w->nodes[id_partition(stored.room_id)].store), stored.room_id, UINT64_MAX, take_message, &stored);
    ASSERT(result == RESULT_OK);
    return true;
}

/* False: some store is not idle. */
static bool look_at_timelines(struct guests *g)
{
    struct world *w = g->world;
    struct stored stored = {.guests = g};
    for (uint16_t shard = 0; shard < world_shard_count(w); shard++)
        if (!fake_store_idle(w->nodes[shard].store)) return false;
    for (uint32_t i = 0; i < g->said_count; i++) g->saids[i].stored = 0;
    for (uint16_t shard = 0; shard < world_shard_count(w); shard++) {
        struct key from = key_make(KEY_ROOM), until = key_make((uint8_t)(KEY_ROOM + 1));
        enum result result = store_scan(fake_store_view(w->nodes[shard].store), key_slice(&from), key_slice(&until), take_room, &stored);
        ASSERT(result == RESULT_OK);
    }
    return true;
}

/* ---- rest ------------------------------------------------------------------------------------------------------------------------ */

/* Which take as long as their next try. */
static bool wills_are_sent(struct guests *g)
{
    if (!look_at_timelines(g)) return false;
    bool sent = true;
    for (uint32_t i = 0; i < g->said_count; i++) sent &= !g->saids[i].is_will || !g->saids[i].acked || g->saids[i].stored > 0;
    return sent;
}

bool guests_pursue(struct world *w)
{
    struct guests *g = w->guests;
    bool content = true;
    for (uint32_t i = 0; i < GUESTS_MAX; i++) {
        struct guest *guest = &g->guests[i];
        read_all(g, guest);
        app_step(g, guest);
        thing_step(g, guest);
        content &= app_is_content(guest) && thing_is_content(guest);
    }
    if (wires_moved() || !content) g->quiet_rounds = 0;
    if (++g->quiet_rounds < QUIET_ROUNDS) return false;
    if (wills_are_sent(g)) return true;
    g->quiet_rounds = 0;
    return false;
}

/* ---- the audit ------------------------------------------------------------------------------------------------------------------- */

void guests_audit_stored(struct world *w)
{
    struct guests *g = w->guests;
    if (g == NULL) return;
    bool idle = look_at_timelines(g);
    ASSERT(idle);
    for (uint32_t i = 0; i < g->said_count; i++) {
        const struct said *said = &g->saids[i];
        EXPECT(said->stored <= 1, "message m%u of guest %u is %u times in the timelines", i, said->from, said->stored);
        EXPECT(!said->acked || said->stored == 1, "%s m%u of guest %u was %s and is in no timeline", said->is_will ? "will" : "message", i,
               said->from, said->is_will ? "left" : "acknowledged");
    }
}

/* Of each room that the stream has, all. */
static void audit_app(const struct guests *g, const struct guest *guest)
{
    for (uint32_t i = 0; i < g->said_count; i++) {
        const struct said *said = &g->saids[i];
        bool mine = said->to == TO_GROUP || said->to == guest->number || said->from == guest->number;
        if (!mine || said->stored == 0) continue;
        uint32_t at = 0;
        while (at < GUEST_ROOMS && guest->app.rooms[at].room_id != said->room_id) at++;
        EXPECT(at < GUEST_ROOMS, "the app of guest %u knows nothing of the room of m%u", guest->number, i);
        const struct app_stream_room *room = &guest->app.rooms[at];
        EXPECT(room->large || room->last_seq >= said->seq, "the app of guest %u has not heard m%u", guest->number, i);
    }
}

static uint8_t qos_of(const struct said *said, const struct guest *listener)
{
    uint8_t granted = guest_granted_qos(listener);
    return said->qos < granted ? said->qos : granted;
}

static void audit_thing(struct guests *g, const struct guest *guest)
{
    const struct thing_of_guest *thing = &guest->thing;
    bool *has = calloc(g->said_count + 1, 1);
    ASSERT(has != NULL);
    for (uint32_t i = 0; i < thing->heard_count; i++) {
        const struct said *said = &g->saids[thing->heard[i].said];
        has[thing->heard[i].said] = true;
        EXPECT(said->stored == 1, "the thing of guest %u has heard m%u, which is nowhere", guest->number, thing->heard[i].said);
        EXPECT(thing->heard[i].qos == qos_of(said, guest), "the thing of guest %u heard m%u with QoS %u, not %u", guest->number,
               thing->heard[i].said, thing->heard[i].qos, qos_of(said, guest));
        for (uint32_t n = i + 1; n < thing->heard_count; n++) {
            const struct said *later = &g->saids[thing->heard[n].said];
            EXPECT(later->room_id != said->room_id || later->seq > said->seq, "the thing of guest %u heard m%u before m%u", guest->number,
                   thing->heard[i].said, thing->heard[n].said);
        }
    }
    for (uint32_t i = 0; i < g->said_count; i++)
        EXPECT(!g->saids[i].expected[guest->number] || g->saids[i].stored == 0 || has[i], "the thing of guest %u has not heard m%u", guest->number, i);
    free(has);
}

void guests_audit(struct world *w)
{
    struct guests *g = w->guests;
    if (g == NULL) return;
    guests_audit_stored(w);
    for (uint32_t i = 0; i < GUESTS_MAX; i++) {
        audit_app(g, &g->guests[i]);
        audit_thing(g, &g->guests[i]);
    }
}

uint64_t guests_acked_count(const struct guests *g)
{
    uint64_t count = 0;
    for (uint32_t i = 0; g != NULL && i < g->said_count; i++) count += g->saids[i].acked;
    return count;
}
