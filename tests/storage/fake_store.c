/* tests/storage/fake_store.c - a sorted array of keys, and for every batch since the last flush the values it replaced.
 * A crash takes batches back, newest first, by putting those values in again. The batches come in three kinds, oldest first: durable, written
 * (a crash may keep them or not), held back (a crash keeps none); `applied` counts all of them, for all can be read. */
#include "storage/fake_store.h"
#include "core/check.h"
#include <stdlib.h>

#define TRIM_KEY_SIZE 17
#define TRIM_GROUP_SIZE 9

struct entry {
    uint8_t *key, *value; /* value NULL: in an undo entry, the key was absent */
    uint32_t key_len, value_len;
};

struct undo {
    uint64_t applied; /* the batch this belongs to */
    uint64_t before;  /* applied index before that batch */
    struct entry entry; /* key NULL: only the index moved */
};

struct trimmed { /* the store may let go of what comes before `until` in its group */
    uint8_t until[TRIM_KEY_SIZE];
    uint64_t applied;
};

struct write_job {
    struct store_job job;
    uint64_t applied;
    uint32_t len;
    uint8_t operations[];
};

struct fake_store {
    struct store store;
    struct store_view view;
    uint64_t random;
    struct entry *entries;
    uint32_t entry_count, entry_capacity;
    struct undo *undos;
    uint32_t undo_count, undo_capacity;
    uint64_t applied, written, durable, flushing; /* flushing 0: no flush is under way */
    uint64_t backlog_bytes, held_bytes;
    bool holding, write_fails;
    uint32_t deceits; /* enum fake_store_deceit */
    struct trimmed *trims; /* of this life */
    uint32_t trim_count, trim_capacity;
    struct entry rotten; /* its block is not what was written; key NULL: none */
    struct store_job *first, *last;
    uint32_t queued;
    struct store_job *answers_first, *answers_last; /* ran, not yet done */
    bool (*keeps)(void *context, struct slice key, struct slice value);
    void *keeps_context;
    bool (*alters)(void *context, struct slice key, struct slice value, struct writer *out);
    void *alters_context;
    const char *damage;
    bool reads_fail; /* all of them, not only those of the damaged block */
    bool blind;
    bool breaking;
    uint32_t operations_left;
};

static struct fake_store *fake_of(struct store *store) { return CONTAINER_OF(store, struct fake_store, store); }

/* ---- entries -------------------------------------------------------------------------------------------------------- */

static uint8_t *copy_of(struct slice bytes)
{
    uint8_t *copy = malloc(bytes.len + 1);
    ASSERT(copy != NULL);
    if (bytes.len > 0) memcpy(copy, bytes.data, bytes.len);
    return copy;
}

static int compare_keys(struct slice a, struct slice b)
{
    uint32_t common = a.len < b.len ? a.len : b.len;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static struct slice key_of(const struct entry *entry) { return slice_of(entry->key, entry->key_len); }
static struct slice value_of(const struct entry *entry) { return slice_of(entry->value, entry->value_len); }

/* Position of the first key that is not before `key`. */
static uint32_t lower_bound(const struct fake_store *store, struct slice key)
{
    uint32_t low = 0, high = store->entry_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (compare_keys(key_of(&store->entries[middle]), key) < 0) low = middle + 1;
        else high = middle;
    }
    return low;
}

static bool found_at(const struct fake_store *store, uint32_t position, struct slice key)
{
    return position < store->entry_count && slice_equal(key_of(&store->entries[position]), key);
}

static void *grow(void *items, uint32_t *capacity, size_t item_size)
{
    *capacity = *capacity == 0 ? 64 : *capacity * 2;
    void *grown = realloc(items, *capacity * item_size);
    ASSERT(grown != NULL);
    return grown;
}

/* Takes `value` (NULL: deletes); gives back the value that was there, the caller's now, or NULL. */
static struct entry set(struct fake_store *store, struct slice key, uint8_t *value, uint32_t value_len)
{
    uint32_t position = lower_bound(store, key);
    struct entry before = {.key = copy_of(key), .key_len = key.len};
    struct entry *at = store->entries + position;
    if (found_at(store, position, key)) {
        before.value = at->value;
        before.value_len = at->value_len;
        at->value = value;
        at->value_len = value_len;
        if (value == NULL) {
            free(at->key);
            memmove(at, at + 1, (--store->entry_count - position) * sizeof *at);
        }
    } else if (value != NULL) {
        if (store->entry_count == store->entry_capacity)
            store->entries = grow(store->entries, &store->entry_capacity, sizeof *store->entries);
        at = store->entries + position;
        memmove(at + 1, at, (store->entry_count++ - position) * sizeof *at);
        *at = (struct entry){copy_of(key), value, key.len, value_len};
    }
    return before;
}

