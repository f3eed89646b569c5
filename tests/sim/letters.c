/* tests/sim/letters.c - see letters.h. */
#include "sim/letters.h"
#include "core/check.h"
#include "shard/domain/letters.h"
#include "shard/worker/mailbox.h"
#include "shard/domain/letters.h"
#include "shard/domain/records.h"
#include "shard/engine/shard_internal.h"
#include "sim/doors.h"
#include "sim/people.h"
#include <stdlib.h>
#include <string.h>

#define TAKE_MAX 16u
#define DEAF_STEPS_MAX 3000u

/* ---- clients' letters ------------------------------------------------------------------------------------------------- */

static void box_add(struct box *box, struct letter *letter)
{
    letter->next = NULL;
    if (box->last != NULL) box->last->next = letter;
    else box->first = letter;
    box->last = letter;
}

static struct letter *box_take(struct box *box)
{
    struct letter *letter = box->first;
    if (letter == NULL) return NULL;
    box->first = letter->next;
    if (box->first == NULL) box->last = NULL;
    letter->next = NULL;
    return letter;
}

void world_post_from_outside(struct world *w, struct letter *letter) { box_add(&w->from_outside[letter->to_shard], letter); }

/* ---- planted bugs ----------------------------------------------------------------------------------------------------- */

/* Planted bug: every entry gets the number the destination expects next, repeats too. */
static struct letter *renumber_entries(struct world *w, struct letter *letter)
{
    struct renumbering *r = &w->renumberings[letter->from_shard][letter->to_shard];
    struct cursor c = cursor_of(letter_payload(letter));
    struct relay_record relay;
    bool read = relay_record_read(&relay, &c) && cursor_done(&c);
    ASSERT(read);
    uint64_t first = relay.first;
    relay.first = r->count + 1;
    for (uint32_t i = 0; i < relay.count; i++) {
        if (r->count == r->capacity) {
            r->capacity = r->capacity == 0 ? 64 : r->capacity * 2;
            r->source_index = realloc(r->source_index, r->capacity * sizeof *r->source_index);
            ASSERT(r->source_index != NULL);
        }
        r->source_index[r->count++] = first + i;
    }
    struct writer out;
    writer_init(&out, 0);
    relay_record_write(&out, &relay);
    struct letter *renumbered = letter_make(letter->kind, letter->from_shard, letter->to_shard, NULL, writer_slice(&out));
    writer_deinit(&out);
    letter_free(letter);
    return renumbered;
}

static void renumber_ack(struct world *w, struct letter *letter)
{
    const struct renumbering *r = &w->renumberings[letter->to_shard][letter->from_shard];
    struct received_record record;
    struct cursor c = cursor_of(letter_payload(letter));
    bool read = received_record_read(&record, &c) && cursor_done(&c);
    ASSERT(read);
    if (letter->number > 0) letter->number = r->source_index[letter->number - 1];
    if (record.received > 0) record.received = r->source_index[record.received - 1];
    struct writer out = {.data = letter->bytes, .capacity = letter->len, .size_max = letter->len};
    received_record_write(&out, &record);
    ASSERT(!out.failed && out.len == letter->len);
}

/* Planted bug: the outbox and the position change though no command says so. */
static void acknowledge_at_once(struct world *w, const struct letter *letter)
{
    struct shard *s = w->nodes[letter->to_shard].shard;
    if (s->damage == NULL) stream_acknowledge(s->machine->streams, letter->from_shard, letter->number, &s->effects);
}

/* Planted bug: what follows a gap is taken for what comes next. */
static void close_gap(struct world *w, const struct letter *letter)
{
    struct shard *s = w->nodes[letter->to_shard].shard;
    struct relay_record relay;
    struct cursor c = cursor_of(letter_payload(letter));
    struct source *source = &s->sources[letter->from_shard];
    if (!relay_record_read(&relay, &c) || s->damage != NULL || relay.first <= source->received + 1) return;
    if (s->machine->streams != NULL) source->received = relay.first - 1;
}

/* Planted bug: nothing of a stream is ever sent again. */
static bool is_sent_again(struct world *w, const struct letter *letter)
{
    if (letter->kind != LETTER_STREAM) return false;
    struct relay_record relay;
    struct cursor c = cursor_of(letter_payload(letter));
    bool read = relay_record_read(&relay, &c) && cursor_done(&c);
    ASSERT(read);
    uint64_t *newest = &w->newest_posted[letter->from_shard][letter->to_shard];
    if (relay.first <= *newest) return true;
    *newest = relay.first + relay.count - 1;
    return false;
}

