/* perf/cold.c - see the header.
 * Everybody writes to everybody of a higher place, round by round: person a to person a + 1 + (round mod the rest). A room's id comes with
 * the answer to its first message.
 * A read is under way under the id READ_ID_FIRST + its place among all reads; few are, so their times lie in a small ring. */
#include "perf/cold.h"
#include "perf/perf.h"
#include "perf/stamp.h"
#include <stdio.h>

#define MAKE_WINDOW      32
#define MAKE_PATIENCE_S  1200.0
#define READ_ID_FIRST    (1ull << 36)
#define READS_UNDER_WAY  4096u
#define HISTORY_LIMIT    50
#define CLIENT_ID_SIZE   16

struct person {
    struct cold *cold;
    struct session *session;
    uint64_t user_id, sent, answered; /* messages: of COLD_MESSAGES rounds over those of a higher place */
    uint32_t index, rooms;            /* rooms: that this person begins */
    uint32_t first_room;
};

struct cold {
    struct bench *bench;
    struct person *people;
    uint64_t *room_ids;
    uint32_t *openers; /* whose room it is */
    uint32_t people_count, room_count, body_bytes;
    uint64_t left; /* messages that are not acknowledged */
    uint64_t asked, random, faults;
    uint64_t asked_ns[READS_UNDER_WAY];
    struct histogram latency;
};

uint32_t cold_people(uint32_t rooms)
{
    uint32_t people = 2;
    while ((uint64_t)people * (people - 1) / 2 < rooms) people++;
    return people;
}

/* ---- making ---- */

static void send_one(struct person *person, uint64_t number)
{
    struct cold *cold = person->cold;
    static uint8_t body[STAMP_BODY_MAX];
    char client_id[CLIENT_ID_SIZE + 1];
    uint32_t room = (uint32_t)(number % person->rooms);
    snprintf(client_id, sizeof client_id, "%08x%08x", person->index, (uint32_t)number);
    stamp_write(&(struct stamp){.group = person->index, .sequence = (uint32_t)number}, body, cold->body_bytes);
    struct outgoing message = {.id = number + 1,
                               .to_user_id = cold->people[person->index + 1 + room].user_id,
                               .client_msg_id = {(const uint8_t *)client_id, CLIENT_ID_SIZE},
                               .body = {body, cold->body_bytes}};
    person->session->driver->send(person->session, &message);
}

static void fill_window(struct person *person)
{
    uint64_t all = (uint64_t)person->rooms * COLD_MESSAGES;
    while (person->sent < all && person->sent - person->answered < MAKE_WINDOW) send_one(person, person->sent++);
}

static void on_written(struct person *person, const struct answer *answer)
{
    struct wire_field field;
    struct slice in = answer->result;
    uint64_t number = answer->id - 1;
    if (answer->refused && !answer->retryable)
        perf_die("a message of a cold room was refused: %.*s", (int)answer->reason.len, (const char *)answer->reason.data);
    if (answer->refused) {
        send_one(person, number);
        return;
    }
    while (wire_next(&in, &field))
        if (field.number == 2) person->cold->room_ids[person->first_room + number % person->rooms] = field.value;
    person->answered++;
    person->cold->left--;
    fill_window(person);
}

/* ---- reading ---- */

static void on_read(struct cold *cold, const struct session *session, const struct answer *answer)
{
    Ringpost__V1__Response *response = ringpost__v1__response__unpack(NULL, answer->packed.len, answer->packed.data);
    bool whole = response != NULL && response->result_case == RINGPOST__V1__RESPONSE__RESULT_HISTORY &&
                 response->history->n_messages == COLD_MESSAGES && response->history->messages[0]->seq == COLD_MESSAGES;
    if (response != NULL) ringpost__v1__response__free_unpacked(response, NULL);
    cold->faults += !whole && !answer->retryable;
    histogram_add(&cold->latency, session->loop->now_ns - cold->asked_ns[(answer->id - READ_ID_FIRST) % READS_UNDER_WAY]);
}