static void remember(struct fake_store *store, uint64_t applied, uint64_t before, struct entry entry)
{
    if (store->undo_count == store->undo_capacity) store->undos = grow(store->undos, &store->undo_capacity, sizeof *store->undos);
    store->undos[store->undo_count++] = (struct undo){applied, before, entry};
}

/* Its group's trim, or NULL. */
static struct trimmed *find_trim(const struct fake_store *store, struct slice key)
{
    for (uint32_t i = 0; i < store->trim_count; i++)
        if (key.len == TRIM_KEY_SIZE && memcmp(store->trims[i].until, key.data, TRIM_GROUP_SIZE) == 0) return &store->trims[i];
    return NULL;
}

static void put(struct fake_store *store, struct slice key, struct slice value, uint64_t applied, uint64_t before)
{
    if (store->keeps != NULL && !store->keeps(store->keeps_context, key, value)) return;
    struct writer altered;
    writer_init(&altered, 0);
    if (store->alters != NULL && store->alters(store->alters_context, key, value, &altered)) value = writer_slice(&altered);
    remember(store, applied, before, set(store, key, copy_of(value), value.len));
    writer_deinit(&altered);
}

/* What a trim lets go of is there until a compaction comes by, and every read finds it. */
static void note_trim(struct fake_store *store, struct slice until, uint64_t applied)
{
    ASSERT(until.len == TRIM_KEY_SIZE);
    struct trimmed *trim = find_trim(store, until);
    if (trim == NULL) {
        if (store->trim_count == store->trim_capacity) store->trims = grow(store->trims, &store->trim_capacity, sizeof *store->trims);
        trim = &store->trims[store->trim_count++];
    }
    memcpy(trim->until, until.data, TRIM_KEY_SIZE);
    trim->applied = applied;
}

static void expect_not_trimmed(const struct fake_store *store, struct slice key)
{
    const struct trimmed *trim = find_trim(store, key);
    ASSERT(trim == NULL || memcmp(key.data, trim->until, TRIM_KEY_SIZE) >= 0); /* store.h: nobody does */
}

static bool deceives(const struct fake_store *store, enum fake_store_deceit deceit) { return (store->deceits & deceit) != 0; }

/* A write met a bad block of the disk. */
static bool write_fails(struct fake_store *store)
{
    if (!store->write_fails) return false;
    store->write_fails = false;
    if (!deceives(store, FAKE_STORE_SWALLOWS_ERRORS)) store->damage = "Input/output error";
    return true;
}

static bool takes_writes(const struct fake_store *store) { return !store->holding && store->damage == NULL; }

static void apply(struct fake_store *store, struct slice operations, uint64_t applied)
{
    ASSERT(applied > store->applied || (applied == store->applied && operations.len == 0));
    const uint64_t before = store->applied;
    if (takes_writes(store) && write_fails(store) && store->damage == NULL) operations = SLICE_EMPTY;
    struct cursor c = cursor_of(operations);
    remember(store, applied, before, (struct entry){0});
    while (cursor_left(&c) > 0) {
        uint8_t operation = cursor_u8(&c);
        struct slice key = cursor_bytes(&c);
        struct slice value = operation == 1 ? cursor_bytes(&c) : SLICE_EMPTY;
        ASSERT(!c.bad && operation >= 1 && operation <= 3 && key.len > 0 && key.data[0] != 0);
        if (operation == 3) {
            note_trim(store, key, applied);
            continue;
        }
        expect_not_trimmed(store, key);
        if (operation == 1) put(store, key, value, applied, before);
        else if (store->keeps == NULL || store->keeps(store->keeps_context, key, SLICE_EMPTY))
            remember(store, applied, before, set(store, key, NULL, 0));
    }
    store->applied = applied;
    if (takes_writes(store)) store->written = applied;
}

/* ---- the view ------------------------------------------------------------------------------------------------------- */

static bool is_broken(struct fake_store *store)
{
    if (!store->breaking) return false;
    if (store->operations_left == 0) return true;
    store->operations_left--;
    return false;
}

