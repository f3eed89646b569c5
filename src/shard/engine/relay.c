/* shard/engine/relay.c - the receiving end of durable streams, and the RELAY command that makes a bundle of entries part of this shard.
 * Happy path: letter -> in order, repeats dropped -> needs of all its entries resident -> log -> durable -> applied -> acknowledged once
 * per turn.
 * Failure modes: no room in the log: the head bundle stalls and is tried again each turn; the source's window bounds what waits. An entry
 * that the log can never take ends the process: rules_check() refuses options that would let one be accepted. */
#include "shard/engine/records.h"
#include "shard/domain/room/view.h"
#include "shard/engine/shard_internal.h"

static void relay_advance(struct shard *s, uint16_t peer);

/* ---- the command ---- */

/* Our own bytes: written by another shard of this process or read back from our log. */
#define RELAY_READ(name, slice_)                                                                                       \
    __extension__({                                                                                                    \
        struct name##_record record_;                                                                                  \
        struct cursor cursor_ = cursor_of(slice_);                                                                     \
        bool read_ = name##_record_read(&record_, &cursor_);                                                           \
        ASSERT(read_ && cursor_done(&cursor_));                                                                        \
        record_;                                                                                                       \
    })

static void needs_message(struct needs *needs, struct slice entry)
{
    struct relay_message_record relay = RELAY_READ(relay_message, entry);
    struct message_record message = RELAY_READ(message, relay.message);
    view_needs_message(needs, relay.room_id, message.sender_id);
}

static void needs_change(struct needs *needs, struct slice entry)
{
    struct relay_change_record change = RELAY_READ(relay_change, entry);
    struct snapshot_record snapshot = RELAY_READ(snapshot, change.snapshot);
    view_needs_change(needs, snapshot.room_id, change.target_id);
}

void needs_relay(struct needs *needs, const struct command *command)
{
    struct relay_record relay = COMMAND_RECORD(relay, command);
    struct cursor entries = cursor_of(relay.entries);
    while (cursor_left(&entries) > 0) {
        struct slice entry = cursor_bytes(&entries);
        if (relay.kind == RELAY_MESSAGE) needs_message(needs, entry);
        else needs_change(needs, entry);
    }
}

enum error check_relay(struct machine *machine, const struct command *command)
{
    (void)machine;
    (void)command;
    return ERROR_NONE; /* what happened elsewhere has happened */
}

static void apply_entry(struct machine *machine, uint16_t kind, struct slice entry, struct effects *effects)
{
    if (kind == RELAY_MESSAGE) {
        struct relay_message_record message = RELAY_READ(relay_message, entry);
        view_apply_message(machine, &message, effects);
    } else {
        ASSERT(kind == RELAY_CHANGE);
        struct relay_change_record change = RELAY_READ(relay_change, entry);
        view_apply_change(machine, &change, effects);
    }
}

void apply_relay(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct relay_record relay = COMMAND_RECORD(relay, command);
    stream_mark_applied(machine->streams, relay.source, relay.first, relay.count);
    struct cursor entries = cursor_of(relay.entries);
    for (uint32_t i = 0; i < relay.count; i++) apply_entry(machine, relay.kind, cursor_bytes(&entries), effects);
    ASSERT(cursor_done(&entries));
}

/* ---- receiving ---- */

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

/* The letter's payload is the record. */
static void relay_run(struct shard *s, struct request *r)
{
    struct source *source = &s->sources[r->letter->from_shard];
    enum error error = request_try_propose(s, r, COMMAND_RELAY, letter_payload(r->letter), relay_applied);
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

void relay_receive(struct shard *s, struct letter *letter)
{
    uint16_t peer = letter->from_shard;
    struct source *source = &s->sources[peer];
    struct relay_record relay = RELAY_READ(relay, letter_payload(letter));
    ASSERT(relay.source == peer && relay.count > 0 && relay.first <= source->received + 1);
    uint64_t had = source->received + 1 - relay.first; /* of these entries */
    if (had > relay.count) had = relay.count;
    if (had > 0) {
        metrics_add(&s->options.metrics->stream_redelivered, had);
        source->owes_ack = s->acks_owed = true;
    }
    source->received += relay.count - had;
    if (had == 0 && relay.entries.len <= piece_bytes(s)) {
        source_add(source, letter);
    } else {
        source_add_pieces(s, letter, &relay, had);
        letter_free(letter);
    }
    relay_advance(s, peer);
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

void relay_send_acks(struct shard *s)
{
    s->acks_owed = false;
    for (uint16_t peer = 0; peer < s->options.machine.shard_count; peer++) {
        if (!s->sources[peer].owes_ack) continue;
        s->sources[peer].owes_ack = false;
        struct letter *ack = letter_create(LETTER_STREAM_ACK, s->options.machine.shard, peer, 0);
        ack->number = stream_applied(s->machine->streams, peer);
        shard_post(s, ack);
    }
}
