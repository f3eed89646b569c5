/* tests/sim/people.c - see people.h: connections, pushes, and what a device makes of them. */
#include "sim/people.h"
#include "core/check.h"
#include "shard/domain/delivery/session.h"
#include "sim/calls.h"
#include "sim/letters.h"
#include "sim/oracle.h"
#include <stdio.h>
#include <stdlib.h>

/* ---- who is there ----------------------------------------------------------------------------------------------------- */

struct people *people_create(struct world *w)
{
    struct people *people = calloc(1, sizeof *people);
    ASSERT(people != NULL);
    people->world = w;
    people->person_count = w->profile.users;
    people->device_count = w->profile.devices;
    people->next_request_id = 1;
    people->persons = calloc(people->person_count, sizeof *people->persons);
    ASSERT(people->persons != NULL);
    for (uint32_t i = 0; i < people->person_count; i++) {
        struct person *person = &people->persons[i];
        person->number = i;
        person->name_number = i / 2; /* two who want the same name */
        snprintf(person->password, sizeof person->password, "password of %u", i);
        for (uint32_t n = 0; n < DEVICES_MAX; n++) {
            struct app *device = &person->devices[n];
            device->person = person;
            device->number = i * DEVICES_MAX + n;
            device->json = dice_one_in(&w->dice, 3);
            snprintf(device->device_id, sizeof device->device_id, "device-%u", n);
        }
    }
    return people;
}

struct app *people_app(struct people *people, uint32_t number)
{
    ASSERT(number / DEVICES_MAX < people->person_count);
    return &people->persons[number / DEVICES_MAX].devices[number % DEVICES_MAX];
}

struct person *people_person(struct people *people, uint64_t user_id)
{
    for (uint32_t i = 0; i < people->person_count; i++)
        if (people->persons[i].user_id == user_id && user_id != 0) return &people->persons[i];
    report_fail("there is no person of user %lx", (unsigned long)user_id);
}

struct app_room *app_room(struct app *d, uint64_t room_id)
{
    for (uint32_t i = 0; i < d->room_count; i++)
        if (d->rooms[i].room_id == room_id) return &d->rooms[i];
    if (d->room_count == d->room_capacity) {
        d->room_capacity = d->room_capacity == 0 ? 8 : d->room_capacity * 2;
        d->rooms = realloc(d->rooms, d->room_capacity * sizeof *d->rooms);
        ASSERT(d->rooms != NULL);
    }
    d->rooms[d->room_count] = (struct app_room){.room_id = room_id};
    return &d->rooms[d->room_count++];
}

/* ---- the stream ------------------------------------------------------------------------------------------------------- */

void app_take_head(struct app *d, uint64_t room_id, uint64_t head_seq)
{
    struct app_room *room = app_room(d, room_id);
    if (room->head_seq < head_seq) room->head_seq = head_seq;
}

static void take_change(struct app *d, uint64_t sync_key, const Ringpost__V1__RoomChange *change)
{
    struct app_room *room = app_room(d, change->room->room_id);
    TRACE("device %u: room %lx changes: %d of %lx, read %lu, head %lu", d->number, (unsigned long)room->room_id, (int)change->change,
          (unsigned long)change->target_id, (unsigned long)change->read_seq, (unsigned long)change->room->head_seq);
    if (sync_key <= room->as_of) return;
    if (change->change == RINGPOST__V1__ROOM_CHANGE_KIND__ROOM_JOINED) {
        room->member = true;
        room->read_seq = change->read_seq;
    }
    if (change->change == RINGPOST__V1__ROOM_CHANGE_KIND__ROOM_LEFT) room->member = false;
    if (change->room->large) room->large = true;
    app_take_head(d, room->room_id, change->room->head_seq);
}

static void take_read_mark(struct app *d, uint64_t sync_key, const Ringpost__V1__ReadMark *mark)
{
    struct app_room *room = app_room(d, mark->room_id);
    TRACE("device %u: room %lx is read up to %lu", d->number, (unsigned long)room->room_id, (unsigned long)mark->read_seq);
    if (sync_key > room->as_of && room->read_seq < mark->read_seq) room->read_seq = mark->read_seq;
}