/* `until` empty: to the end. */
static bool rotten_between(const struct fake_store *store, struct slice from, struct slice until)
{
    const struct slice rotten = key_of(&store->rotten);
    return rotten.data != NULL && compare_keys(rotten, from) >= 0 && (until.len == 0 || compare_keys(rotten, until) < 0);
}

static enum result read_fault(struct fake_store *store, bool meets)
{
    if (meets && store->damage == NULL) store->damage = "block checksum mismatch";
    if (meets || (store->damage != NULL && store->reads_fail)) return RESULT_CORRUPT;
    if (store->blind) return RESULT_MISSING;
    return is_broken(store) ? RESULT_IO : RESULT_OK;
}

static struct fake_store *fake_of_view(struct store_view *view) { return CONTAINER_OF(view, struct fake_store, view); }

static enum result fake_get(struct store_view *view, struct slice key, struct writer *value)
{
    struct fake_store *store = fake_of_view(view);
    expect_not_trimmed(store, key);
    enum result fault = read_fault(store, store->rotten.key != NULL && slice_equal(key_of(&store->rotten), key));
    if (fault != RESULT_OK) return fault;
    uint32_t position = lower_bound(store, key);
    if (!found_at(store, position, key)) return RESULT_MISSING;
    if (value != NULL) writer_raw(value, store->entries[position].value, store->entries[position].value_len);
    return RESULT_OK;
}

static enum result fake_scan(struct store_view *view, struct slice from, struct slice until,
                             bool (*each)(void *context, struct slice key, struct slice value), void *context)
{
    struct fake_store *store = fake_of_view(view);
    enum result fault = read_fault(store, rotten_between(store, from, until));
    if (fault != RESULT_OK) return fault;
    for (uint32_t i = lower_bound(store, from); i < store->entry_count; i++) {
        const struct entry *entry = &store->entries[i];
        if (until.len > 0 && compare_keys(key_of(entry), until) >= 0) break;
        if (!each(context, key_of(entry), value_of(entry))) break;
    }
    return RESULT_OK;
}

static enum result fake_last(struct store_view *view, struct slice from, struct slice until, struct writer *key,
                             struct writer *value)
{
    struct fake_store *store = fake_of_view(view);
    enum result fault = read_fault(store, rotten_between(store, from, until));
    if (fault != RESULT_OK) return fault;
    uint32_t end = until.len == 0 ? store->entry_count : lower_bound(store, until);
    if (end == 0 || compare_keys(key_of(&store->entries[end - 1]), from) < 0) return RESULT_MISSING;
    if (key != NULL) writer_raw(key, store->entries[end - 1].key, store->entries[end - 1].key_len);
    if (value != NULL) writer_raw(value, store->entries[end - 1].value, store->entries[end - 1].value_len);
    return RESULT_OK;
}

static const struct store_view_ops fake_view_ops = {.get = fake_get, .scan = fake_scan, .last = fake_last};

/* ---- batches and jobs ----------------------------------------------------------------------------------------------- */

static void fake_submit(struct store *base, struct store_job *job)
{
    struct fake_store *store = fake_of(base);
    job->store = base;
    job->next = NULL;
    if (store->first == NULL) store->first = job;
    else store->last->next = job;
    store->last = job;
    store->queued++;
}

static void write_run(struct store_job *job, struct store_view *view)
{
    const struct write_job *write = CONTAINER_OF(job, struct write_job, job);
    struct fake_store *store = fake_of_view(view);
    apply(store, slice_of(write->operations, write->len), write->applied);
    if (takes_writes(store)) store->backlog_bytes -= write->len;
    else store->held_bytes += write->len;
}

static void write_done(struct store_job *job) { free(CONTAINER_OF(job, struct write_job, job)); }

static void fake_write(struct store *base, struct writer *batch, uint64_t applied)
{
    ASSERT(!batch->failed);
    struct write_job *write = malloc(sizeof *write + batch->len);
    ASSERT(write != NULL);
    write->job = (struct store_job){.run = write_run, .done = write_done};
    write->applied = applied;
    write->len = (uint32_t)batch->len;
    if (batch->len > 0) memcpy(write->operations, batch->data, batch->len);
    fake_of(base)->backlog_bytes += batch->len;
    writer_reset(batch);
    fake_submit(base, &write->job);
}

static uint64_t fake_durable_index(const struct store *base)
{
    _Static_assert(offsetof(struct fake_store, store) == 0, "a const store is the start of its fake");
    const struct fake_store *store = (const struct fake_store *)(const void *)base;
    const bool early = deceives(store, FAKE_STORE_FLUSHES_AT_ONCE) && store->flushing > store->durable;
    return early ? store->flushing : store->durable;
}

