/* perf/workload_restart.c - kill -9 under load, and what is there afterwards.
 *
 * crash: rooms of two, both send as fast as they are answered; after so many acknowledgements the server is killed in the middle of
 * the traffic. What was acknowledged goes to a ledger. restart: after the server is up again (perf/run times it) every room is read
 * from its newest message to its first, and compared: each acknowledged message at its seq, none twice, no hole, each
 * sender's in order. Messages that were under way may be there or not.
 *
 * The ledger: one struct ledger_head, then per sender one struct ledger_sender and the u64 seq of each sequence from 1 (0: not
 * acknowledged). */
#include "perf/traffic.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#define ROOM_SENDERS 2
#define HISTORY_PAGE 200

struct ledger_head {
    uint32_t run, sender_count;
    uint64_t body_bytes, acked;
};
struct ledger_sender {
    uint64_t room_id, user_id;
    uint32_t group, index, sent;
};
struct ledger {
    struct ledger_head head;
    struct ledger_sender *senders;
    struct bytes *seqs; /* per sender: u64 by sequence - 1 */
};

static FILE *ledger_file(const char *path, const char *mode)
{
    if (path == NULL) perf_die("crash and restart need --ledger FILE");
    FILE *file = fopen(path, mode);
    if (file == NULL) perf_die("%s: %s", path, strerror(errno));
    return file;
}

static void ledger_save(const struct ledger *ledger, const char *path)
{
    FILE *file = ledger_file(path, "wb");
    size_t written = fwrite(&ledger->head, sizeof ledger->head, 1, file);
    for (uint32_t i = 0; i < ledger->head.sender_count; i++) {
        written += fwrite(&ledger->senders[i], sizeof ledger->senders[i], 1, file);
        if (ledger->seqs[i].len > 0) written += fwrite(ledger->seqs[i].data, ledger->seqs[i].len, 1, file) - 1;
    }
    if (fclose(file) != 0 || written != ledger->head.sender_count + 1) perf_die("%s: cannot be written", path);
}

static void ledger_load(struct ledger *ledger, const char *path)
{
    FILE *file = ledger_file(path, "rb");
    *ledger = (struct ledger){0};
    if (fread(&ledger->head, sizeof ledger->head, 1, file) != 1) perf_die("%s: no ledger", path);
    ledger->senders = perf_alloc(ledger->head.sender_count, sizeof *ledger->senders);
    ledger->seqs = perf_alloc(ledger->head.sender_count, sizeof *ledger->seqs);
    for (uint32_t i = 0; i < ledger->head.sender_count; i++) {
        if (fread(&ledger->senders[i], sizeof ledger->senders[i], 1, file) != 1) perf_die("%s: cut", path);
        struct bytes *seqs = &ledger->seqs[i];
        size_t len = ledger->senders[i].sent * sizeof(uint64_t);
        (void)bytes_reserve(seqs, len + 1);
        if (len > 0 && fread(seqs->data, len, 1, file) != 1) perf_die("%s: cut", path);
        seqs->len = len;
    }
    (void)fclose(file);
}

static void ledger_free(struct ledger *ledger)
{
    for (uint32_t i = 0; i < ledger->head.sender_count; i++) bytes_free(&ledger->seqs[i]);
    free(ledger->seqs);
    free(ledger->senders);
}

/* ---- crash ---- */

static uint64_t *ledger_place(struct ledger *ledger, uint32_t sender, uint32_t sequence)
{
    struct bytes *seqs = &ledger->seqs[sender];
    size_t len = sequence * sizeof(uint64_t);
    if (seqs->len < len) {
        memset(bytes_reserve(seqs, len - seqs->len), 0, len - seqs->len);
        seqs->len = len;
    }
    uint64_t *numbers = (uint64_t *)(void *)seqs->data;
    return &numbers[sequence - 1];
}