static struct cursor answer_part(const struct letter *letter, bool heads)
{
    struct rooms_answer_record answer;
    struct cursor c = cursor_of(letter_payload(letter));
    bool read = letter->error != ERROR_NONE || rooms_answer_record_read(&answer, &c);
    ASSERT(read);
    return cursor_of(letter->error != ERROR_NONE ? SLICE_EMPTY : heads ? answer.heads : answer.messages);
}

/* Planted bug: the first message has another body. */
static void change_body(struct letter *letter)
{
    struct cursor c = answer_part(letter, false);
    if (cursor_left(&c) == 0) return;
    (void)cursor_u64(&c);
    struct message_record message = RECORD_OF(message, cursor_bytes(&c));
    if (message.body.len > 0) letter->bytes[message.body.data - letter->bytes] ^= 1;
}

/* Planted bug: of rooms of which only the head is asked nothing is unread. */
static void hide_heads(struct letter *letter)
{
    struct cursor c = answer_part(letter, true);
    while (cursor_left(&c) > 0) {
        (void)cursor_u64(&c);
        uint8_t *head_seq = letter->bytes + (c.at - letter->bytes);
        (void)cursor_u64(&c);
        const uint8_t *read_seq = c.at;
        (void)cursor_u64(&c);
        if (cursor_bytes(&c).len == 0) memcpy(head_seq, read_seq, sizeof(uint64_t));
    }
}

static struct letter *with_planted_bug(struct world *w, struct letter *letter)
{
    if (w->plant == PLANT_gap_ignored && letter->kind == LETTER_STREAM) close_gap(w, letter);
    if (w->plant == PLANT_repeats_applied && letter->kind == LETTER_STREAM) return renumber_entries(w, letter);
    if (w->plant == PLANT_acks_not_logged && letter->kind == LETTER_STREAM_ACK) acknowledge_at_once(w, letter);
    if (w->plant == PLANT_repeats_applied && letter->kind == LETTER_STREAM_ACK) renumber_ack(w, letter);
    if (w->plant == PLANT_wrong_body && letter->kind == LETTER_TELL_ROOMS) change_body(letter);
    if (w->plant == PLANT_gap_unseen && letter->kind == LETTER_TELL_ROOMS) hide_heads(letter);
    return letter;
}

/* ---- letters between hosts -------------------------------------------------------------------------------------------- */

#define LATE_STEPS_MAX 2000u

struct late { /* a letter that comes later; the newest first */
    struct late *next;
    struct letter *letter;
    uint64_t step; /* not before */
};

static void make_late(struct world *w, struct letter *letter)
{
    struct late *late = malloc(sizeof *late);
    ASSERT(late != NULL);
    *late = (struct late){w->late[letter->to_shard], letter, report.step + dice_below(&w->dice, LATE_STEPS_MAX)};
    w->late[letter->to_shard] = late;
}

static bool per_mille(struct world *w, uint32_t n) { return n > 0 && dice_below(&w->dice, 1000) < n; }

/* As a link carries it. */
static struct letter *over_the_link(struct letter *letter)
{
    struct writer bytes;
    writer_init(&bytes, 0);
    letter_encode(letter, &bytes);
    struct letter *arrived = letter_decode(writer_slice(&bytes));
    ASSERT(arrived != NULL);
    writer_deinit(&bytes);
    letter_free(letter);
    return arrived;
}

/* True: it does not arrive now. */
static bool goes_astray(struct world *w, struct letter *letter)
{
    const struct profile *p = &w->profile;
    if (letter->from_shard == letter->to_shard || w->settling || doors_is_mail(letter)) return false;
    if (letter->kind != LETTER_REQUEST && per_mille(w, p->letters_again)) make_late(w, letter_copy(letter));
    if (letter->kind == LETTER_NOTIFY && letters_are_lossy(w)) people_may_miss(w, letter);
    bool lost = per_mille(w, p->letters_lost), late = !lost && per_mille(w, p->letters_late);
    if (lost) letter_free(letter);
    else if (late) make_late(w, letter);
    return lost || late;
}

bool letters_are_lossy(const struct world *w) { return w->profile.letters_lost > 0 || w->profile.letters_late > 0; }