static uint64_t fake_backlog_bytes(const struct store *base)
{
    return ((const struct fake_store *)(const void *)base)->backlog_bytes;
}

static const char *fake_damage(const struct store *base) { return ((const struct fake_store *)(const void *)base)->damage; }

static void fake_run_now(struct store *base, struct store_job *job)
{
    struct fake_store *store = fake_of(base);
    ASSERT(store->queued == 0);
    job->store = base;
    job->run(job, &store->view);
}

static enum result fake_write_now(struct store *base, struct writer *batch, uint64_t applied)
{
    struct fake_store *store = fake_of(base);
    ASSERT(store->queued == 0 && !batch->failed);
    if (is_broken(store)) return RESULT_IO;
    const size_t len = batch->len;
    apply(store, writer_slice(batch), applied);
    writer_reset(batch);
    if (store->damage != NULL) return RESULT_CORRUPT;
    if (!takes_writes(store)) {
        store->held_bytes += len;
        store->backlog_bytes += len;
    }
    return RESULT_OK;
}

static const struct store_ops fake_store_ops = {
    .write = fake_write,
    .submit = fake_submit,
    .durable_index = fake_durable_index,
    .backlog_bytes = fake_backlog_bytes,
    .damage = fake_damage,
    .run_now = fake_run_now,
    .write_now = fake_write_now,
};

uint32_t fake_store_queued(const struct fake_store *store) { return store->queued; }

static struct store_job *take_first(struct fake_store *store)
{
    struct store_job *job = store->first;
    if (job == NULL) return NULL;
    store->first = job->next;
    store->queued--;
    return job;
}

bool fake_store_step(struct fake_store *store)
{
    ASSERT(store->answers_first == NULL);
    return fake_store_run(store) && fake_store_answer(store);
}

static void run(struct fake_store *store, struct store_job *job)
{
    job->run(job, &store->view);
    job->next = NULL;
    if (store->answers_first == NULL) store->answers_first = job;
    else store->answers_last->next = job;
    store->answers_last = job;
}

bool fake_store_run(struct fake_store *store)
{
    struct store_job *job = take_first(store);
    if (job == NULL) return false;
    run(store, job);
    return true;
}

static struct store_job *take_answer(struct fake_store *store)
{
    struct store_job *job = store->answers_first;
    if (job != NULL) store->answers_first = job->next;
    return job;
}

bool fake_store_answer(struct fake_store *store)
{
    struct store_job *job = take_answer(store);
    if (job == NULL) return false;
    job->done(job);
    return true;
}

bool fake_store_overtake(struct fake_store *store)
{
    struct store_job **link = &store->first, *before = NULL;
    while (*link != NULL && (*link)->run == write_run) {
        before = *link;
        link = &before->next;
    }
    struct store_job *job = *link;
    if (job == NULL) return false;
    *link = job->next;
    if (store->last == job) store->last = before;
    store->queued--;
    run(store, job);
    return true;
}

bool fake_store_idle(const struct fake_store *store) { return store->queued == 0 && store->answers_first == NULL; }

/* ---- flush and crash ------------------------------------------------------------------------------------------------ */

static void forget_undos(struct fake_store *store, uint32_t count)
{
    if (count == 0) return;
    for (uint32_t i = 0; i < count; i++) {
        free(store->undos[i].entry.key);
        free(store->undos[i].entry.value);
    }
    store->undo_count -= count;
    memmove(store->undos, store->undos + count, store->undo_count * sizeof *store->undos);
}

/* The state up to `index` is in files. */
static void make_durable(struct fake_store *store, uint64_t index)
{
    uint32_t count = 0;
    while (count < store->undo_count && store->undos[count].applied <= index) count++;
    if (count > 0) forget_undos(store, count);
    store->durable = index;
}

void fake_store_flush(struct fake_store *store)
{
    if (store->damage == NULL) make_durable(store, store->written);
    store->flushing = 0;
}

void fake_store_begin_flush(struct fake_store *store)
{
    if (takes_writes(store)) store->flushing = store->written;
}

bool fake_store_end_flush(struct fake_store *store)
{
    const uint64_t flushing = store->flushing;
    store->flushing = 0;
    if (flushing <= store->durable || !takes_writes(store)) return flushing != 0;
    make_durable(store, flushing);
    return true;
}

static void undo_last(struct fake_store *store);

