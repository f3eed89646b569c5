/* shard/engine/stream.c - the outboxes and positions of one shard.
 * Happy path: emit -> the open bundle -> end of the batch: a put and a letter -> pump posts it -> the peer has it -> that is in the log ->
 * its key deleted.
 * What was posted is not kept in memory, for letters are rarely lost: it is read again. After a restart the stored bundles are loaded, the
 * entries of replayed commands are emitted again under the same numbers, and everything is posted from the first one. */
#include "shard/engine/stream.h"
#include "shard/engine/domain.h"
#include "shard/engine/memory.h"
#include "shard/engine/state_hash.h"

struct bundle { /* closed, not acknowledged */
    struct bundle *next;
    uint64_t first, last;
    struct letter *letter; /* owned; NULL: it was posted, and only the store has it */
};

struct open_bundle { /* entries of the batch being applied, the last ones emitted */
    const struct relay_row *row;
    uint32_t count;
    struct writer entries;
    struct writer stored; /* the entries as the outbox keeps them, where that is less */
};

struct peer {
    struct open_bundle open;
    struct bundle *first, *last;  /* ascending, without holes */
    struct bundle *unsent;        /* the first to be posted next; NULL: all are */
    uint64_t emitted;             /* index of the last entry ever emitted */
    uint64_t acknowledged, logged, heard; /* rising, see stream.h */
    uint64_t received;            /* heard of: what the peer has taken in; less than before when it says so to a question */
    uint64_t progress;            /* heard and received together, when they last rose as far as was seen ... */
    uint64_t silent_since_ms;     /* ... and since when they did not, while something is under way; 0: nothing is */
    uint32_t patience_ms;
    bool asking;                  /* one bundle was posted again, and nothing more is before an answer comes */
    bool asked;                   /* that one is posted */
    bool reading;                 /* from the outbox; or that has failed */
    bool reading_failed;
    uint64_t applied;             /* from this peer to us */
    uint64_t count;               /* entries not acknowledged, the open bundle's too */
    bool changed;                 /* since the last end of a batch */
    bool acknowledged_known;      /* recovery: the record says it */
};

struct stream_set {
    const struct domain *domain;
    uint16_t shard, shard_count;
    uint32_t outbox_entries_max;
    uint64_t waiting; /* sum of the peers' counts */
    bool changed;     /* some peer */
    bool has_news;    /* some peer was heard farther than is logged */
    bool lacks;       /* some bundle that is to be posted is not in memory */
    struct peer peers[];
};

enum result stream_set_create(struct stream_set **out, const struct domain *domain, uint16_t shard, uint16_t shard_count,
                              uint32_t outbox_entries_max)
{
    struct stream_set *s = calloc(1, sizeof *s + shard_count * sizeof(struct peer));
    *out = s;
    if (s == NULL) return RESULT_NOMEM;
    s->domain = domain;
    s->shard = shard;
    s->shard_count = shard_count;
    s->outbox_entries_max = outbox_entries_max;
    for (uint16_t i = 0; i < shard_count; i++) {
        writer_init(&s->peers[i].open.entries, 0);
        writer_init(&s->peers[i].open.stored, 0);
    }
    return RESULT_OK;
}

static void bundle_free_first(struct peer *p)
{
    struct bundle *b = p->first;
    if (p->unsent == b) p->unsent = b->next;
    p->first = b->next;
    if (p->first == NULL) p->last = NULL;
    if (b->letter != NULL) letter_free(b->letter);
    free(b);
}

void stream_set_destroy(struct stream_set *s)
{
    if (s == NULL) return;
    for (uint16_t i = 0; i < s->shard_count; i++) {
        while (s->peers[i].first != NULL) bundle_free_first(&s->peers[i]);
        writer_deinit(&s->peers[i].open.entries);
        writer_deinit(&s->peers[i].open.stored);
    }
    free(s);
}

static struct peer *peer_of(struct stream_set *s, uint16_t peer)
{
    ASSERT(peer < s->shard_count && peer != s->shard);
    return &s->peers[peer];
}

static void peer_changed(struct stream_set *s, struct peer *p) { p->changed = s->changed = true; }

static void peer_count(struct stream_set *s, struct peer *p, uint64_t count)
{
    p->count += count;
    s->waiting += count;
}

/* Takes the letter. */
static void peer_add(struct peer *p, const struct relay_record *relay, struct letter *letter)
{
    struct bundle *b = memory_alloc(sizeof *b);
    *b = (struct bundle){.first = relay->first, .last = relay->first + relay->count - 1, .letter = letter};
    if (p->last != NULL) p->last->next = b;
    else p->first = b;
    p->last = b;
    if (p->unsent == NULL) p->unsent = b;
}