/* One's own message is read by itself when everything before it was. `sync_key` UINT64_MAX: it is no event of the stream. */
static void take_message(struct app *d, uint64_t sync_key, const Ringpost__V1__Message *message)
{
    struct app_room *room = app_room(d, message->room_id);
    bool own = message->sender_id == d->person->user_id;
    TRACE("device %u: room %lx, seq %lu%s", d->number, (unsigned long)message->room_id, (unsigned long)message->seq, own ? ", its own" : "");
    if (sync_key <= room->as_of) return;
    if (own && room->read_seq + 1 == message->seq) room->read_seq = message->seq;
    app_take_head(d, message->room_id, message->seq);
}

static void remember_event(struct world *w, struct app *d, uint64_t sync_key)
{
    if (d->seen_count == d->seen_capacity) {
        d->seen_capacity = d->seen_capacity == 0 ? 64 : d->seen_capacity * 2;
        d->seen = realloc(d->seen, d->seen_capacity * sizeof *d->seen);
        ASSERT(d->seen != NULL);
    }
    d->seen[d->seen_count++] = facts_find(w->oracle->facts, FACT_EVENT, d->person->user_id, sync_key)->value;
}

void app_expect_memory(const struct world *w, const struct app *d)
{
    for (uint32_t i = 0; i < d->seen_count; i++) {
        uint64_t sync_key = d->sync_key - d->seen_count + 1 + i;
        const struct fact *fact = facts_find(w->oracle->facts, FACT_EVENT, d->person->user_id, sync_key);
        EXPECT(fact != NULL && fact->value == d->seen[i], "device %u stands at %lu and has another event %lu than the stream", d->number,
               (unsigned long)d->sync_key, (unsigned long)sync_key);
    }
}

void app_forget(struct app *d)
{
    d->room_count = d->seen_count = 0;
    d->sync_key = 0;
    d->stream_epoch[0] = '\0';
}

void app_take_event(struct world *w, struct app *d, const Ringpost__V1__Event *event)
{
    oracle_saw_event(w->oracle, d->person->user_id, event);
    if (event->sync_key > d->sync_key + 1) d->wants_sync = true;
    if (event->sync_key != d->sync_key + 1 || d->reloading) return;
    d->sync_key = event->sync_key;
    remember_event(w, d, event->sync_key);
    if (event->kind_case == RINGPOST__V1__EVENT__KIND_MESSAGE) take_message(d, event->sync_key, event->message);
    if (event->kind_case == RINGPOST__V1__EVENT__KIND_ROOM) take_change(d, event->sync_key, event->room);
    if (event->kind_case == RINGPOST__V1__EVENT__KIND_READ) take_read_mark(d, event->sync_key, event->read);
}

/* ---- answers ---------------------------------------------------------------------------------------------------------- */

static void take_answer(struct world *w, const struct letter *letter)
{
    struct call **link = &w->people->calls;
    while (*link != NULL && (*link)->request_id != letter->origin.generation) link = &(*link)->next;
    struct call *call = *link;
    EXPECT(call != NULL, "request %lu is answered twice", (unsigned long)letter->origin.generation);
    *link = call->next;
    if (call->device->lanes[call->lane] == call) call->device->lanes[call->lane] = NULL;
    report_hash_u64(letter->origin.generation, letter->error);
    report_hash(letter_payload(letter));
    TRACE("device %u is answered: %s %s", call->device->number, calls_name(call), error_row((enum error)letter->error)->reason);
    calls_answer(w, call, letter);
}

/* ---- connections ------------------------------------------------------------------------------------------------------ */

void app_connect(struct world *w, struct app *d)
{
    ASSERT(d->link == NULL);
    struct link *link = calloc(1, sizeof *link);
    ASSERT(link != NULL);
    link->person = d->person;
    link->app = d;
    link->generation = ++w->people->next_generation;
    link->next = w->people->links;
    w->people->links = link;
    d->link = link;
    d->in_step = false;
    d->watches = d->missed_pushes = d->subscribed_twice = false;
    d->subscriptions = 0;
    for (uint32_t i = 0; i < USERS_MAX; i++) d->online[i] = -1;
}

