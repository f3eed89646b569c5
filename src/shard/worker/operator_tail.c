/* shard/worker/operator_tail.c - following for one connection: BEGIN in every shard, then a page of each at a time, and its acknowledgements.
 * Happy path: tail_begin -> BEGIN to all -> started -> READ to all -> a page: its entries are queued, the next one is asked for unless the
 * client has too much to take already.
 * Failure modes: a follower that cannot begin in one shard ends in those where it was made for this connection; one that is lost,
 * removed or on a damaged shard ends the tail with the reason. An ack for which a shard has no room is tried again. */
#include "api/wire.h"
#include "core/check.h"
#include "ringpost/v1/operator.fields.h"
#include "shard/domain/domain.h"
#include "shard/engine/domain.h"
#include "shard/worker/operator_internal.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_ENTRIES 256u
#define PAGE_BYTES   (256u << 10)

/* ---- pages ---- */

static void ask_page(struct connection *c, struct channel *channel, uint16_t shard)
{
    struct follower_ask *ask = &channel->read.ask;
    writer_reset(&ask->page.bytes);
    ask->kind = FOLLOWER_ASK_READ;
    memcpy(ask->name, c->name, sizeof ask->name);
    ask->page.place = channel->told;
    ask->page.kinds = c->kinds;
    ask->page.bodies = c->bodies;
    ask->page.entries_max = PAGE_ENTRIES;
    ask->page.bytes_max = PAGE_BYTES;
    channel->reading = true;
    connection_put(c, &channel->read, shard);
}

static bool has_room(const struct connection *c) { return c->out.len - c->out_at < OPERATOR_OUT_BYTES; }

/* A frame around an entry as the page holds it. */
static void queue_entry(struct connection *c, struct slice entry)
{
    uint8_t head[TCPFRAME_HEAD_SIZE];
    tcpframe_write_head(head, (uint32_t)wire_bytes_size(FIELD_OPERATOR_RESPONSE_ENTRY, entry.len));
    writer_raw(&c->out, head, sizeof head);
    wire_write_bytes(&c->out, FIELD_OPERATOR_RESPONSE_ENTRY, entry);
}

static void queue_progress(struct connection *c, uint16_t shard, const struct follower_place *place)
{
    Ringpost__V1__FollowerPlace packed;
    Ringpost__V1__TailProgress progress;
    Ringpost__V1__OperatorResponse response;
    ringpost__v1__follower_place__init(&packed);
    ringpost__v1__tail_progress__init(&progress);
    ringpost__v1__operator_response__init(&response);
    packed.number = place->number;
    packed.rebuilding = place->rebuilding;
    packed.kind = place->kind;
    packed.a = place->a;
    packed.b = place->b;
    progress.shard = shard;
    progress.place = &packed;
    response.answer_case = RINGPOST__V1__OPERATOR_RESPONSE__ANSWER_PROGRESS;
    response.progress = &progress;
    connection_answer(c, &response);
}

void tail_on_page(struct connection *c, struct channel *channel)
{
    const struct follower_ask *ask = &channel->read.ask;
    uint16_t shard = channel->read.shard;
    if (c->state != OPERATOR_TAILING) return;
    if (follower_found_no_room(ask->outcome)) {
        channel_pause(channel); /* asked for again by tail_go_on() */
        return;
    }
    if (ask->outcome != FOLLOWER_OUTCOME_OK) {
        connection_refuse_outcome(c, shard, ask->outcome);
        return;
    }
    struct cursor entries = cursor_of(writer_slice(&ask->page.bytes));
    while (cursor_left(&entries) > 0) queue_entry(c, cursor_bytes(&entries));
    ASSERT(!entries.bad);
    if (follower_place_compare(&channel->told, &ask->page.next) != 0) queue_progress(c, shard, &ask->page.next);
    channel->told = ask->page.next;
    if (has_room(c)) ask_page(c, channel, shard);
}

/* ---- acknowledgements ---- */

static void send_ack(struct connection *c, struct channel *channel, uint16_t shard)
{
    if (channel->commanding || follower_place_compare(&channel->wanted, &channel->acked) <= 0) return;
    struct follower_ask *ask = &channel->command.ask;
    ask->kind = FOLLOWER_ASK_ACK;
    ask->generation = channel->read.ask.generation;
    ask->page.place = channel->wanted;
    channel->acked = channel->wanted;
    channel->commanding = true;
    connection_put(c, &channel->command, shard);
}

void tail_on_acked(struct connection *c, struct channel *channel)
{
    if (c->state != OPERATOR_TAILING) return;
    if (follower_found_no_room(channel->command.ask.outcome)) {
        channel->acked = (struct follower_place){.rebuilding = true};
        channel_pause(channel);
        return;
    }
    send_ack(c, channel, channel->command.shard);
}

void tail_acknowledge(struct connection *c, const Ringpost__V1__TailAcknowledge *request)
{
    uint16_t count = c->op->options.shard_count;
    struct follower_place *places = calloc(count, sizeof *places);
    bool good = places != NULL && follower_places_read(places, count, slice_text(request->position)) == RESULT_OK;
    for (uint16_t i = 0; i < count && good; i++) good = follower_place_compare(&places[i], &c->channels[i].told) <= 0;
    for (uint16_t i = 0; i < count && good; i++) {
        struct channel *channel = &c->channels[i];
        if (follower_place_compare(&places[i], &channel->wanted) > 0) channel->wanted = places[i];
        if (channel_may_ask(channel)) send_ack(c, channel, i);
    }
    free(places);
    if (!good) connection_refuse(c, "bad_request", "position: none that this tail has been told");
}

