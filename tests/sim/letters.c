/* tests/sim/letters.c - see letters.h. */
#include "sim/letters.h"
#include "core/check.h"
#include "shard/worker/mailbox.h"
#include "shard/domain/records.h"
#include "shard/engine/shard_internal.h"
#include <stdlib.h>

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

/* Planted bug: the outbox and the position change though no command says so. */
static void acknowledge_at_once(struct world *w, const struct letter *letter)
{
    struct shard *s = w->nodes[letter->to_shard].shard;
    if (s->damage == NULL) stream_acknowledge(s->machine->streams, letter->from_shard, letter->number, &s->effects);
}

static struct letter *with_planted_bug(struct world *w, struct letter *letter)
{
    if (w->plant == PLANT_repeats_applied && letter->kind == LETTER_STREAM) return renumber_entries(w, letter);
    if (w->plant == PLANT_acks_not_logged && letter->kind == LETTER_STREAM_ACK) acknowledge_at_once(w, letter);
    if (w->plant == PLANT_repeats_applied && letter->kind == LETTER_STREAM_ACK && letter->number > 0)
        letter->number = w->renumberings[letter->to_shard][letter->from_shard].source_index[letter->number - 1];
    return letter;
}

/* Planted bug: of two letters of the same shard that arrive together the second one is read first. */
static void let_one_overtake(struct world *w, struct letter **letters, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        if (letters[i]->from_shard == letters[i - 1]->from_shard && dice_one_in(&w->dice, 10)) {
            struct letter *first = letters[i - 1];
            letters[i - 1] = letters[i];
            letters[i] = first;
        }
}

/* ---- life ------------------------------------------------------------------------------------------------------------- */

void letters_create(struct world *w)
{
    enum result result = mailbox_create(&w->mailbox, world_shard_count(w), w->profile.letters_max);
    ASSERT(result == RESULT_OK);
}

void letters_destroy(struct world *w)
{
    mailbox_destroy(w->mailbox);
    struct letter *letter;
    for (uint32_t to = 0; to < SHARDS_MAX; to++)
        while ((letter = box_take(&w->from_outside[to])) != NULL) letter_free(letter);
}

void letters_lose(struct world *w)
{
    letters_destroy(w);
    letters_create(w);
    for (uint32_t i = 0; i < SHARDS_MAX; i++) w->deaf_until_step[i] = 0;
}

/* ---- on their way ----------------------------------------------------------------------------------------------------- */

void letters_post(struct world *w, struct letter *letter)
{
    ASSERT(letter->from_shard < world_shard_count(w) && letter->to_shard < world_shard_count(w));
    if (w->plant == PLANT_overflow_lost && letters_congested(w, letter->from_shard)) letter_free(letter);
    else (void)mailbox_post(w->mailbox, letter->from_shard, letter->to_shard, letter);
}

void letters_publish(struct world *w, uint16_t shard) { (void)mailbox_publish(w->mailbox, shard); }

bool letters_congested(const struct world *w, uint16_t shard) { return mailbox_congested(w->mailbox, shard); }

bool letters_under_way(const struct world *w, uint16_t to)
{
    return w->from_outside[to].first != NULL || mailbox_readable(w->mailbox, to);
}

static void arrive(struct world *w, struct letter *letter)
{
    report_hash_u64((uint64_t)letter->kind << 32 | (uint64_t)letter->from_shard << 8 | letter->to_shard, letter->len);
    TRACE("letter %d from %u to %u, %u bytes", (int)letter->kind, letter->from_shard, letter->to_shard, letter->len);
    if (w->plant == PLANT_stream_lost && letter->kind == LETTER_STREAM && dice_one_in(&w->dice, 20)) letter_free(letter);
    else shard_receive(w->nodes[letter->to_shard].shard, with_planted_bug(w, letter));
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
    if (w->plant == PLANT_letters_overtake) let_one_overtake(w, letters, count);
    for (uint32_t i = 0; i < count; i++) arrive(w, letters[i]);
    if (of_client != NULL) arrive(w, of_client);
    return count > 0 || of_client != NULL;
}