static struct frame *link_take(struct link *link)
{
    struct frame *frame = link->first;
    link->first = frame->next;
    if (link->first == NULL) link->last = NULL;
    return frame;
}

static void frame_free(struct frame *frame)
{
    if (frame->answer != NULL) letter_free(frame->answer);
    buf_unref(&frame->body);
    free(frame);
}

/* The answers on the way count as heard, because the server has given them. */
static void link_hear_answers(struct world *w, struct link *link)
{
    struct frame **at = &link->first;
    link->last = NULL;
    while (*at != NULL) {
        struct frame *frame = *at;
        if (frame->answer == NULL) {
            link->last = frame;
            at = &frame->next;
        } else {
            *at = frame->next;
            take_answer(w, frame->answer);
            frame_free(frame);
        }
    }
}

/* Pushes that were not read are lost. */
static void link_free(struct world *w, struct link *link)
{
    struct link **at = &w->people->links;
    while (*at != link) at = &(*at)->next;
    *at = link->next;
    if (link->app != NULL) link->app->link = NULL;
    link_hear_answers(w, link);
    while (link->first != NULL) frame_free(link_take(link));
    free(link);
}

/* The server hears that the connection is closed. */
static void link_close(struct world *w, struct link *link)
{
    struct session *session = link->session;
    TRACE("connection %u is closed", link->generation);
    link_free(w, link);
    if (session != NULL) session_close(session);
}

void app_disconnect(struct world *w, struct app *d)
{
    struct link *link = d->link;
    d->link = NULL;
    link->app = NULL;
    TRACE("device %u leaves connection %u", d->number, link->generation);
    if (dice_one_in(&w->dice, 3)) link_hear_answers(w, link); /* it dies, and the server does not hear of it */
    else link_close(w, link);
}

void app_forget_token(struct world *w, struct app *d)
{
    (void)w;
    if (d->claims.user_id != 0) d->old_claims = d->claims;
    d->claims = (struct token_claims){0};
    d->refresh_token[0] = '\0';
}

/* The doors, which are not simulated, refuse a token that has expired and one that was made by a clock far ahead. */
static void heed_doors(struct world *w, struct app *d)
{
    uint64_t now_s = world_now_s(w);
    if (d->claims.user_id == 0) return;
    if (d->claims.expires_s < now_s || d->claims.issued_s > now_s + w->profile.options.token_leeway_s) app_forget_token(w, d);
}

bool app_is_revoked(const struct app *d, const struct token_claims *claims)
{
    return claims->own ? claims->generation < d->revoked_below : claims->issued_s < d->revoked_before_s;
}

void people_on_clock_era(struct world *w)
{
    for (uint32_t i = 0; i < w->people->person_count; i++)
        for (uint32_t n = 0; n < DEVICES_MAX; n++) {
            struct app *d = &w->people->persons[i].devices[n];
            d->revoked_before_s = 0;
            if (d->claims.user_id != 0) d->doubtful = true;
        }
    for (struct link *link = w->people->links; link != NULL; link = link->next) link->doubtful = true;
    for (uint32_t i = 0; i < w->oracle->attempt_count; i++)
        if (!w->oracle->attempts[i].acked) w->oracle->attempts[i].doubtful = true;
}

bool people_on_bind(struct world *w, const struct origin *origin, struct session *session)
{
    const struct call *call = w->people->calls;
    while (call != NULL && call->request_id != origin->generation) call = call->next;
    struct link *link = call == NULL ? NULL : w->people->links;
    while (link != NULL && link->generation != call->link_generation) link = link->next;
    if (link == NULL) return false;
    EXPECT(link->session == NULL || link->session == session, "connection %u has two sessions", link->generation);
    if (link->state == LINK_AUTHENTICATING) link->state = LINK_OPEN;
    link->session = session;
    session->connection = link;
    session->json = call->device->json;
    const struct app *d = people_app(w->people, origin->slot);
    EXPECT(!app_is_revoked(d, &link->claims), "device %u is revoked and gets a session", d->number);
    return true;
}