void tail_go_on(struct connection *c)
{
    for (uint16_t i = 0; i < c->op->options.shard_count && c->state == OPERATOR_TAILING; i++) {
        struct channel *channel = &c->channels[i];
        if (!channel_may_ask(channel)) continue;
        if (!channel->reading && has_room(c)) ask_page(c, channel, i);
        send_ack(c, channel, i);
    }
}

/* ---- the beginning ---- */

static void write_position(const struct connection *c, struct writer *text, bool newest)
{
    uint16_t count = c->op->options.shard_count;
    struct follower_place *places = calloc(count, sizeof *places);
    if (places == NULL) check_fatal("out of memory for a position of %u shards", count);
    for (uint16_t i = 0; i < count; i++) {
        const struct follower_ask *ask = &c->channels[i].command.ask;
        places[i] = newest ? (struct follower_place){.number = ask->newest} : ask->place;
    }
    follower_places_write(text, places, count);
    writer_u8(text, 0);
    free(places);
}

static void tell_started(struct connection *c)
{
    struct writer position, newest;
    Ringpost__V1__TailStarted started;
    Ringpost__V1__OperatorResponse response;
    writer_init(&position, 0);
    writer_init(&newest, 0);
    ringpost__v1__tail_started__init(&started);
    ringpost__v1__operator_response__init(&response);
    write_position(c, &position, false);
    write_position(c, &newest, true);
    started.shard_count = c->op->options.shard_count;
    started.position = (char *)position.data;
    started.newest = (char *)newest.data;
    response.answer_case = RINGPOST__V1__OPERATOR_RESPONSE__ANSWER_STARTED;
    response.started = &started;
    connection_answer(c, &response);
    writer_deinit(&position);
    writer_deinit(&newest);
}

/* The first shard where it did not begin; shard_count: it did in all. */
static uint16_t first_refusal(const struct connection *c)
{
    uint16_t i = 0;
    while (i < c->op->options.shard_count && c->channels[i].command.ask.outcome == FOLLOWER_OUTCOME_OK) i++;
    return i;
}

static void refusal_cleaned_up(struct connection *c) { connection_refuse_outcome(c, c->refused_shard, c->refusal); }

static void begun(struct connection *c)
{
    uint16_t count = c->op->options.shard_count, refused = first_refusal(c);
    if (refused < count) {
        c->refused_shard = refused;
        c->refusal = c->channels[refused].command.ask.outcome;
        connection_end_made(c, refusal_cleaned_up);
        return;
    }
    tell_started(c);
    c->state = OPERATOR_TAILING;
    for (uint16_t i = 0; i < count; i++) {
        struct channel *channel = &c->channels[i];
        channel->told = channel->wanted = channel->acked = channel->command.ask.place;
        channel->read.ask.generation = channel->command.ask.generation;
        ask_page(c, channel, i);
    }
}

static bool take_kinds(struct connection *c, const Ringpost__V1__TailRequest *request)
{
    c->kinds = request->n_kinds == 0 ? UINT64_MAX : 0;
    for (size_t i = 0; i < request->n_kinds; i++) {
        uint64_t bit = 0;
        for (uint32_t kind = 0; kind < FOLLOWER_KINDS_MAX; kind++) {
            const struct follower_row *row = domain_followed(ringpost_domain(), kind);
            if (row != NULL && strcmp(row->name, request->kinds[i]) == 0) bit = 1ull << kind;
        }
        if (bit == 0) return false;
        c->kinds |= bit;
    }
    return true;
}

static bool take_name(struct connection *c, const char *name)
{
    c->temporary = name[0] == '\0';
    if (c->temporary) {
        snprintf(c->name, sizeof c->name, ".%" PRIu64, ++c->op->next_temporary);
        return true;
    }
    if (!follower_name_valid(slice_text(name))) {
        connection_refuse(c, "bad_request", "name: 1 to 32 of a-z 0-9 _ - . and no point first");
        return false;
    }
    if (operator_in_use(c->op, name)) {
        connection_refuse(c, "follower_in_use", "somebody else reads it now");
        return false;
    }
    strcpy(c->name, name); /* its length was looked at */
    return true;
}

/* Each shard begins behind its own place. */
static bool draft_places(struct connection *c, const char *from)
{
    uint16_t count = c->op->options.shard_count;
    struct follower_place *places = calloc(count, sizeof *places);
    bool good = places != NULL && follower_places_read(places, count, slice_text(from)) == RESULT_OK;
    for (uint16_t i = 0; i < count && good; i++) {
        good = !places[i].rebuilding;
        c->channels[i].wanted = places[i];
    }
    free(places);
    return good;
}

void tail_begin(struct connection *c, const Ringpost__V1__TailRequest *request)
{
    bool at_start = strcmp(request->from, "start") == 0, at_position = request->from[0] != '\0' && !at_start;
    if (!take_kinds(c, request)) {
        connection_refuse(c, "bad_request", "kinds: not the name of something that happens");
        return;
    }
    if (at_position && !draft_places(c, request->from)) {
        connection_refuse(c, "bad_request", "from: no position of this server; one within a rebuilding names no place to begin");
        return;
    }
    if (!take_name(c, request->name)) return;
    c->bodies = !request->no_bodies;
    c->follows = true;
    struct follower_ask ask = {.temporary = c->temporary,
                               .start = at_start ? FOLLOWER_ALL : at_position ? FOLLOWER_AFTER : FOLLOWER_NOW};
    ask.kind = FOLLOWER_ASK_BEGIN;
    memcpy(ask.name, c->name, sizeof ask.name);
    connection_ask_all(c, &ask, begun);
}