static struct key outbox_key(uint16_t peer, uint64_t first) { return key_two(KEY_OUTBOX, peer, first); }

static void outbox_put(const struct relay_record *relay, uint16_t peer, const struct open_bundle *open, struct effects *effects)
{
    struct relay_record kept = *relay;
    if (open->row->stored_kind != 0) {
        kept.kind = open->row->stored_kind;
        kept.entries = writer_slice(&open->stored);
    }
    struct key key = outbox_key(peer, relay->first);
    uint32_t size = relay_record_size(&kept);
    struct writer value = {.data = store_batch_put_open(&effects->puts, key_slice(&key), size), .capacity = size, .size_max = size};
    relay_record_write(&value, &kept);
    ASSERT(value.len == size && !value.failed);
}

/* Of the open bundle, as the outbox keeps it. */
static uint64_t entries_hash(const struct open_bundle *open, uint16_t peer, uint64_t first)
{
    struct cursor entries = cursor_of(writer_slice(open->row->stored_kind != 0 ? &open->stored : &open->entries));
    uint64_t sum = 0;
    while (cursor_left(&entries) > 0) sum += state_hash_record(KEY_OUTBOX, peer, first++, state_hash_bytes(cursor_bytes(&entries)));
    return sum;
}

/* The open bundle becomes a put and a letter. */
static void bundle_close(struct stream_set *s, uint16_t peer, struct effects *effects)
{
    struct peer *p = peer_of(s, peer);
    struct relay_record relay = {.source = s->shard,
                                 .first = p->emitted - p->open.count + 1,
                                 .count = p->open.count,
                                 .kind = p->open.row->kind,
                                 .entries = writer_slice(&p->open.entries)};
    uint32_t size = relay_record_size(&relay);
    struct letter *letter = letter_create(LETTER_STREAM, s->shard, peer, size);
    struct writer bytes = {.data = letter->bytes, .capacity = size, .size_max = size};
    relay_record_write(&bytes, &relay);
    ASSERT(bytes.len == size && !bytes.failed);
    outbox_put(&relay, peer, &p->open, effects);
    effects->records_appended += entries_hash(&p->open, peer, relay.first);
    peer_add(p, &relay, letter);
    p->open.count = 0;
    writer_reset(&p->open.entries);
    writer_reset(&p->open.stored);
}

static bool bundle_takes(const struct open_bundle *open, const struct relay_row *row, uint32_t len)
{
    if (open->count == 0) return true;
    return open->row == row && row->bundled && open->count < STREAM_BUNDLE_ENTRIES_MAX &&
           open->entries.len + len <= STREAM_BUNDLE_BYTES_MAX;
}

uint8_t *stream_emit(struct stream_set *s, uint16_t peer, uint16_t kind, uint32_t len, struct slice stored, struct effects *effects)
{
    struct peer *p = peer_of(s, peer);
    const struct relay_row *row = domain_relay(s->domain, kind);
    ASSERT(row != NULL && row->kind == kind && (stored.len > 0) == (row->stored_kind != 0));
    if (!bundle_takes(&p->open, row, len)) bundle_close(s, peer, effects);
    p->open.row = row;
    p->open.count++;
    p->emitted++;
    peer_count(s, p, 1);
    peer_changed(s, p);
    if (stored.len > 0) writer_bytes(&p->open.stored, stored);
    writer_u32(&p->open.entries, len);
    uint8_t *at = writer_reserve(&p->open.entries, len);
    ASSERT(at != NULL);
    return at;
}

void stream_mark_applied(struct stream_set *s, uint16_t peer, uint64_t first, uint32_t count)
{
    struct peer *p = peer_of(s, peer);
    ASSERT(first == p->applied + 1 && count > 0);
    p->applied += count;
    peer_changed(s, p);
}

uint64_t stream_applied(const struct stream_set *s, uint16_t peer)
{
    ASSERT(peer < s->shard_count);
    return s->peers[peer].applied;
}

struct stream_position stream_position(const struct stream_set *s, uint16_t peer)
{
    ASSERT(peer < s->shard_count && peer != s->shard);
    const struct peer *p = &s->peers[peer];
    return (struct stream_position){.emitted = p->emitted, .acknowledged = p->acknowledged, .applied = p->applied};
}