static struct frame *link_queue(struct link *link, struct slice head)
{
    struct frame *frame = calloc(1, sizeof *frame + head.len);
    ASSERT(frame != NULL);
    frame->head_len = head.len;
    if (head.len > 0) memcpy(frame->head, head.data, head.len);
    if (link->last != NULL) link->last->next = frame;
    else link->first = frame;
    link->last = frame;
    return frame;
}

enum result people_on_push(struct world *w, struct session *session, struct slice head, struct buf *body, bool *above_soft)
{
    struct link *link = session->connection;
    ASSERT(link->session == session && link->state != LINK_AUTHENTICATING);
    uint32_t size = head.len + (body == NULL ? 0 : body->len);
    if (link->state == LINK_ENDED) return RESULT_OK;
    if (link->queued_bytes + size > w->profile.outbound_hard_bytes) return RESULT_BUSY;
    struct frame *frame = link_queue(link, head);
    if (body != NULL) frame->body = buf_ref(body);
    link->queued_bytes += size;
    *above_soft = link->queued_bytes > w->profile.outbound_soft_bytes;
    link->above_soft = link->above_soft || *above_soft;
    return RESULT_OK;
}

void people_on_end(struct world *w, struct session *session, uint16_t close_code, const char *reason)
{
    struct link *link = session->connection;
    ASSERT(link->session == session);
    TRACE("server ends connection %u: %u %s", link->generation, close_code, reason);
    link->state = LINK_ENDED;
    bool early = close_code == CLOSE_NOT_AUTHENTICATED && world_clock_is_right(w) && !link->doubtful &&
                 link->expires_s * 1000 > world_right_ms(w) + CLOCK_SKEW_MS;
    EXPECT(!early, "connection %u is ended %lu s before its token expires", link->generation,
           (unsigned long)(link->expires_s - world_right_ms(w) / 1000));
    bool out = close_code == CLOSE_REVOKED || close_code == CLOSE_NOT_AUTHENTICATED;
    if (out && link->app != NULL) app_forget_token(w, link->app);
}

bool person_is_online(const struct people *people, const struct person *person)
{
    for (const struct link *link = people->links; link != NULL; link = link->next)
        if (link->person == person && link->session != NULL) return true;
    return false;
}

/* ---- frames ----------------------------------------------------------------------------------------------------------- */

static Ringpost__V1__Envelope *decode(const struct app *d, struct slice bytes)
{
    struct writer packed;
    writer_init(&packed, 0);
    char text[256] = "";
    if (d->json) {
        enum result result = json_to_packed(&ringpost__v1__envelope__descriptor, bytes, &packed, text, sizeof text);
        EXPECT(result == RESULT_OK, "a push that is no JSON: %s in %.*s", text, (int)bytes.len, (const char *)bytes.data);
    } else {
        writer_raw(&packed, bytes.data, bytes.len);
    }
    Ringpost__V1__Envelope *envelope = ringpost__v1__envelope__unpack(NULL, packed.len, packed.data);
    EXPECT(envelope != NULL && envelope->body_case == RINGPOST__V1__ENVELOPE__BODY_PUSH, "a frame that is no push");
    writer_deinit(&packed);
    return envelope;
}

static void take_presence(struct world *w, struct app *d, const Ringpost__V1__Presence *presence)
{
    uint32_t user = oracle_user_index(w->oracle, presence->user_id);
    EXPECT(user < USERS_MAX, "presence of user %lx, whom nobody knows", (unsigned long)presence->user_id);
    d->online[user] = presence->online != 0;
    d->called[user] = oracle_saw_name(w->oracle, user, presence->display_name, UINT32_MAX);
}

