/* shard/engine/relay.c - the receiving end of durable streams, and the RELAY command that makes a bundle of entries part of this shard.
 * Happy path: letter -> in order, repeats dropped -> needs of all its entries resident -> what is kept of them to the log -> durable -> applied,
 * together with the letter -> acknowledged once per turn.
 * Failure modes: a letter is missing: what follows it is dropped, and its source told (stream.h); one that no shard would write is refused.
 * No room in the log: the head bundle stalls and is tried again each turn; the source's window bounds what waits. An entry
 * that the log can never take ends the process: rules_check() refuses options that would let one be accepted. */
#include "shard/engine/records.h"
#include "shard/engine/shard_internal.h"

static void relay_advance(struct shard *s, uint16_t peer);

/* ---- the command ---- */

static const struct relay_row *row_of(const struct machine *machine, uint16_t kind)
{
    const struct relay_row *row = domain_relay(machine->options.domain, kind);
    ASSERT(row != NULL && (row->kind == kind || row->logged_kind == kind));
    return row;
}

#define KEPT_SIZE_MAX 64 /* of what is kept of one entry */

/* An entry of the log that an earlier version wrote whole, or of a kind that is kept whole. */
static bool is_shortened(const struct relay_row *row, uint16_t kind) { return row->logged_kind == 0 || row->logged_kind == kind; }

/* What is kept of an entry, wherever it is whole: in `bytes`. */
static struct slice kept_of(const struct relay_row *row, struct slice entry, uint8_t bytes[KEPT_SIZE_MAX])
{
    struct writer kept = {.data = bytes, .capacity = KEPT_SIZE_MAX, .size_max = KEPT_SIZE_MAX};
    row->shorten(entry, &kept);
    ASSERT(!kept.failed);
    return writer_slice(&kept);
}

static void needs_relay(struct needs *needs, const struct command *command)
{
    struct relay_record relay = COMMAND_RECORD(relay, command);
    const struct relay_row *row = row_of(needs->machine, relay.kind);
    struct cursor entries = cursor_of(relay.entries);
    uint8_t bytes[KEPT_SIZE_MAX];
    while (cursor_left(&entries) > 0) {
        struct slice entry = cursor_bytes(&entries);
        row->needs(needs, is_shortened(row, relay.kind) ? entry : kept_of(row, entry, bytes));
    }
}

/* The entries of the command as they came; none when it is applied again. */
static struct cursor carried_entries(const struct machine *machine)
{
    if (machine->carried.len == 0) return cursor_of(SLICE_EMPTY);
    struct relay_record carried = RECORD_OF(relay, machine->carried);
    return cursor_of(carried.entries);
}

static void apply_relay(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct relay_record relay = COMMAND_RECORD(relay, command);
    const struct relay_row *row = row_of(machine, relay.kind);
    stream_mark_applied(machine->streams, relay.source, relay.first, relay.count);
    struct cursor entries = cursor_of(relay.entries), wholes = carried_entries(machine);
    uint8_t bytes[KEPT_SIZE_MAX];
    for (uint32_t i = 0; i < relay.count; i++) {
        struct slice entry = cursor_bytes(&entries), whole = cursor_left(&wholes) > 0 ? cursor_bytes(&wholes) : SLICE_EMPTY;
        row->apply(machine, is_shortened(row, relay.kind) ? entry : kept_of(row, entry, bytes), whole, effects);
    }
    ASSERT(cursor_done(&entries) && cursor_left(&wholes) == 0);
}

/* Larger bundles are cut to what the log takes; a single entry is not. */
static uint32_t size_max_relay(const struct domain *domain, uint32_t body_size_max)
{
    uint32_t largest = 0;
    for (uint32_t i = 0; i < RELAY_KINDS_MAX; i++) {
        uint32_t size = domain->relays[i] == NULL ? 0 : domain->relays[i]->size_max(body_size_max);
        if (size > largest) largest = size;
    }
    return relay_record_size(&(struct relay_record){.entries = {.len = (uint32_t)sizeof(uint32_t) + largest}});
}

COMMAND_ROW(relay, RELAY, .needs = needs_relay); /* what happened elsewhere has happened: there is no check */

/* ---- receiving ---- */

#define ASK_AGAIN_NS 250000000ull
#define RECEIVED_SIZE 16 /* of a received_record, and more */

static bool entries_are_good(const struct shard *s, const struct relay_record *relay)
{
    const struct relay_row *row = domain_relay(s->options.machine.domain, relay->kind);
    if (row == NULL || row->kind != relay->kind) return false;
    struct cursor c = cursor_of(relay->entries);
    bool good = true;
    while (good && cursor_left(&c) > 0) good = row->is_good(relay->source, cursor_bytes(&c));
    return good;
}