static void crash_on_acked(void *context, struct sender *sender, uint32_t sequence, const struct answer *answer)
{
    struct ledger *ledger = context;
    struct slice in = answer->result;
    struct wire_field field;
    uint32_t place = sender->member->group->index * ROOM_SENDERS + sender->member->index;
    while (wire_next(&in, &field))
        if (field.number == 3) *ledger_place(ledger, place, sequence) = field.value;
    ledger->head.acked++;
}

static void ledger_fill(struct ledger *ledger, const struct traffic *traffic)
{
    for (uint32_t i = 0; i < traffic->sender_count; i++) {
        const struct sender *sender = &traffic->senders[i];
        ledger->senders[i] = (struct ledger_sender){.room_id = sender->member->group->room_id,
                                                    .user_id = sender->member->user_id,
                                                    .group = sender->member->group->index,
                                                    .index = sender->member->index,
                                                    .sent = sender->next - 1};
        if (sender->next > 1) (void)ledger_place(ledger, i, sender->next - 1);
    }
}

/* Until the kernel has closed the last socket of the killed process: acknowledgements may still lie in our buffers, and they count. */
static bool all_disconnected(void *context)
{
    return ((const struct loop *)context)->session_count == 0;
}

void workload_crash(struct bench *bench)
{
    const struct options *options = bench->options;
    struct traffic_plan plan = {.groups = (uint32_t)options->groups,
                                .members = ROOM_SENDERS,
                                .senders = ROOM_SENDERS,
                                .window = (uint32_t)options->window,
                                .body_bytes = (uint32_t)options->body_bytes,
                                .messages_max = options->messages};
    if (options->server_pid <= 1) perf_die("crash needs --server-pid");
    struct traffic *traffic = traffic_create(bench, &plan);
    struct ledger ledger = {.head = {traffic->run, traffic->sender_count, plan.body_bytes, 0}};
    ledger.senders = perf_alloc(traffic->sender_count, sizeof *ledger.senders);
    ledger.seqs = perf_alloc(traffic->sender_count, sizeof *ledger.seqs);
    traffic->on_acked = crash_on_acked;
    traffic->context = &ledger;
    struct spent before = process_spent((int)options->server_pid);
    traffic_run(traffic, 300, false);
    struct spent after = process_spent((int)options->server_pid);
    traffic->expects_end = true;
    uint64_t disconnected = bench->loop->counters.closed_by_server;
    if (kill((int)options->server_pid, SIGKILL) != 0) perf_die("kill %d: %s", (int)options->server_pid, strerror(errno));
    if (!loop_until(bench->loop, all_disconnected, bench->loop, 10)) perf_die("the killed server still holds its sockets");
    ledger_fill(&ledger, traffic);
    ledger_save(&ledger, options->ledger);
    struct report *report = bench->report;
    snprintf(report->setting, sizeof report->setting, "%s, kill -9 at %llu acks", bench->report->protocol,
             (unsigned long long)ledger.head.acked);
    report->cost = process_cost(&before, &after);
    report->messages = ledger.head.acked;
    report->value = (double)ledger.head.acked / report->cost.seconds;
    report->unit = "messages/s";
    report->checked = ledger.head.acked;
    report_add_fault(report, "disconnected", disconnected);
    report_add_fault(report, "duplicated", traffic->total.duplicated);
    report_add_fault(report, "reordered", traffic->total.reordered);
    ledger_free(&ledger);
    traffic_destroy(traffic);
}

/* ---- restart ---- */

struct audit {
    struct ledger ledger;
    uint64_t read, missing, moved, twice, holes, reordered, foreign;
};