bool letters_answer_is_lost(struct world *w, uint16_t from, uint16_t home)
{
    return from != home && !w->settling && per_mille(w, w->profile.letters_lost);
}

static struct letter *take_late(struct world *w, uint16_t to)
{
    for (struct late **link = &w->late[to]; *link != NULL; link = &(*link)->next) {
        struct late *late = *link;
        if (!w->settling && late->step > report.step) continue;
        struct letter *letter = late->letter;
        *link = late->next;
        free(late);
        return letter;
    }
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------------------------------- */

void letters_create(struct world *w)
{
    enum result result = mailbox_create(&w->mailbox, world_shard_count(w), w->profile.letters_max);
    ASSERT(result == RESULT_OK);
}

void letters_destroy(struct world *w)
{
    bool settling = w->settling;
    struct letter *letter;
    mailbox_destroy(w->mailbox);
    w->settling = true; /* nothing is late any more */
    for (uint32_t to = 0; to < SHARDS_MAX; to++)
        while ((letter = box_take(&w->from_outside[to])) != NULL || (letter = take_late(w, (uint16_t)to)) != NULL) letter_free(letter);
    w->settling = settling;
}

void letters_lose(struct world *w)
{
    letters_destroy(w);
    letters_create(w);
    memset(w->newest_posted, 0, sizeof w->newest_posted);
    for (uint32_t i = 0; i < SHARDS_MAX; i++) w->deaf_until_step[i] = 0;
}

/* ---- on their way ----------------------------------------------------------------------------------------------------- */

void letters_post(struct world *w, struct letter *letter)
{
    ASSERT(letter->from_shard < world_shard_count(w) && letter->to_shard < world_shard_count(w));
    bool lost = (w->plant == PLANT_overflow_lost && letters_congested(w, letter->from_shard)) ||
                (w->plant == PLANT_never_asked_again && is_sent_again(w, letter));
    if (lost) letter_free(letter);
    else (void)mailbox_post(w->mailbox, letter->from_shard, letter->to_shard, letter);
}

struct letter *letters_take_any(struct world *w, uint16_t to)
{
    bool settling = w->settling;
    struct letter *letter = NULL;
    if (mailbox_take(w->mailbox, to, &letter, 1) == 1) return letter;
    w->settling = true; /* nothing is late any more */
    letter = take_late(w, to);
    w->settling = settling;
    return letter;
}

void letters_publish(struct world *w, uint16_t shard) { (void)mailbox_publish(w->mailbox, shard); }

bool letters_congested(const struct world *w, uint16_t shard) { return mailbox_congested(w->mailbox, shard); }

bool letters_under_way(const struct world *w, uint16_t to)
{
    return w->from_outside[to].first != NULL || w->late[to] != NULL || mailbox_readable(w->mailbox, to);
}

static void arrive(struct world *w, struct letter *letter)
{
    if (letters_are_lossy(w) && letter->from_shard != letter->to_shard && !doors_is_mail(letter)) letter = over_the_link(letter);
    report_hash_u64((uint64_t)letter->kind << 32 | (uint64_t)letter->from_shard << 8 | letter->to_shard, letter->len);
    TRACE("letter %d from %u to %u, %u bytes", (int)letter->kind, letter->from_shard, letter->to_shard, letter->len);
    if (doors_receive(w, letter)) return;
    shard_receive(w->nodes[letter->to_shard].shard, with_planted_bug(w, letter));
}

static bool takes_none(struct world *w, uint16_t to)
{
    if (w->settling) return false;
    if (dice_one_in(&w->dice, 2000)) w->deaf_until_step[to] = report.step + dice_below(&w->dice, DEAF_STEPS_MAX);
    return report.step < w->deaf_until_step[to];
}

bool letters_deliver(struct world *w, uint16_t to, uint32_t max)
{
    ASSERT(max > 0 && max <= TAKE_MAX);
    if (takes_none(w, to)) return false;
    bool listens = w->settling || !letters_congested(w, to);
    struct letter *letters[TAKE_MAX], *of_client = listens ? box_take(&w->from_outside[to]) : NULL;
    uint32_t count = mailbox_take(w->mailbox, to, letters, max);
    struct letter *late = take_late(w, to);
    for (uint32_t i = 0; i < count; i++)
        if (!goes_astray(w, letters[i])) arrive(w, letters[i]);
    if (late != NULL) arrive(w, late);
    if (of_client != NULL) arrive(w, of_client);
    return count > 0 || late != NULL || of_client != NULL;
}