void stream_end_batch(struct stream_set *s, struct effects *effects)
{
    if (!s->changed) return;
    s->changed = false;
    for (uint16_t i = 0; i < s->shard_count; i++) {
        struct peer *p = &s->peers[i];
        if (!p->changed) continue;
        p->changed = false;
        if (p->open.count > 0) bundle_close(s, i, effects);
        struct key key = key_one(KEY_STREAM, i);
        struct stream_record record = {.emitted = p->emitted, .applied = p->applied, .acknowledged = p->acknowledged};
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

/* ---- posting ---- */

/* False: the rest of the peer's waits. */
static bool peer_post(struct stream_set *s, struct peer *p, void (*post)(void *context, struct letter *letter), void *context)
{
    struct bundle *b = p->unsent;
    if (b == NULL || b->last > p->heard + STREAM_WINDOW || p->asked) return false;
    if (b->letter == NULL) {
        s->lacks |= !p->reading;
        return false;
    }
    struct letter *letter = b->letter;
    b->letter = NULL;
    p->unsent = b->next;
    p->asked = p->asking;
    post(context, letter);
    return true;
}

void stream_pump(struct stream_set *s, void (*post)(void *context, struct letter *letter), void *context)
{
    if (s->waiting == 0) return;
    for (uint16_t i = 0; i < s->shard_count; i++)
        while (peer_post(s, &s->peers[i], post, context)) continue;
}

/* The next to be posted is the one behind entry `index`. */
static void peer_go_to(struct peer *p, uint64_t index)
{
    struct bundle *b = p->first;
    while (b != NULL && b->last <= index) b = b->next;
    p->unsent = b;
}

/* Something was posted, and not all of it is applied there as far as is known. */
static bool peer_awaits(const struct peer *p)
{
    if (p->first == NULL) return false;
    uint64_t posted = p->unsent == NULL ? p->last->last : p->unsent->first - 1;
    return p->asking || p->heard < posted;
}

/* True: it has to be asked. */
static bool peer_is_silent(struct peer *p, uint64_t now_ms)
{
    uint64_t progress = p->heard + p->received;
    if (!peer_awaits(p)) {
        p->silent_since_ms = 0;
        return false;
    }
    if (p->silent_since_ms == 0 || progress != p->progress || now_ms < p->silent_since_ms) {
        p->silent_since_ms = now_ms;
        p->progress = progress;
        p->patience_ms = STREAM_RESEND_MS_MIN;
    }
    if (now_ms - p->silent_since_ms < p->patience_ms) return false;
    p->silent_since_ms = now_ms;
    p->patience_ms = p->patience_ms < STREAM_RESEND_MS_MAX / 2 ? 2 * p->patience_ms : STREAM_RESEND_MS_MAX;
    return true;
}

uint32_t stream_ask_again(struct stream_set *s, uint64_t now_ms)
{
    uint32_t count = 0;
    for (uint16_t i = 0; i < s->shard_count && s->waiting > 0; i++) {
        struct peer *p = &s->peers[i];
        if (p->reading_failed) p->reading = p->reading_failed = false;
        if (!peer_is_silent(p, now_ms)) continue;
        p->asking = true;
        p->asked = false;
        peer_go_to(p, p->heard);
        count++;
    }
    return count;
}

/* ---- reading again what was posted ---- */

bool stream_lacks(const struct stream_set *s) { return s->lacks; }

bool stream_begin_reading(struct stream_set *s, uint16_t peer, uint64_t *first)
{
    struct peer *p = &s->peers[peer];
    s->lacks = false; /* the next pump looks again */
    if (p->reading || p->unsent == NULL || p->unsent->letter != NULL) return false;
    p->reading = true;
    *first = p->unsent->first;
    return true;
}

void stream_supply(struct stream_set *s, uint16_t peer, uint64_t first, struct slice bundle)
{
    struct bundle *b = peer_of(s, peer)->first;
    while (b != NULL && b->first < first) b = b->next;
    if (b == NULL || b->first != first || b->letter != NULL) return; /* it was acknowledged meanwhile */
    b->letter = letter_make(LETTER_STREAM, s->shard, peer, NULL, bundle);
}

void stream_end_reading(struct stream_set *s, uint16_t peer, bool well)
{
    struct peer *p = peer_of(s, peer);
    p->reading_failed = !well;
    p->reading = !well;
}

/* ---- acknowledgements ---- */

bool stream_hear(struct stream_set *s, uint16_t peer, const struct stream_answer *answer)
{
    if (peer >= s->shard_count || peer == s->shard) return false;
    struct peer *p = &s->peers[peer];
    if (answer->received > p->emitted || answer->applied > answer->received) return false;
    if (answer->applied > p->heard) p->heard = answer->applied;
    if (p->heard > p->logged) s->has_news = true;
    bool goes_back = p->asked || (answer->gap && answer->received >= p->received); /* else what it lacked is under way, or there */
    if (p->asked || answer->received > p->received) p->received = answer->received; /* asked: it may have lost what it had received */
    if (p->received < p->heard) p->received = p->heard;
    if (!goes_back) return true;
    p->asking = p->asked = false;
    peer_go_to(p, p->received);
    return true;
}

bool stream_has_news(const struct stream_set *s) { return s->has_news; }

bool stream_news_press(const struct stream_set *s)
{
    for (uint16_t i = 0; i < s->shard_count; i++)
        if (s->peers[i].heard > s->peers[i].logged && s->peers[i].count > s->outbox_entries_max / 2) return true;
    return false;
}

void stream_news(const struct stream_set *s, struct writer *acks)
{
    uint32_t left = STREAM_NEWS_MAX;
    for (uint16_t i = 0; i < s->shard_count && left > 0; i++) {
        if (s->peers[i].heard == s->peers[i].logged) continue;
        acknowledged_record_write(acks, &(struct acknowledged_record){.peer = i, .index = s->peers[i].heard});
        left--;
    }
}

void stream_news_logged(struct stream_set *s)
{
    uint32_t left = STREAM_NEWS_MAX;
    s->has_news = false;
    for (uint16_t i = 0; i < s->shard_count; i++) {
        if (s->peers[i].heard == s->peers[i].logged) continue;
        s->has_news = left == 0;
        if (s->has_news) return;
        s->peers[i].logged = s->peers[i].heard;
        left--;
    }
}

static void peer_set_acknowledged(struct peer *p, uint64_t index)
{
    p->acknowledged = index;
    if (p->logged < index) p->logged = index;
    if (p->heard < index) p->heard = index;
    if (p->received < index) p->received = index;
}

void stream_acknowledge(struct stream_set *s, uint16_t peer, uint64_t index, struct effects *effects)
{
    struct peer *p = peer_of(s, peer);
    ASSERT(index <= p->emitted);
    if (index <= p->acknowledged) return;
    if (index > p->emitted - p->open.count) bundle_close(s, peer, effects); /* a replay has drawn the batches wider */
    peer_set_acknowledged(p, index);
    peer_changed(s, p);
    while (p->first != NULL && p->first->last <= index) { /* of a bundle known in part the rest is under way */
        struct key key = outbox_key(peer, p->first->first);
        effects_delete(effects, &key);
        uint64_t count = p->first->last - p->first->first + 1;
        p->count -= count;
        s->waiting -= count;
        bundle_free_first(p);
    }
}

/* ---- recovery ---- */

bool stream_load_position(struct stream_set *s, uint16_t peer, struct slice value)
{
    struct stream_record record;
    struct cursor c = cursor_of(value);
    if (peer >= s->shard_count || peer == s->shard || !stream_record_read(&record, &c) || !cursor_done(&c)) return false;
    if (record.acknowledged > record.emitted) return false;
    struct peer *p = &s->peers[peer];
    p->emitted = record.emitted;
    p->applied = record.applied;
    p->acknowledged_known = record.acknowledged > 0;
    p->acknowledged = p->acknowledged_known ? record.acknowledged : record.emitted; /* or lowered by stream_load_bundle to what is there */
    return true;
}

bool stream_bundle_is_whole(const struct relay_record *relay)
{
    struct cursor c = cursor_of(relay->entries);
    uint32_t count = 0;
    while (cursor_left(&c) > 0 && !c.bad) {
        (void)cursor_bytes(&c);
        count++;
    }
    return !c.bad && count == relay->count && count > 0;
}

bool stream_load_bundle(struct stream_set *s, uint16_t peer, uint64_t first, struct slice value)
{
    if (peer >= s->shard_count || peer == s->shard) return false;
    struct peer *p = &s->peers[peer];
    struct relay_record relay;
    struct cursor c = cursor_of(value);
    if (!relay_record_read(&relay, &c) || !cursor_done(&c) || !stream_bundle_is_whole(&relay)) return false;
    bool follows = p->last == NULL || first == p->last->last + 1;
    bool emitted = first > 0 && first <= p->emitted && relay.count <= p->emitted - first + 1;
    if (relay.source != s->shard || relay.first != first || !follows || !emitted) return false;
    if (p->first == NULL && !p->acknowledged_known) p->acknowledged = first - 1;
    if (p->first == NULL && (first > p->acknowledged + 1 || first + relay.count - 1 <= p->acknowledged)) return false;
    peer_add(p, &relay, letter_make(LETTER_STREAM, s->shard, peer, NULL, value));
    peer_count(s, p, relay.count);
    return true;
}

bool stream_load_end(struct stream_set *s)
{
    for (uint16_t i = 0; i < s->shard_count; i++) {
        struct peer *p = &s->peers[i];
        if ((p->last == NULL ? p->acknowledged : p->last->last) != p->emitted) return false;
        peer_set_acknowledged(p, p->acknowledged);
    }
    return true;
}

uint64_t stream_waiting(const struct stream_set *s) { return s->waiting; }