void fake_store_hold(struct fake_store *store, bool hold)
{
    if (!hold && store->holding && deceives(store, FAKE_STORE_FORGETS_WHAT_IT_HELD)) {
        const uint64_t applied = store->applied;
        while (store->undo_count > 0 && store->undos[store->undo_count - 1].applied > store->written) undo_last(store);
        store->applied = applied;
    }
    store->holding = hold;
    if (!takes_writes(store)) return;
    store->written = store->applied;
    store->backlog_bytes -= store->held_bytes;
    store->held_bytes = 0;
}

uint64_t fake_store_written(const struct fake_store *store) { return store->written; }
void fake_store_set_deceits(struct fake_store *store, uint32_t deceits) { store->deceits = deceits; }
void fake_store_fail_write(struct fake_store *store) { store->write_fails = true; }

bool fake_store_rot(struct fake_store *store, uint64_t choice, bool reads_fail)
{
    if (store->entry_count == 0) return false;
    const struct entry *entry = &store->entries[choice % store->entry_count];
    free(store->rotten.key);
    store->rotten = (struct entry){.key = copy_of(key_of(entry)), .key_len = entry->key_len};
    store->reads_fail = reads_fail;
    return true;
}

static void remove_at(struct fake_store *store, uint32_t at)
{
    struct entry before = set(store, slice_of(store->entries[at].key, store->entries[at].key_len), NULL, 0);
    free(before.key);
    free(before.value);
}

/* Some of what one trim lets go of, wherever it stands; true: all of it. */
static bool let_go(struct fake_store *store, const struct trimmed *trim, uint64_t choice)
{
    const struct slice from = slice_of(trim->until, TRIM_GROUP_SIZE), until = slice_of(trim->until, TRIM_KEY_SIZE);
    bool all = true;
    uint32_t at = lower_bound(store, from);
    for (; at < store->entry_count && compare_keys(key_of(&store->entries[at]), until) < 0; choice = choice >> 1 | choice << 63) {
        bool here = choice % 4 != 0;
        all &= here;
        if (here) remove_at(store, at);
        else at++;
    }
    const bool too_much = deceives(store, FAKE_STORE_TRIMS_TOO_MUCH) && at < store->entry_count;
    if (too_much && memcmp(store->entries[at].key, trim->until, TRIM_GROUP_SIZE) == 0) remove_at(store, at);
    return all;
}

bool fake_store_compact(struct fake_store *store, uint64_t choice)
{
    if (store->rotten.key != NULL && store->damage == NULL) store->damage = "block checksum mismatch"; /* it reads what it merges */
    if (store->damage != NULL) return false;
    const uint32_t start = store->trim_count == 0 ? 0 : (uint32_t)(choice % store->trim_count);
    for (uint32_t i = 0; i < store->trim_count; i++) {
        struct trimmed *trim = &store->trims[(start + i) % store->trim_count];
        if (trim->applied > store->durable) continue;
        /* Also what is left: it stays until a later trim of the group. */
        if (let_go(store, trim, choice * 0x9e3779b97f4a7c15ull) || choice >> 60 == 0) trim->applied = UINT64_MAX;
        return true;
    }
    return false;
}

uint64_t fake_store_applied(const struct fake_store *store) { return store->applied; }

void fake_store_break_after(struct fake_store *store, uint32_t operations)
{
    store->breaking = true;
    store->operations_left = operations;
}

void fake_store_mend(struct fake_store *store) { store->breaking = false; }

void fake_store_set_damage(struct fake_store *store, const char *damage, bool seen)
{
    store->damage = seen ? damage : NULL;
    store->reads_fail = true;
    store->blind = damage != NULL && !seen;
    if (damage != NULL) return;
    store->write_fails = false;
    free(store->rotten.key);
    store->rotten = (struct entry){0};
}

void fake_store_set_keeps(struct fake_store *store, bool (*keeps)(void *context, struct slice key, struct slice value), void *context)
{
    store->keeps = keeps;
    store->keeps_context = context;
}

void fake_store_set_alters(struct fake_store *store, bool (*alters)(void *context, struct slice key, struct slice value, struct writer *out),
                           void *context)
{
    store->alters = alters;
    store->alters_context = context;
}

void fake_store_claim(struct fake_store *store, uint64_t index)
{
    make_durable(store, store->applied);
    store->applied = store->written = store->durable = index;
}

struct store_view *fake_store_view(struct fake_store *store) { return &store->view; }