/* Before the first sync of a connection is answered, where it stands may be in another stream: what is pushed then only tells that there is more. */
static void take_pushed(struct world *w, struct app *d, const Ringpost__V1__Event *event)
{
    if (d->in_step) {
        app_take_event(w, d, event);
    } else {
        oracle_saw_event(w->oracle, d->person->user_id, event);
        d->wants_sync = true;
    }
}

static void take_push(struct world *w, struct app *d, const Ringpost__V1__Push *push)
{
    switch (push->kind_case) {
    case RINGPOST__V1__PUSH__KIND_EVENT: take_pushed(w, d, push->event); break;
    case RINGPOST__V1__PUSH__KIND_ROOM_MESSAGE:
        oracle_saw_message(w->oracle, push->room_message);
        take_message(d, UINT64_MAX, push->room_message);
        break;
    case RINGPOST__V1__PUSH__KIND_BEHIND:
        d->wants_sync = d->missed_pushes = true;
        break;
    case RINGPOST__V1__PUSH__KIND_PRESENCE: take_presence(w, d, push->presence); break;
    case RINGPOST__V1__PUSH__KIND_TYPING:
    case RINGPOST__V1__PUSH__KIND_SESSION_END: break;
    case RINGPOST__V1__PUSH__KIND__NOT_SET: report_fail("a push of no kind we know");
    }
}

static void read_push(struct world *w, struct app *d, struct frame *frame)
{
    struct writer bytes;
    writer_init(&bytes, 0);
    writer_raw(&bytes, frame->head, frame->head_len);
    if (frame->body != NULL) writer_raw(&bytes, frame->body->data, frame->body->len);
    d->link->queued_bytes -= (uint32_t)bytes.len;
    report_hash(writer_slice(&bytes));
    Ringpost__V1__Envelope *envelope = decode(d, writer_slice(&bytes));
    TRACE("device %u reads a push of kind %d, %u bytes left", d->number, (int)envelope->push->kind_case, d->link->queued_bytes);
    w->people->pushes++;
    take_push(w, d, envelope->push);
    ringpost__v1__envelope__free_unpacked(envelope, NULL);
    writer_deinit(&bytes);
}

static void read_frame(struct world *w, struct app *d)
{
    struct link *link = d->link;
    struct frame *frame = link_take(link);
    if (frame->answer != NULL) take_answer(w, frame->answer);
    else read_push(w, d, frame);
    frame_free(frame);
    if (!link->above_soft || link->queued_bytes >= w->profile.outbound_soft_bytes / 2) return;
    link->above_soft = false;
    if (link->state == LINK_OPEN) session_drained(link->session);
}

static struct app *any_device(struct world *w)
{
    uint32_t person = dice_below(&w->dice, w->people->person_count);
    if (w->profile.has_babbler && dice_percent(&w->dice, 70)) person = 0;
    return &w->people->persons[person].devices[dice_below(&w->dice, w->people->device_count)];
}

/* The server gives up on connections that it ended, and on some that have been silent. */
static void close_some_link(struct world *w)
{
    for (struct link *link = w->people->links, *next; link != NULL; link = next) {
        next = link->next;
        bool silent = link->app == NULL && !w->settling && dice_one_in(&w->dice, 40);
        bool read = link->first == NULL || link->app == NULL || dice_one_in(&w->dice, 10);
        if (silent || (link->state == LINK_ENDED && read)) link_close(w, link);
    }
}

void people_read(struct world *w)
{
    struct app *d = any_device(w);
    for (uint32_t n = dice_between(&w->dice, 1, 4); n > 0 && d->link != NULL && d->link->first != NULL; n--) read_frame(w, d);
    close_some_link(w);
}

/* ---- doing something -------------------------------------------------------------------------------------------------- */

/* True: that was all for this step. */
static bool tend_link(struct world *w, struct app *d)
{
    if (d->link == NULL) return dice_one_in(&w->dice, 4) && calls_auth(w, d);
    if (d->link->state == LINK_ENDED) return false;
    bool waits = d->link->state == LINK_AUTHENTICATING;
    if (dice_one_in(&w->dice, waits ? 20 : 60)) {
        app_disconnect(w, d);
        return true;
    }
    return !waits && dice_one_in(&w->dice, 100) && calls_auth(w, d); /* a newer token */
}

