/* shard/mailbox.c - see mailbox.h. Letters to oneself stay in a plain list. */
#include "shard/mailbox.h"
#include "core/spsc.h"
#include "shard/memory.h"

struct queue {
    struct letter *first, *last;
};

struct pair { /* from -> to */
    struct spsc *ring;
    struct queue overflow; /* the sender's */
};

struct mailbox {
    uint32_t workers;
    struct pair *pairs;       /* [from * workers + to]; the diagonal has no ring, its overflow list is the queue to oneself */
    struct doorbell **bells;
    struct side {             /* one cache line per worker */
        _Alignas(64) uint32_t overflowed; /* letters waiting in overflow lists */
        uint32_t next_peer;               /* where take goes on */
    } *sides;
};

static struct pair *pair_of(struct mailbox *m, uint32_t from, uint32_t to)
{
    ASSERT(from < m->workers && to < m->workers);
    return &m->pairs[from * m->workers + to];
}

enum result mailbox_create(struct mailbox **out, uint32_t workers, uint32_t slots)
{
    struct mailbox *m = memory_alloc(sizeof *m);
    m->workers = workers;
    m->pairs = memory_alloc((size_t)workers * workers * sizeof *m->pairs);
    m->bells = memory_alloc(workers * sizeof *m->bells);
    m->sides = aligned_alloc(64, workers * sizeof *m->sides);
    if (m->sides != NULL) memset(m->sides, 0, workers * sizeof *m->sides);
    enum result result = m->sides == NULL ? RESULT_NOMEM : RESULT_OK;
    for (uint32_t i = 0; i < workers * workers && result == RESULT_OK; i++)
        if (i / workers != i % workers) result = spsc_create(&m->pairs[i].ring, slots);
    *out = m;
    if (result != RESULT_OK) {
        mailbox_destroy(m);
        *out = NULL;
    }
    return result;
}

static void queue_add(struct queue *q, struct letter *letter)
{
    letter->next = NULL;
    if (q->last != NULL) q->last->next = letter;
    else q->first = letter;
    q->last = letter;
}

static struct letter *queue_take(struct queue *q)
{
    struct letter *letter = q->first;
    if (letter == NULL) return NULL;
    q->first = letter->next;
    if (q->first == NULL) q->last = NULL;
    letter->next = NULL;
    return letter;
}

void mailbox_destroy(struct mailbox *m)
{
    if (m == NULL) return;
    for (uint32_t i = 0; i < m->workers * m->workers; i++) {
        struct letter *letter;
        void *item;
        while (m->pairs[i].ring != NULL && spsc_take(m->pairs[i].ring, &item, 1) == 1) letter_free(item);
        while ((letter = queue_take(&m->pairs[i].overflow)) != NULL) letter_free(letter);
        spsc_destroy(m->pairs[i].ring);
    }
    free(m->pairs);
    free(m->bells);
    free(m->sides);
    free(m);
}

void mailbox_set_doorbell(struct mailbox *m, uint32_t worker, struct doorbell *bell) { m->bells[worker] = bell; }

bool mailbox_post(struct mailbox *m, uint32_t from, uint32_t to, struct letter *letter)
{
    struct pair *pair = pair_of(m, from, to);
    if (from == to) {
        queue_add(&pair->overflow, letter);
        return true;
    }
    if (pair->overflow.first == NULL && spsc_try_stage(pair->ring, letter)) return true;
    queue_add(&pair->overflow, letter);
    m->sides[from].overflowed++;
    return false;
}

static void overflow_stage(struct mailbox *m, struct pair *pair, uint32_t from)
{
    while (pair->overflow.first != NULL && spsc_try_stage(pair->ring, pair->overflow.first)) {
        queue_take(&pair->overflow); /* staged is not published: touching `next` here is still ours alone */
        m->sides[from].overflowed--;
    }
}

uint32_t mailbox_publish(struct mailbox *m, uint32_t from)
{
    uint32_t woken = 0;
    for (uint32_t to = 0; to < m->workers; to++) {
        if (to == from) continue;
        struct pair *pair = pair_of(m, from, to);
        overflow_stage(m, pair, from);
        if (spsc_publish(pair->ring) && m->bells[to] != NULL) woken += doorbell_ring(m->bells[to]);
    }
    return woken;
}

bool mailbox_congested(const struct mailbox *m, uint32_t from) { return m->sides[from].overflowed > 0; }

uint32_t mailbox_take(struct mailbox *m, uint32_t to, struct letter **letters, uint32_t max)
{
    uint32_t own_max = m->workers > 1 ? (max + 1) / 2 : max; /* the queue to oneself must not starve the peers */
    uint32_t count = 0;
    struct letter *own;
    while (count < own_max && (own = queue_take(&pair_of(m, to, to)->overflow)) != NULL) letters[count++] = own;
    for (uint32_t n = 0; n < m->workers && count < max; n++) {
        uint32_t from = (m->sides[to].next_peer + n) % m->workers;
        if (from == to) continue;
        void *items[64];
        uint32_t want = max - count < COUNT_OF(items) ? max - count : (uint32_t)COUNT_OF(items);
        uint32_t got = spsc_take(pair_of(m, from, to)->ring, items, want);
        for (uint32_t i = 0; i < got; i++) letters[count++] = items[i];
    }
    m->sides[to].next_peer = (m->sides[to].next_peer + 1) % m->workers;
    return count;
}

bool mailbox_readable(struct mailbox *m, uint32_t to)
{
    if (pair_of(m, to, to)->overflow.first != NULL) return true;
    for (uint32_t from = 0; from < m->workers; from++)
        if (from != to && spsc_readable(pair_of(m, from, to)->ring)) return true;
    return false;
}
