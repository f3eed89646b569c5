/* shard/relay.c - the receiving end of durable streams, and the RELAY command that makes an entry part of this shard.
 * Happy path: letter -> entries in order, repeats dropped -> needs resident -> log -> durable -> applied -> acknowledged once per turn.
 * Failure mode: no room in the log: the head entry stalls and is tried again each turn; the source's window bounds what waits. */
#include "shard/memory.h"
#include "shard/records.h"
#include "shard/room/view.h"
#include "shard/shard_internal.h"

static void relay_advance(struct shard *s, uint16_t peer);

/* ---- the command ---- */

struct relay {
    struct relay_record frame;
    struct relay_message_record message;
    struct relay_change_record change;
    uint64_t room_id;
    uint64_t sender_id; /* of a message */
};

/* Our own bytes: written by another shard of this process or read back from our log. */
static struct relay relay_decode(struct slice body)
{
    struct relay relay = {0};
    struct cursor c = cursor_of(body);
    bool read = relay_record_read(&relay.frame, &c) && cursor_done(&c);
    ASSERT(read);
    c = cursor_of(relay.frame.payload);
    if (relay.frame.kind == RELAY_MESSAGE) {
        read = relay_message_record_read(&relay.message, &c) && cursor_done(&c);
        relay.room_id = relay.message.room_id;
        struct message_record message = {0};
        struct cursor inner = cursor_of(relay.message.message);
        read = read && message_record_read(&message, &inner);
        relay.sender_id = message.sender_id;
    } else {
        ASSERT(relay.frame.kind == RELAY_CHANGE);
        read = relay_change_record_read(&relay.change, &c) && cursor_done(&c);
        struct snapshot_record snapshot = {0};
        struct cursor inner = cursor_of(relay.change.snapshot);
        read = read && snapshot_record_read(&snapshot, &inner);
        relay.room_id = snapshot.room_id;
    }
    ASSERT(read);
    return relay;
}

void needs_relay(struct needs *needs, const struct command *command)
{
    struct relay relay = relay_decode(command->body);
    if (relay.frame.kind == RELAY_MESSAGE) view_needs_message(needs, relay.room_id, relay.sender_id);
    else view_needs_change(needs, relay.room_id, relay.change.target_id);
}

enum error check_relay(struct machine *machine, const struct command *command)
{
    (void)machine;
    (void)command;
    return ERROR_NONE; /* what happened elsewhere has happened */
}

void apply_relay(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct relay relay = relay_decode(command->body);
    stream_mark_applied(machine->streams, relay.frame.source, relay.frame.stream_index);
    if (relay.frame.kind == RELAY_MESSAGE) view_apply_message(machine, &relay.message, effects);
    else view_apply_change(machine, &relay.change, effects);
}

/* ---- receiving ---- */

static void relay_applied(struct shard *s, struct request *r, enum error error)
{
    ASSERT(error == ERROR_NONE);
    s->sources[r->letter->from_shard].owes_ack = s->acks_owed = true;
    request_end(s, r);
}

/* One entry: letter->number = its index, letter->method = its relay kind. */
static void relay_run(struct shard *s, struct request *r)
{
    struct source *source = &s->sources[r->letter->from_shard];
    struct relay_record record = {.source = r->letter->from_shard,
                                  .stream_index = r->letter->number,
                                  .kind = r->letter->method,
                                  .payload = letter_payload(r->letter)};
    struct writer *w = shard_scratch(s);
    relay_record_write(w, &record);
    enum error error = request_try_propose(s, r, COMMAND_RELAY, writer_slice(w), relay_applied);
    source->waiting = error == ERROR_NONE && request_waits(r);
    source->stalled = error == ERROR_NONE ? NULL : r;
    if (source->stalled != NULL) s->running = NULL; /* it stays RUNNING but waits for relay_retry, not for a load */
}

/* Runs the entry again after its load or after the log had no room; when it is through, the next ones. */
static void relay_resume(struct shard *s, struct request *r)
{
    uint16_t peer = r->letter->from_shard;
    relay_run(s, r);
    if (s->sources[peer].waiting || s->sources[peer].stalled != NULL) return;
    struct request *outer = s->running; /* the entry is in the log: the next ones may run inside this one's turn */
    s->running = NULL;
    relay_advance(s, peer);
    s->running = outer;
}

/* From relay_advance's own loop, which goes on with the next entry by itself. */
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

void relay_receive(struct shard *s, struct letter *letter)
{
    uint16_t peer = letter->from_shard;
    struct source *source = &s->sources[peer];
    struct cursor c = cursor_of(letter_payload(letter));
    while (cursor_left(&c) > 0) {
        uint64_t index = cursor_u64(&c);
        uint16_t kind = cursor_u16(&c);
        struct slice payload = cursor_bytes(&c);
        ASSERT(!c.bad);
        if (index <= source->received) {
            metrics_add(&s->options.metrics->stream_redelivered, 1);
            source->owes_ack = s->acks_owed = true;
            continue;
        }
        ASSERT(index == source->received + 1);
        struct letter *entry = letter_make(LETTER_STREAM, peer, letter->to_shard, NULL, payload);
        entry->number = index;
        entry->method = kind;
        if (source->last != NULL) source->last->next = entry;
        else source->first = entry;
        source->last = entry;
        source->received = index;
    }
    letter_free(letter);
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