void people_act(struct world *w)
{
    struct app *d = any_device(w);
    if (d->person->user_id != 0 && letters_congested(w, id_partition(d->person->user_id))) return; /* nobody reads what it says */
    if (d->person->user_id == 0) {
        if (d == &d->person->devices[0] && d->lanes[LANE_MAIN] == NULL) calls_register(w, d);
        return;
    }
    heed_doors(w, d);
    if (d->claims.user_id == 0) {
        if (d->lanes[LANE_MAIN] == NULL && d->patience_ns <= w->now_ns) calls_login(w, d);
        return;
    }
    if (d->lanes[LANE_SYNC] == NULL && d->reloading && calls_conversations(w, d)) return;
    if (d->lanes[LANE_SYNC] == NULL && d->wants_sync && calls_sync(w, d)) return;
    if (d->lanes[LANE_MAIN] != NULL || d->patience_ns > w->now_ns) return;
    if (tend_link(w, d)) return;
    if (d->sending != 0) calls_send(w, d);
    else if (dice_percent(&w->dice, w->profile.talk_percent)) calls_talk(w, d);
    else calls_choose(w, d);
}

/* ---- towards rest ----------------------------------------------------------------------------------------------------- */

static bool pursue(struct world *w, struct app *d)
{
    while (d->link != NULL && d->link->first != NULL) read_frame(w, d);
    heed_doors(w, d);
    if (d->claims.user_id != 0) {
        if (d->lanes[LANE_SYNC] == NULL && d->reloading) calls_conversations(w, d);
        else if (d->lanes[LANE_SYNC] == NULL && d->wants_sync) calls_sync(w, d);
        else if (d->lanes[LANE_SYNC] == NULL && d->wants_compare) calls_conversations(w, d);
        if (d->lanes[LANE_MAIN] == NULL && d->sending != 0) calls_send(w, d);
    } else {
        if (app_is_connected(d) && !w->comparing) app_disconnect(w, d); /* to come back with a new token */
        if (d->reloading) app_forget(d); /* what it has is neither the old nor the new */
        d->wants_sync = d->wants_compare = d->reloading = false;
        d->sending = 0; /* never known */
    }
    bool waits = d->lanes[LANE_MAIN] != NULL || d->lanes[LANE_SYNC] != NULL || (d->link != NULL && d->link->first != NULL);
    return !waits && !d->wants_sync && !d->wants_compare && !d->reloading && d->sending == 0;
}

bool people_pursue(struct world *w)
{
    bool content = w->people->calls == NULL;
    close_some_link(w);
    for (const struct link *link = w->people->links; link != NULL; link = link->next) content &= link->state != LINK_ENDED;
    for (uint32_t i = 0; i < w->people->person_count; i++)
        for (uint32_t n = 0; n < w->people->device_count; n++) content &= pursue(w, &w->people->persons[i].devices[n]);
    return content;
}

void people_explain(const struct world *w)
{
    for (const struct call *call = w->people->calls; call != NULL; call = call->next)
        printf("# device %u still waits for the answer to %s\n", call->device->number, calls_name(call));
    for (uint32_t i = 0; i < w->people->person_count; i++)
        for (uint32_t n = 0; n < w->people->device_count; n++) {
            const struct app *d = &w->people->persons[i].devices[n];
            if (d->wants_sync || d->wants_compare || d->reloading || d->sending != 0)
                printf("# device %u: wants to sync %d, to compare %d, reloads %d, sends %u\n", d->number, d->wants_sync,
                       d->wants_compare, d->reloading, d->sending);
        }
}

/* Whoever is connected has converged by what was pushed; the others sync once. */
static void expect_converged(const struct app *d)
{
    if (!app_is_connected(d)) return;
    EXPECT(d->sync_key == d->person->stream_head, "device %u is connected and stands at %lu, its stream at %lu", d->number,
           (unsigned long)d->sync_key, (unsigned long)d->person->stream_head);
    EXPECT(!app_is_revoked(d, &d->link->claims), "device %u is revoked and has a session", d->number);
}