static void undo_last(struct fake_store *store)
{
    struct undo *undo = &store->undos[--store->undo_count];
    store->applied = undo->before;
    if (undo->entry.key == NULL) return;
    struct entry replaced = set(store, key_of(&undo->entry), undo->entry.value, undo->entry.value_len);
    free(replaced.key);
    free(replaced.value);
    free(undo->entry.key);
}

void fake_store_crash_to(struct fake_store *store, uint64_t index, void (*dropped)(struct store_job *job))
{
    ASSERT(index >= store->durable && index <= store->written);
    store->breaking = false;
    store->flushing = 0;
    store->trim_count = 0; /* they are known to the process only */
    for (struct store_job *job; (job = take_answer(store)) != NULL || (job = take_first(store)) != NULL;) {
        if (job->run == write_run) write_done(job);
        else if (dropped != NULL) dropped(job);
    }
    store->backlog_bytes = store->held_bytes = 0;
    while (store->undo_count > 0 && store->undos[store->undo_count - 1].applied > index) undo_last(store);
    /* What survived is on the disk. */
    store->written = store->applied;
    make_durable(store, store->applied);
}

void fake_store_crash(struct fake_store *store, void (*dropped)(struct store_job *job))
{
    store->random = store->random * 6364136223846793005ull + 1442695040888963407ull;
    uint64_t span = store->written - store->durable + 1;
    fake_store_crash_to(store, store->durable + (store->random >> 32) % span, dropped);
}

uint64_t fake_store_digest(const struct fake_store *store)
{
    uint64_t digest = 14695981039346656037ull; /* FNV-1a */
    for (uint32_t i = 0; i < store->entry_count; i++) {
        const struct entry *entry = &store->entries[i];
        const struct slice parts[] = {slice_of(&entry->key_len, 4), key_of(entry), slice_of(&entry->value_len, 4), value_of(entry)};
        for (size_t p = 0; p < COUNT_OF(parts); p++)
            for (uint32_t b = 0; b < parts[p].len; b++) digest = (digest ^ parts[p].data[b]) * 1099511628211ull;
    }
    return digest;
}

/* ---- create and destroy --------------------------------------------------------------------------------------------- */

struct fake_store *fake_store_create(uint64_t seed)
{
    struct fake_store *store = calloc(1, sizeof *store);
    ASSERT(store != NULL);
    store->store.ops = &fake_store_ops;
    store->view.ops = &fake_view_ops;
    store->random = seed;
    return store;
}

static void forget_entries(struct fake_store *store)
{
    ASSERT(fake_store_idle(store));
    forget_undos(store, store->undo_count);
    store->trim_count = 0;
    for (uint32_t i = 0; i < store->entry_count; i++) {
        free(store->entries[i].key);
        free(store->entries[i].value);
    }
    store->entry_count = 0;
}

void fake_store_copy(struct fake_store *to, const struct fake_store *from)
{
    ASSERT(fake_store_idle(from));
    forget_entries(to);
    for (uint32_t i = 0; i < from->entry_count; i++) {
        if (i == to->entry_capacity) to->entries = grow(to->entries, &to->entry_capacity, sizeof *to->entries);
        const struct entry *entry = &from->entries[i];
        to->entries[i] = (struct entry){copy_of(key_of(entry)), copy_of(value_of(entry)), entry->key_len, entry->value_len};
    }
    to->entry_count = from->entry_count;
    to->applied = to->written = to->durable = from->applied;
}

struct fake_store *fake_store_clone(const struct fake_store *store)
{
    struct fake_store *clone = fake_store_create(store->random);
    fake_store_copy(clone, store);
    return clone;
}

void fake_store_rewrite(struct fake_store *store, bool (*rewrite)(void *context, struct slice key, struct slice value, struct writer *out),
                        void *context)
{
    ASSERT(fake_store_idle(store) && store->undo_count == 0);
    struct writer out;
    writer_init(&out, 0);
    for (uint32_t i = 0; i < store->entry_count; i++) {
        struct entry *entry = &store->entries[i];
        writer_reset(&out);
        if (!rewrite(context, key_of(entry), value_of(entry), &out)) continue;
        free(entry->value);
        entry->value = copy_of(writer_slice(&out));
        entry->value_len = (uint32_t)out.len;
    }
    writer_deinit(&out);
}

void fake_store_destroy(struct fake_store *store)
{
    forget_entries(store);
    free(store->entries);
    free(store->undos);
    free(store->trims);
    free(store->rotten.key);
    free(store);
}

struct store *fake_store_base(struct fake_store *store) { return &store->store; }
