/* shard/stream.c - the outboxes and positions of one shard.
 * Happy path: emit -> entry in memory and in the batch's puts -> pump posts it -> ack -> entry freed, its key deleted.
 * After a restart the stored entries are loaded, those of replayed commands are emitted again under the same index (the put is absolute), and
 * everything is posted from the first one. */
#include "shard/stream.h"
#include "shard/memory.h"
#include "shard/records.h"

struct entry {
    struct entry *next;
    uint64_t index;
    uint16_t kind;
    uint32_t len;
    uint8_t payload[];
};

struct peer {
    struct entry *first, *last;  /* not acknowledged, ascending, without holes */
    struct entry *unsent;        /* the first not yet posted; NULL: all are */
    uint64_t emitted;            /* index of the last entry ever emitted */
    uint64_t posted;             /* index of the last entry posted since start */
    uint64_t acknowledged;
    uint64_t applied;            /* from this peer to us */
    uint32_t count;
    bool position_changed;
};

struct stream_set {
    uint16_t shard, shard_count;
    uint32_t outbox_entries_max;
    uint64_t waiting;
    bool changed; /* some peer's position */
    struct peer peers[];
};

enum result stream_set_create(struct stream_set **out, uint16_t shard, uint16_t shard_count, uint32_t outbox_entries_max)
{
    struct stream_set *s = calloc(1, sizeof *s + shard_count * sizeof(struct peer));
    *out = s;
    if (s == NULL) return RESULT_NOMEM;
    s->shard = shard;
    s->shard_count = shard_count;
    s->outbox_entries_max = outbox_entries_max;
    return RESULT_OK;
}

static void peer_free_through(struct stream_set *s, struct peer *p, uint64_t index)
{
    while (p->first != NULL && p->first->index <= index) {
        struct entry *e = p->first;
        if (p->unsent == e) p->unsent = e->next;
        p->first = e->next;
        if (p->first == NULL) p->last = NULL;
        p->count--;
        s->waiting--;
        free(e);
    }
}

void stream_set_destroy(struct stream_set *s)
{
    if (s == NULL) return;
    for (uint16_t i = 0; i < s->shard_count; i++) peer_free_through(s, &s->peers[i], UINT64_MAX);
    free(s);
}

static struct peer *peer_of(struct stream_set *s, uint16_t peer)
{
    ASSERT(peer < s->shard_count && peer != s->shard);
    return &s->peers[peer];
}

static void peer_append(struct stream_set *s, struct peer *p, uint64_t index, uint16_t kind, struct slice payload)
{
    struct entry *e = memory_alloc(sizeof *e + payload.len);
    e->index = index;
    e->kind = kind;
    e->len = payload.len;
    if (payload.len > 0) memcpy(e->payload, payload.data, payload.len);
    if (p->last != NULL) p->last->next = e;
    else p->first = e;
    p->last = e;
    if (p->unsent == NULL) p->unsent = e;
    p->count++;
    s->waiting++;
}

static struct key outbox_key(uint16_t peer, uint64_t index) { return key_two(KEY_OUTBOX, peer, index); }

void stream_emit(struct stream_set *s, uint16_t peer, enum relay_kind kind, struct slice payload, struct effects *effects)
{
    struct peer *p = peer_of(s, peer);
    p->emitted++;
    p->position_changed = s->changed = true;
    peer_append(s, p, p->emitted, (uint16_t)kind, payload);
    struct key key = outbox_key(peer, p->emitted);
    writer_reset(&effects->scratch);
    writer_u16(&effects->scratch, (uint16_t)kind);
    writer_raw(&effects->scratch, payload.data, payload.len);
    effects_put(effects, &key, writer_slice(&effects->scratch));
}

void stream_mark_applied(struct stream_set *s, uint16_t peer, uint64_t index)
{
    struct peer *p = peer_of(s, peer);
    ASSERT(index == p->applied + 1);
    p->applied = index;
    p->position_changed = s->changed = true;
}

