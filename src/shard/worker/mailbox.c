/* shard/worker/mailbox.c - see mailbox.h. What a worker posts to another in a turn is one chain of letters and takes one slot of the ring; the
 * small ones stand back to back in a parcel. Letters to oneself stay in a plain list. */
#include "shard/worker/mailbox.h"
#include "core/spsc.h"
#include "shard/engine/memory.h"
#include <stdatomic.h>

#define TURNS_AHEAD_MAX 256u /* of short turns while a peer has a long one; what further turns post waits for it in one chain */

struct chain { /* by letter->next */
    struct letter *first, *last;
};

struct pair { /* from -> to */
    struct spsc *ring; /* of chains: what was posted in a turn */

    /* the sender's */
    _Alignas(CACHE_LINE) struct chain posted; /* not published; on the diagonal the queue to oneself */
    struct parcel *parcel;            /* the last one of these letters; NULL: none */
    uint64_t posted_count;
    uint64_t taken_seen;
    bool held; /* the ring had no room for the chain */

    /* the receiver's */
    _Alignas(CACHE_LINE) struct letter *arrived; /* the rest of a chain */
    uint64_t taken;
    _Atomic uint64_t taken_told; /* the sender reads it */
};

struct mailbox {
    uint32_t workers;
    uint32_t letters_max;
    struct pair *pairs; /* [from * workers + to]; the diagonal has no ring */
    struct doorbell **bells;
    struct side { /* one cache line per worker */
        _Alignas(CACHE_LINE) bool over; /* some peer had too many letters when it was last looked */
        uint32_t next_peer;     /* where take goes on */
    } *sides;
};

static struct pair *pair_of(struct mailbox *m, uint32_t from, uint32_t to)
{
    ASSERT(from < m->workers && to < m->workers);
    return &m->pairs[from * m->workers + to];
}

static void *aligned_zeroed(size_t size)
{
    void *memory = aligned_alloc(CACHE_LINE, size);
    if (memory != NULL) memset(memory, 0, size);
    return memory;
}

enum result mailbox_create(struct mailbox **out, uint32_t workers, uint32_t letters_max)
{
    struct mailbox *m = memory_alloc(sizeof *m);
    m->workers = workers;
    m->letters_max = letters_max;
    m->pairs = aligned_zeroed((size_t)workers * workers * sizeof *m->pairs);
    m->bells = memory_alloc(workers * sizeof *m->bells);
    m->sides = aligned_zeroed(workers * sizeof *m->sides);
    enum result result = m->pairs == NULL || m->sides == NULL ? RESULT_NOMEM : RESULT_OK;
    for (uint32_t i = 0; i < workers * workers && result == RESULT_OK; i++)
        if (i / workers != i % workers) result = spsc_create(&m->pairs[i].ring, TURNS_AHEAD_MAX);
    *out = m;
    if (result != RESULT_OK) {
        mailbox_destroy(m);
        *out = NULL;
    }
    return result;
}

static void chain_add(struct chain *chain, struct letter *letter)
{
    letter->next = NULL;
    if (chain->last != NULL) chain->last->next = letter;
    else chain->first = letter;
    chain->last = letter;
}

/* From the front of what first is the rest of. */
static struct letter *chain_take(struct letter **first)
{
    struct letter *letter = *first;
    if (letter == NULL) return NULL;
    *first = letter->next;
    letter->next = NULL;
    return letter;
}

static void free_letters(struct letter *first)
{
    struct letter *letter;
    while ((letter = chain_take(&first)) != NULL) letter_free(letter);
}

void mailbox_destroy(struct mailbox *m)
{
    if (m == NULL) return;
    for (uint32_t i = 0; m->pairs != NULL && i < m->workers * m->workers; i++) {
        struct pair *pair = &m->pairs[i];
        void *chain;
        while (pair->ring != NULL && spsc_take(pair->ring, &chain, 1) == 1) free_letters(chain);
        free_letters(pair->arrived);
        free_letters(pair->posted.first);
        spsc_destroy(pair->ring);
    }
    free(m->pairs);
    free(m->bells);
    free(m->sides);
    free(m);
}

void mailbox_set_doorbell(struct mailbox *m, uint32_t worker, struct doorbell *bell) { m->bells[worker] = bell; }

/* ---- sending ---- */

static bool pair_over(const struct mailbox *m, struct pair *pair)
{
    if (pair->posted_count - pair->taken_seen <= m->letters_max) return pair->held;
    /* Relaxed: only a number, nothing is read because of it. */
    pair->taken_seen = atomic_load_explicit(&pair->taken_told, memory_order_relaxed);
    return pair->held || pair->posted_count - pair->taken_seen > m->letters_max;
}