/* One command holds no more, unless a single entry does: the log must have room for it, beside others. */
static uint32_t piece_bytes(const struct shard *s)
{
    uint32_t pending = s->options.log_pending_max_bytes, body = commitlog_body_limit(s->log);
    return (pending < body ? pending : body) / 2;
}

static void relay_applied(struct shard *s, struct request *r, enum error error)
{
    ASSERT(error == ERROR_NONE);
    s->sources[r->letter->from_shard].owes_ack = s->acks_owed = true;
    request_end(s, r);
}

/* It was accepted when this log took larger records, and nothing behind it can be delivered before it. */
static void relay_check_size(const struct shard *s, const struct request *r, enum error error)
{
    if (error != ERROR_BODY_TOO_LARGE) return;
    struct slice entry = letter_payload(r->letter);
    check_fatal("shard %u: an entry of %u bytes from shard %u does not fit its log, whose records have at most %u bytes: set segment_size to "
                "what it was when that was accepted, or more",
                s->options.machine.shard, entry.len, r->letter->from_shard, commitlog_body_limit(s->log));
}

struct slice relay_kept(const struct machine *machine, struct slice bundle, struct writer *entries, struct writer *record)
{
    struct relay_record relay = RECORD_OF(relay, bundle);
    const struct relay_row *row = row_of(machine, relay.kind);
    if (row->logged_kind == 0 || !RECORD_WRITES_GROWN) return bundle;
    struct cursor wholes = cursor_of(relay.entries);
    uint8_t bytes[KEPT_SIZE_MAX];
    writer_reset(entries);
    while (cursor_left(&wholes) > 0) writer_bytes(entries, kept_of(row, cursor_bytes(&wholes), bytes));
    relay.kind = row->logged_kind;
    relay.entries = writer_slice(entries);
    writer_reset(record);
    relay_record_write(record, &relay);
    return writer_slice(record);
}

/* The letter stays with the request, for those who look on. */
static void relay_run(struct shard *s, struct request *r)
{
    struct source *source = &s->sources[r->letter->from_shard];
    enum error error = request_try_propose(s, r, COMMAND_RELAY, relay_kept(s->machine, letter_payload(r->letter), &s->kept, shard_scratch(s)), relay_applied);
    relay_check_size(s, r, error);
    source->waiting = error == ERROR_NONE && request_waits(r);
    source->stalled = error == ERROR_NONE ? NULL : r;
    if (source->stalled != NULL) s->running = NULL; /* it stays RUNNING but waits for relay_retry, not for a load */
}

/* Runs the bundle again after its load or after the log had no room; when it is through, the next ones. */
static void relay_resume(struct shard *s, struct request *r)
{
    uint16_t peer = r->letter->from_shard;
    relay_run(s, r);
    if (s->sources[peer].waiting || s->sources[peer].stalled != NULL) return;
    struct request *outer = s->running; /* the bundle is in the log: the next ones may run inside this one's turn */
    s->running = NULL;
    relay_advance(s, peer);
    s->running = outer;
}

/* From relay_advance's own loop, which goes on with the next bundle by itself. */
static void relay_first_run(struct shard *s, struct request *r)
{
    r->run = relay_resume;
    relay_run(s, r);
}

static void relay_advance(struct shard *s, uint16_t peer)
{
    struct source *source = &s->sources[peer];
    while (source->first != NULL && !source->waiting && source->stalled == NULL) {
        struct letter *letter = source->first;
        source->first = letter->next;
        if (source->first == NULL) source->last = NULL;
        letter->next = NULL;
        request_start(s, letter, relay_first_run);
    }
}

static void source_add(struct source *source, struct letter *letter)
{
    letter->next = NULL;
    if (source->last != NULL) source->last->next = letter;
    else source->first = letter;
    source->last = letter;
}

static void source_add_piece(struct shard *s, const struct letter *letter, const struct relay_record *piece)
{
    struct writer *w = shard_scratch(s);
    relay_record_write(w, piece);
    source_add(&s->sources[piece->source], letter_make(LETTER_STREAM, letter->from_shard, letter->to_shard, NULL, writer_slice(w)));
}