uint64_t stream_applied(const struct stream_set *s, uint16_t peer)
{
    ASSERT(peer < s->shard_count);
    return s->peers[peer].applied;
}

void stream_end_batch(struct stream_set *s, struct effects *effects)
{
    if (!s->changed) return;
    s->changed = false;
    for (uint16_t i = 0; i < s->shard_count; i++) {
        struct peer *p = &s->peers[i];
        if (!p->position_changed) continue;
        p->position_changed = false;
        struct key key = key_one(KEY_STREAM, i);
        struct stream_record record = {.emitted = p->emitted, .applied = p->applied};
        EFFECTS_PUT(effects, &key, stream, &record);
    }
}

bool stream_full(const struct stream_set *s)
{
    if (s->waiting < s->outbox_entries_max) return false;
    for (uint16_t i = 0; i < s->shard_count; i++)
        if (s->peers[i].count >= s->outbox_entries_max) return true;
    return false;
}

/* One letter of as many unsent entries as the window and the size allow; NULL when there is none to send. */
static struct letter *peer_letter(struct stream_set *s, uint16_t number)
{
    struct peer *p = &s->peers[number];
    struct writer w;
    writer_init(&w, 0);
    while (p->unsent != NULL && p->unsent->index <= p->acknowledged + STREAM_WINDOW &&
           (w.len == 0 || w.len + p->unsent->len < STREAM_LETTER_BYTES_MAX)) {
        struct entry *e = p->unsent;
        writer_u64(&w, e->index);
        writer_u16(&w, e->kind);
        writer_bytes(&w, slice_of(e->payload, e->len));
        p->posted = e->index;
        p->unsent = e->next;
    }
    struct letter *letter =
        w.len == 0 ? NULL : letter_make(LETTER_STREAM, s->shard, number, NULL, writer_slice(&w));
    writer_deinit(&w);
    return letter;
}

void stream_pump(struct stream_set *s, void (*post)(void *context, struct letter *letter), void *context)
{
    if (s->waiting == 0) return;
    for (uint16_t i = 0; i < s->shard_count; i++) {
        struct letter *letter;
        while ((letter = peer_letter(s, i)) != NULL) post(context, letter);
    }
}

void stream_on_ack(struct stream_set *s, uint16_t peer, uint64_t index, struct effects *effects)
{
    struct peer *p = peer_of(s, peer);
    ASSERT(index <= p->emitted);
    for (const struct entry *e = p->first; e != NULL && e->index <= index; e = e->next) {
        struct key key = outbox_key(peer, e->index);
        effects_delete(effects, &key);
    }
    peer_free_through(s, p, index);
    if (index > p->acknowledged) p->acknowledged = index;
}

bool stream_load_position(struct stream_set *s, uint16_t peer, struct slice value)
{
    struct stream_record record;
    struct cursor c = cursor_of(value);
    if (peer >= s->shard_count || peer == s->shard || !stream_record_read(&record, &c) || !cursor_done(&c)) return false;
    struct peer *p = &s->peers[peer];
    p->emitted = record.emitted;
    p->applied = record.applied;
    p->acknowledged = record.emitted; /* lowered by stream_load_entry to what is still there */
    return true;
}

bool stream_load_entry(struct stream_set *s, uint16_t peer, uint64_t index, struct slice value)
{
    if (peer >= s->shard_count || peer == s->shard) return false;
    struct peer *p = &s->peers[peer];
    struct cursor c = cursor_of(value);
    uint16_t kind = cursor_u16(&c);
    bool follows = p->last == NULL || index == p->last->index + 1;
    if (c.bad || index == 0 || index > p->emitted || !follows) return false;
    if (p->first == NULL) p->acknowledged = index - 1;
    peer_append(s, p, index, kind, slice_of(c.at, cursor_left(&c)));
    return true;
}

uint64_t stream_waiting(const struct stream_set *s) { return s->waiting; }
