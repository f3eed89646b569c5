/* shard/engine/acknowledge.c - the STREAM_ACK command: what other shards have applied of our streams is part of this one's state.
 * Happy path: letter -> heard, which the stream's window goes by at once -> one command for all peers in the next batch of the log ->
 * durable -> applied: the bundles leave the outbox.
 * The command never costs a write of its own while the shard writes anything else: it joins the batch that is about to go to the disk, at
 * most once in each. On a shard that writes nothing it waits for the tick, unless an outbox is half full.
 * Failure modes: no room in the log: it is tried again. A crash before it is durable: the source sends again, the destination says again
 * what it has. */
#include "shard/engine/records.h"
#include "shard/engine/shard_internal.h"

/* ---- the command ---- */

static void apply_stream_ack(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct cursor acks = cursor_of(COMMAND_RECORD(stream_ack, command).acks);
    while (cursor_left(&acks) > 0) {
        struct acknowledged_record ack;
        bool read = acknowledged_record_read(&ack, &acks);
        ASSERT(read);
        stream_acknowledge(machine->streams, ack.peer, ack.index, effects);
    }
}

static uint32_t size_max_stream_ack(const struct domain *domain, uint32_t body_size_max)
{
    (void)domain, (void)body_size_max;
    uint32_t each = acknowledged_record_size(&(struct acknowledged_record){0});
    return stream_ack_record_size(&(struct stream_ack_record){.acks = {.len = STREAM_NEWS_MAX * each}});
}

COMMAND_ROW(stream_ack, STREAM_ACK, .check = NULL); /* what is there is there */

/* ---- when it is logged ---- */

void acknowledge_hear(struct shard *s, const struct letter *letter)
{
    struct received_record record;
    struct cursor c = cursor_of(letter_payload(letter));
    bool read = received_record_read(&record, &c) && cursor_done(&c);
    struct stream_answer answer = {.applied = letter->number, .received = record.received, .gap = record.gap != 0};
    if (read && stream_hear(s->machine->streams, letter->from_shard, &answer)) return;
    shard_note_letter(s, letter);
}

void acknowledge_log(struct shard *s)
{
    struct writer acks;
    writer_init(&acks, 0);
    stream_news(s->machine->streams, &acks);
    struct writer *record = shard_scratch(s);
    stream_ack_record_write(record, &(struct stream_ack_record){.acks = writer_slice(&acks)});
    if (request_append_own(s, COMMAND_STREAM_ACK, writer_slice(record)) == ERROR_NONE) stream_news_logged(s->machine->streams);
    writer_deinit(&acks);
}

void acknowledge_flush(struct shard *s)
{
    bool rides = commitlog_collects(s->log);
    if (rides || (commitlog_idle(s->log) && stream_news_press(s->machine->streams))) acknowledge_log(s);
}