static bool pair_post(struct mailbox *m, uint32_t from, uint32_t to, struct letter *letter)
{
    struct pair *pair = pair_of(m, from, to);
    chain_add(&pair->posted, letter);
    if (from == to) return true;
    pair->posted_count++;
    bool over = pair_over(m, pair);
    m->sides[from].over |= over;
    return !over;
}

bool mailbox_post_copy(struct mailbox *m, uint32_t from, uint32_t to, const struct letter *letter)
{
    bool parcelled = from != to && letter_fits_parcel(letter);
    return pair_post(m, from, to, parcelled ? parcel_add(&pair_of(m, from, to)->parcel, letter) : letter_copy(letter));
}

/* What a login says is wiped by who reads it: there is to be no second copy. */
bool mailbox_post(struct mailbox *m, uint32_t from, uint32_t to, struct letter *letter)
{
    bool parcelled = letter->kind == LETTER_REQUEST && letter->actor_len > 0 && from != to && letter_fits_parcel(letter);
    if (!parcelled) return pair_post(m, from, to, letter);
    bool within = mailbox_post_copy(m, from, to, letter);
    letter_free(letter);
    return within;
}

uint32_t mailbox_publish(struct mailbox *m, uint32_t from)
{
    uint32_t woken = 0;
    for (uint32_t to = 0; to < m->workers; to++) {
        struct pair *pair = pair_of(m, from, to);
        if (to == from || pair->posted.first == NULL) continue;
        pair->held = !spsc_try_stage(pair->ring, pair->posted.first);
        m->sides[from].over |= pair->held;
        if (pair->held) continue;
        pair->posted = (struct chain){0};
        pair->parcel = NULL; /* from here on the receiver's */
        if (spsc_publish(pair->ring) && m->bells[to] != NULL) woken += doorbell_ring(m->bells[to]);
    }
    return woken;
}

bool mailbox_congested(struct mailbox *m, uint32_t from)
{
    struct side *side = &m->sides[from];
    if (!side->over) return false;
    side->over = false;
    for (uint32_t to = 0; to < m->workers; to++) side->over |= to != from && pair_over(m, pair_of(m, from, to));
    return side->over;
}

/* ---- receiving ---- */

static uint32_t pair_take(struct pair *pair, struct letter **letters, uint32_t max)
{
    uint32_t count = 0;
    while (count < max) {
        void *chain;
        struct letter *letter = chain_take(&pair->arrived);
        if (letter != NULL) letters[count++] = letter;
        else if (spsc_take(pair->ring, &chain, 1) == 1) pair->arrived = chain;
        else break;
    }
    pair->taken += count;
    if (count > 0) atomic_store_explicit(&pair->taken_told, pair->taken, memory_order_relaxed);
    return count;
}

static uint32_t own_take(struct pair *pair, struct letter **letters, uint32_t max)
{
    uint32_t count = 0;
    struct letter *letter;
    while (count < max && (letter = chain_take(&pair->posted.first)) != NULL) letters[count++] = letter;
    if (pair->posted.first == NULL) pair->posted.last = NULL;
    return count;
}

uint32_t mailbox_take(struct mailbox *m, uint32_t to, struct letter **letters, uint32_t max)
{
    uint32_t own_max = m->workers > 1 ? (max + 1) / 2 : max; /* the queue to oneself must not starve the peers */
    uint32_t count = own_take(pair_of(m, to, to), letters, own_max);
    uint32_t peers_left = m->workers - 1;
    for (uint32_t n = 0; n < m->workers; n++) {
        uint32_t from = (m->sides[to].next_peer + n) % m->workers;
        if (from == to) continue;
        uint32_t share = (max - count + peers_left - 1) / peers_left; /* of what is left, and of what the ones before did not use */
        peers_left--;
        count += pair_take(pair_of(m, from, to), letters + count, share);
    }
    m->sides[to].next_peer = (m->sides[to].next_peer + 1) % m->workers;
    return count;
}

bool mailbox_readable(struct mailbox *m, uint32_t to)
{
    if (pair_of(m, to, to)->posted.first != NULL) return true;
    for (uint32_t from = 0; from < m->workers; from++) {
        struct pair *pair = pair_of(m, from, to);
        if (from != to && (pair->arrived != NULL || spsc_readable(pair->ring))) return true;
    }
    return false;
}

uint64_t mailbox_memory_bytes(const struct mailbox *m, uint32_t from)
{
    uint64_t bytes = sizeof *m->sides + m->workers * sizeof *m->pairs;
    for (uint32_t to = 0; to < m->workers; to++)
        if (to != from) bytes += spsc_memory_bytes(m->pairs[from * m->workers + to].ring);
    return bytes;
}