static void expect_presence(const struct world *w, const struct app *d)
{
    bool told = app_is_connected(d) && d->watches && !d->missed_pushes;
    for (uint32_t i = 0; i < w->people->person_count && told; i++) {
        uint32_t user = oracle_user_index(w->oracle, w->people->persons[i].user_id);
        if (user == USERS_MAX || !d->watched[user] || d->online[user] < 0) continue;
        bool online = person_is_online(w->people, &w->people->persons[i]);
        EXPECT(d->online[user] == online, "device %u was told that user %u is %s", d->number, i, online ? "away" : "here");
        int32_t called = w->oracle->names[user].known;
        EXPECT(called < 0 || d->called[user] == called, "device %u was told name %d of user %u, and not name %d", d->number, d->called[user], i, called);
    }
}

void people_compare(struct world *w)
{
    for (uint32_t i = 0; i < w->people->person_count; i++)
        for (uint32_t n = 0; n < w->people->device_count; n++) {
            struct app *d = &w->people->persons[i].devices[n];
            if (d->claims.user_id == 0) continue;
            expect_converged(d);
            expect_presence(w, d);
            /* What is lost on its way from a large room's shard shows with the next message, and there is none. */
            if (!app_is_connected(d) || letters_are_lossy(w)) d->wants_sync = true;
            d->wants_compare = true;
            d->cursor = 0;
            d->compared_count = 0;
            calls_presence(w, d);
        }
}

/* ---- ends of a life --------------------------------------------------------------------------------------------------- */

void people_disconnect_all(struct world *w)
{
    while (w->people->links != NULL) link_close(w, w->people->links);
}

void people_lose_connections(struct world *w)
{
    while (w->people->links != NULL) link_free(w, w->people->links);
    while (w->people->calls != NULL) {
        struct call *call = w->people->calls;
        w->people->calls = call->next;
        calls_lose(w, call);
    }
    for (uint32_t i = 0; i < w->people->person_count; i++)
        for (uint32_t n = 0; n < DEVICES_MAX; n++) {
            struct app *d = &w->people->persons[i].devices[n];
            d->lanes[LANE_MAIN] = d->lanes[LANE_SYNC] = NULL;
            if (d->reloading) d->cursor = 0;
        }
}

void people_destroy(struct people *people)
{
    for (uint32_t i = 0; i < people->person_count; i++)
        for (uint32_t n = 0; n < DEVICES_MAX; n++) {
            free(people->persons[i].devices[n].rooms);
            free(people->persons[i].devices[n].seen);
        }
    free(people->persons);
    free(people);
}

/* On the connection that asked, behind what is on its way there; else at once. */
void people_on_reply(struct world *w, const struct letter *letter)
{
    struct call *call = w->people->calls;
    while (call != NULL && call->request_id != letter->origin.generation) call = call->next;
    bool late = call == NULL && letters_are_lossy(w); /* it was ended as overdue */
    EXPECT(call != NULL || late, "an answer to request %lu, which waits for none", (unsigned long)letter->origin.generation);
    if (late || letters_answer_is_lost(w, letter->from_shard, id_partition(call->claims.user_id))) return;
    call->answered = true;
    struct link *link = w->people->links;
    while (link != NULL && link->generation != call->link_generation) link = link->next;
    if (!call->over_session || link == NULL || link->app == NULL || link->state != LINK_OPEN) {
        take_answer(w, letter);
        return;
    }
    struct letter *copy = letter_make(letter->kind, letter->from_shard, 0, NULL, letter_payload(letter));
    copy->origin = letter->origin;
    copy->error = letter->error;
    link_queue(link, SLICE_EMPTY)->answer = copy;
}

#define ANSWER_NS UINT64_C(30000000000)