/* What is new in a letter that was sent again, and of a large one pieces that the log has room for. */
static void source_add_pieces(struct shard *s, const struct letter *letter, const struct relay_record *relay, uint64_t skip)
{
    struct cursor c = cursor_of(relay->entries);
    for (uint64_t i = 0; i < skip; i++) (void)cursor_bytes(&c);
    struct relay_record piece = {.source = relay->source, .first = relay->first + skip, .kind = relay->kind, .entries = slice_of(c.at, 0)};
    while (cursor_left(&c) > 0) {
        const uint8_t *entry = c.at;
        (void)cursor_bytes(&c);
        if (piece.count > 0 && c.at - piece.entries.data > piece_bytes(s)) {
            source_add_piece(s, letter, &piece);
            piece.first += piece.count;
            piece.count = 0;
            piece.entries.data = entry;
        }
        piece.count++;
        piece.entries.len = (uint32_t)(c.at - piece.entries.data);
    }
    ASSERT(!c.bad && piece.first + piece.count == relay->first + relay->count);
    if (piece.count > 0) source_add_piece(s, letter, &piece);
}

/* Not what another shard would write. Entries of this process's own shards are not looked into: it wrote them. */
static bool relay_is_good(const struct shard *s, const struct letter *letter, struct relay_record *relay)
{
    struct cursor c = cursor_of(letter_payload(letter));
    if (letter->from_shard >= s->options.machine.shard_count || letter->from_shard == letter->to_shard) return false;
    if (!relay_record_read(relay, &c) || !cursor_done(&c)) return false;
    if (relay->source != letter->from_shard || relay->first == 0 || relay->count == 0) return false;
    return !letter->foreign || (stream_bundle_is_whole(relay) && entries_are_good(s, relay));
}

/* What comes before it was lost, or is late. It will be posted again, and this with it. */
static void relay_drop_early(struct shard *s, struct source *source, struct letter *letter)
{
    metrics_add(&s->options.metrics->stream_gaps, 1);
    source->gap = source->owes_ack = s->acks_owed = true;
    letter_free(letter);
}

static void relay_take(struct shard *s, struct source *source, struct letter *letter, const struct relay_record *relay)
{
    uint64_t had = source->received + 1 - relay->first; /* of these entries */
    if (had > relay->count) had = relay->count;
    if (had > 0) {
        metrics_add(&s->options.metrics->stream_redelivered, had);
        source->owes_ack = s->acks_owed = true;
    }
    source->received += relay->count - had;
    if (had == 0 && relay->entries.len <= piece_bytes(s)) {
        source_add(source, letter);
    } else {
        source_add_pieces(s, letter, relay, had);
        letter_free(letter);
    }
    relay_advance(s, relay->source);
}

void relay_receive(struct shard *s, struct letter *letter)
{
    struct relay_record relay;
    if (!relay_is_good(s, letter, &relay)) {
        shard_note_letter(s, letter);
        letter_free(letter);
        return;
    }
    struct source *source = &s->sources[relay.source];
    if (relay.first > source->received + 1) relay_drop_early(s, source, letter);
    else relay_take(s, source, letter, &relay);
}

void relay_retry(struct shard *s)
{
    for (uint16_t peer = 0; peer < s->options.machine.shard_count; peer++) {
        struct request *r = s->sources[peer].stalled;
        if (r == NULL) continue;
        s->sources[peer].stalled = NULL;
        request_run(s, r);
    }
}

/* Of one gap the source is told once, and again when what it posted then should be here. */
static bool tells_gap(struct shard *s, struct source *source)
{
    if (!source->gap) return false;
    source->gap = false;
    uint64_t now_ns = shard_now_ns(s);
    bool told = source->asked_ns != 0 && source->asked_for == source->received && now_ns - source->asked_ns < ASK_AGAIN_NS;
    if (told) return false;
    source->asked_for = source->received;
    source->asked_ns = now_ns;
    return true;
}

static void send_ack(struct shard *s, uint16_t peer)
{
    struct source *source = &s->sources[peer];
    uint8_t bytes[RECEIVED_SIZE];
    struct writer w = {.data = bytes, .capacity = sizeof bytes, .size_max = sizeof bytes};
    received_record_write(&w, &(struct received_record){.received = source->received, .gap = tells_gap(s, source)});
    ASSERT(!w.failed);
    struct letter *ack = letter_make(LETTER_STREAM_ACK, s->options.machine.shard, peer, NULL, writer_slice(&w));
    ack->number = stream_applied(s->machine->streams, peer);
    shard_post(s, ack);
}

void relay_send_acks(struct shard *s)
{
    s->acks_owed = false;
    for (uint16_t peer = 0; peer < s->options.machine.shard_count; peer++) {
        if (!s->sources[peer].owes_ack) continue;
        s->sources[peer].owes_ack = false;
        send_ack(s, peer);
    }
}