/* One message of a room, read from the newest down. `below` has the sequence last seen of each sender: it must fall. */
static void audit_message(struct audit *audit, uint32_t first_sender, const Ringpost__V1__Message *message, uint32_t below[ROOM_SENDERS])
{
    struct stamp stamp;
    struct slice body = {message->body.data, message->body.len};
    if (stamp_read(body, audit->ledger.head.run, audit->ledger.head.body_bytes, &stamp) != STAMP_OURS ||
        stamp.sender >= ROOM_SENDERS || message->sender_id != audit->ledger.senders[first_sender + stamp.sender].user_id ||
        stamp.sequence == 0 || stamp.sequence > audit->ledger.senders[first_sender + stamp.sender].sent) {
        audit->foreign++;
        return;
    }
    uint64_t *place = ledger_place(&audit->ledger, first_sender + stamp.sender, stamp.sequence);
    if (stamp.sequence == below[stamp.sender]) audit->twice++;
    else if (stamp.sequence > below[stamp.sender]) audit->reordered++;
    below[stamp.sender] = stamp.sequence;
    if (*place != 0 && *place != message->seq) audit->moved++;
    *place = 0; /* found; what stays is missing */
    audit->read++;
}

static Ringpost__V1__Response *history_page(struct session *session, uint64_t room_id, uint64_t before_seq)
{
    Ringpost__V1__HistoryRequest history = RINGPOST__V1__HISTORY_REQUEST__INIT;
    Ringpost__V1__Request request = RINGPOST__V1__REQUEST__INIT;
    history.room_id = room_id;
    history.direction_case = RINGPOST__V1__HISTORY_REQUEST__DIRECTION_BEFORE_SEQ;
    history.before_seq = before_seq;
    history.limit = HISTORY_PAGE;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_HISTORY;
    request.history = &history;
    return call_wait(session, &request);
}

static void audit_room(struct audit *audit, struct session *session, uint32_t first_sender)
{
    uint32_t below[ROOM_SENDERS] = {UINT32_MAX, UINT32_MAX};
    uint64_t before_seq = 0, expected = 0;
    bool more = true, first = true;
    while (more) {
        Ringpost__V1__Response *response = history_page(session, audit->ledger.senders[first_sender].room_id, before_seq);
        const Ringpost__V1__HistoryResponse *page = response->history;
        if (first) expected = page->head_seq;
        first = false;
        for (size_t i = 0; i < page->n_messages; i++) {
            audit->holes += page->messages[i]->seq != expected;
            expected = page->messages[i]->seq - 1;
            audit_message(audit, first_sender, page->messages[i], below);
        }
        more = page->has_more;
        before_seq = page->next_seq;
        ringpost__v1__response__free_unpacked(response, NULL);
    }
    audit->holes += expected != 0;
}

static void count_missing(struct audit *audit)
{
    for (uint32_t i = 0; i < audit->ledger.head.sender_count; i++)
        for (uint32_t sequence = 1; sequence <= audit->ledger.senders[i].sent; sequence++)
            audit->missing += *ledger_place(&audit->ledger, i, sequence) != 0;
}

void workload_restart(struct bench *bench)
{
    static struct audit audit;
    const struct options *options = bench->options;
    struct report *report = bench->report;
    ledger_load(&audit.ledger, options->ledger);
    for (uint32_t i = 0; i < audit.ledger.head.sender_count; i += ROOM_SENDERS) {
        struct session *session;
        struct login login = {.user_id = audit.ledger.senders[i].user_id};
        session_open_all(bench->loop, bench->driver, &login, 1, &session);
        audit_room(&audit, session, i);
        session_close(session);
    }
    loop_turn(bench->loop, 0);
    count_missing(&audit);
    snprintf(report->setting, sizeof report->setting, "after %llu messages and kill -9",
             (unsigned long long)audit.ledger.head.acked);
    report->value = options->took_ms;
    report->unit = "ms to ready";
    report->checked = audit.read;
    report_add_fault(report, "acked_missing", audit.missing);
    report_add_fault(report, "moved", audit.moved);
    report_add_fault(report, "twice", audit.twice);
    report_add_fault(report, "holes", audit.holes);
    report_add_fault(report, "reordered", audit.reordered);
    report_add_fault(report, "foreign", audit.foreign);
    ledger_free(&audit.ledger);
}