void people_may_miss(struct world *w, const struct letter *notify)
{
    struct cursor c = cursor_of(letter_payload(notify));
    for (uint32_t left = cursor_u32(&c); left > 0; left--) {
        uint64_t session_id = cursor_u64(&c);
        for (struct link *link = w->people->links; link != NULL; link = link->next) {
            bool looks = link->session != NULL && link->session->id == session_id && link->app != NULL;
            if (looks && shard_number(link->session->shard) == notify->to_shard) link->app->missed_pushes = true;
        }
    }
}

void people_end_overdue(struct world *w)
{
    struct call **link = &w->people->calls;
    while (letters_are_lossy(w) && *link != NULL) {
        struct call *call = *link;
        if (call->answered || call->asked_ns + ANSWER_NS > w->now_ns) {
            link = &call->next;
            continue;
        }
        *link = call->next;
        if (call->device->lanes[call->lane] == call) call->device->lanes[call->lane] = NULL;
        TRACE("device %u hears nothing: %s, request %lu", call->device->number, calls_name(call), (unsigned long)call->request_id);
        calls_lose(w, call);
        link = &w->people->calls; /* what was lost may have asked something */
    }
}

/* ---- a copy of the server, restored -------------------------------------------------------------------------------------- */

#define AWAY_S_MAX 40

struct rolled {
    char name[16];
    uint32_t name_number;
    uint64_t user_id, newest_event, stream_head;
    struct rolled_device {
        uint64_t generation, revoked_below, revoked_before_s;
    } devices[DEVICES_MAX];
};

struct roll {
    struct rolled persons[USERS_MAX];
};

struct roll *people_call_roll(const struct people *people)
{
    struct roll *roll = calloc(1, sizeof *roll);
    ASSERT(roll != NULL);
    for (uint32_t i = 0; i < people->person_count; i++) {
        const struct person *person = &people->persons[i];
        struct rolled *rolled = &roll->persons[i];
        memcpy(rolled->name, person->name, sizeof rolled->name);
        rolled->name_number = person->name_number;
        rolled->user_id = person->user_id;
        rolled->newest_event = person->newest_event;
        rolled->stream_head = person->stream_head;
        for (uint32_t n = 0; n < DEVICES_MAX; n++) {
            const struct app *d = &person->devices[n];
            rolled->devices[n] = (struct rolled_device){d->generation, d->revoked_below, d->revoked_before_s};
        }
    }
    return roll;
}

void people_free_roll(struct roll *roll) { free(roll); }

/* Its access token works if it is of a generation that the server knows; the refresh tokens it got since do not. */
static void device_falls_back(struct world *w, struct app *d, bool registered, const struct rolled_device *rolled)
{
    uint64_t away_ns = dice_one_in(&w->dice, 3) ? 0 : dice_below(&w->dice, AWAY_S_MAX) * UINT64_C(1000000000);
    d->generation = rolled->generation;
    d->revoked_below = rolled->revoked_below;
    d->revoked_before_s = rolled->revoked_before_s;
    d->refresh_token[0] = d->used_token[0] = '\0';
    d->old_claims = (struct token_claims){0};
    d->sending = 0;
    d->patience_ns = 0;
    if (d->reloading || !registered) app_forget(d); /* else what it remembers is to be found out by a sync */
    if (!registered || away_ns > 0) d->claims = (struct token_claims){0};
    if (registered) d->patience_ns = w->now_ns + away_ns; /* before it logs in: the stream may have come as far again */
    d->reloading = d->wants_compare = false;
    d->wants_sync = registered;
}

void people_fall_back(struct world *w, const struct roll *roll)
{
    for (uint32_t i = 0; i < w->people->person_count; i++) {
        struct person *person = &w->people->persons[i];
        const struct rolled *rolled = &roll->persons[i];
        memcpy(person->name, rolled->name, sizeof person->name);
        person->name_number = rolled->name_number;
        person->user_id = rolled->user_id;
        person->newest_event = rolled->newest_event;
        person->stream_head = rolled->stream_head;
        for (uint32_t n = 0; n < DEVICES_MAX; n++) device_falls_back(w, &person->devices[n], person->user_id != 0, &rolled->devices[n]);
    }
}