void cold_read(struct cold *cold)
{
    Ringpost__V1__HistoryRequest history = RINGPOST__V1__HISTORY_REQUEST__INIT;
    Ringpost__V1__Request request = RINGPOST__V1__REQUEST__INIT;
    cold->random = cold->random * 6364136223846793005ull + 1442695040888963407ull;
    uint32_t room = (uint32_t)((cold->random >> 32) * cold->room_count >> 32);
    struct session *session = cold->people[cold->openers[room]].session;
    history.room_id = cold->room_ids[room];
    history.limit = HISTORY_LIMIT;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_HISTORY;
    request.history = &history;
    request.id = READ_ID_FIRST + cold->asked;
    cold->asked_ns[cold->asked++ % READS_UNDER_WAY] = session->loop->now_ns;
    session->driver->call(session, &request);
}

void cold_take_latencies(struct cold *cold, struct histogram *out)
{
    *out = cold->latency;
    memset(&cold->latency, 0, sizeof cold->latency);
}

uint64_t cold_faults(const struct cold *cold) { return cold->faults; }

/* ---- sessions ---- */

static void cold_on_answer(struct session *session, const struct answer *answer)
{
    struct person *person = session->context;
    if (answer->id >= READ_ID_FIRST) on_read(person->cold, session, answer);
    else on_written(person, answer);
}

static void cold_on_closed(struct session *session, const char *reason)
{
    (void)session;
    perf_die("somebody of the cold rooms was disconnected: %s", reason);
}

static const struct session_events cold_events = {.on_answer = cold_on_answer, .on_closed = cold_on_closed};

static void log_in(struct cold *cold)
{
    struct login *logins = perf_alloc(cold->people_count, sizeof *logins);
    struct session **sessions = perf_alloc(cold->people_count, sizeof *sessions);
    for (uint32_t i = 0; i < cold->people_count; i++) logins[i].user_id = cold->people[i].user_id;
    session_open_all(cold->bench->loop, cold->bench->driver, logins, cold->people_count, sessions);
    for (uint32_t i = 0; i < cold->people_count; i++) {
        cold->people[i].session = sessions[i];
        sessions[i]->context = &cold->people[i];
        sessions[i]->events = &cold_events;
    }
    free(sessions);
    free(logins);
}

static void share_out(struct cold *cold, const uint64_t *user_ids)
{
    uint32_t made = 0;
    for (uint32_t i = 0; i < cold->people_count; i++) {
        uint32_t higher = cold->people_count - 1 - i, rooms = higher < cold->room_count - made ? higher : cold->room_count - made;
        cold->people[i] = (struct person){.cold = cold, .user_id = user_ids[i], .index = i, .rooms = rooms, .first_room = made};
        for (uint32_t room = 0; room < rooms; room++) cold->openers[made++] = i;
    }
}

static bool all_written(void *context) { return ((const struct cold *)context)->left == 0; }

struct cold *cold_make(struct bench *bench, uint32_t rooms, uint32_t users_before, uint32_t body_bytes)
{
    struct cold *cold = perf_alloc(1, sizeof *cold);
    *cold = (struct cold){.bench = bench, .room_count = rooms, .people_count = cold_people(rooms), .body_bytes = body_bytes,
                          .left = (uint64_t)rooms * COLD_MESSAGES, .random = 1};
    cold->people = perf_alloc(cold->people_count, sizeof *cold->people);
    cold->room_ids = perf_alloc(rooms, sizeof *cold->room_ids);
    cold->openers = perf_alloc(rooms, sizeof *cold->openers);
    users_need(bench->users, bench->loop, users_before + cold->people_count);
    share_out(cold, bench->users->ids + users_before);
    log_in(cold);
    for (uint32_t i = 0; i < cold->people_count; i++) fill_window(&cold->people[i]);
    if (!loop_until(bench->loop, all_written, cold, MAKE_PATIENCE_S)) perf_die("the cold rooms could not be made in %.0f s", MAKE_PATIENCE_S);
    return cold;
}

void cold_destroy(struct cold *cold)
{
    if (cold == NULL) return;
    for (uint32_t i = 0; i < cold->people_count; i++) session_close(cold->people[i].session);
    loop_turn(cold->bench->loop, 0);
    free(cold->people);
    free(cold->room_ids);
    free(cold->openers);
    free(cold);
}
