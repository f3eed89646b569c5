/* shard/engine/follower.c - see follower.h: the set of followers, the open block of entries, and the commands that change them.
 * Happy path: BEGIN -> machine->followed -> entries join the open block -> end of the batch: a put -> ACK -> a trim.
 * Failure modes: an ack that is for nobody (removed, lost, begun anew since) or not ahead of the last changes nothing. */
#include "shard/engine/follower.h"
#include "core/check.h"
#include "shard/engine/block.h"
#include "shard/engine/machine.h"
#include "shard/engine/memory.h"
#include "shard/engine/records.h"
#include "shard/engine/state_hash.h"

#define TRIM_ENTRIES 1024u /* acknowledged by all, between two trims */

struct follower_slot {
    struct follower follower;
    uint64_t row_hash; /* state_hash.h */
    bool exists, changed;
};

struct follower_set {
    struct follower_slot slots[FOLLOWERS_MAX];
    bool changed;          /* some slot */
    uint64_t emitted;
    uint64_t trimmed;      /* those up to it were let go; runtime only */
    bool trim_due;
    uint32_t open_count;   /* entries of the open block, the last ones emitted */
    struct writer open;    /* their bytes, as in a block */
};

enum result follower_set_create(struct follower_set **out)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL) return RESULT_NOMEM;
    writer_init(&(*out)->open, 0);
    return RESULT_OK;
}

void follower_set_destroy(struct follower_set *set)
{
    if (set == NULL) return;
    writer_deinit(&set->open);
    free(set);
}

/* ---- who follows ---- */

static struct follower_slot *slot_of(struct follower_set *set, struct slice name)
{
    for (uint32_t i = 0; i < FOLLOWERS_MAX; i++)
        if (set->slots[i].exists && slice_equal(slice_text(set->slots[i].follower.name), name)) return &set->slots[i];
    return NULL;
}

static struct follower_slot *free_slot(struct follower_set *set)
{
    for (uint32_t i = 0; i < FOLLOWERS_MAX; i++)
        if (!set->slots[i].exists && !set->slots[i].changed) return &set->slots[i]; /* the name of one that was removed is still to be deleted */
    return NULL;
}

const struct follower *follower_find(const struct follower_set *set, struct slice name)
{
    for (uint32_t i = 0; i < FOLLOWERS_MAX; i++)
        if (set->slots[i].exists && slice_equal(slice_text(set->slots[i].follower.name), name)) return &set->slots[i].follower;
    return NULL;
}

const struct follower *follower_at(const struct follower_set *set, uint32_t index)
{
    for (uint32_t i = 0; i < FOLLOWERS_MAX; i++)
        if (set->slots[i].exists && index-- == 0) return &set->slots[i].follower;
    return NULL;
}

uint64_t follower_emitted(const struct follower_set *set) { return set->emitted; }

uint64_t follower_backlog(const struct follower_set *set, const struct follower *follower)
{
    return follower->lost ? 0 : set->emitted - follower->place.number;
}

/* Up to this number all have acknowledged who are not lost. */
static uint64_t acknowledged_by_all(const struct follower_set *set)
{
    uint64_t number = set->emitted;
    for (uint32_t i = 0; i < FOLLOWERS_MAX; i++) {
        const struct follower *f = &set->slots[i].follower;
        if (set->slots[i].exists && !f->lost && f->place.number < number) number = f->place.number;
    }
    return number;
}

uint64_t follower_first_kept(const struct follower_set *set) { return acknowledged_by_all(set) + 1; }

static bool is_followed(const struct follower_set *set)
{
    for (uint32_t i = 0; i < FOLLOWERS_MAX; i++)
        if (set->slots[i].exists && !set->slots[i].follower.lost) return true;
    return false;
}

static void changed(struct machine *machine, struct follower_slot *slot)
{
    struct follower_set *set = machine->followers;
    slot->changed = set->changed = set->trim_due = true;
    machine->followed = is_followed(set);
}

/* ---- entries ---- */

static struct key entry_key(uint64_t last_number) { return key_two(KEY_FOLLOWED, 0, last_number); }

static uint64_t open_hash(const struct follower_set *set)
{
    struct cursor entries = cursor_of(writer_slice(&set->open));
    uint64_t sum = 0, number = set->emitted - set->open_count;
    while (cursor_left(&entries) > 0) sum += state_hash_record(KEY_FOLLOWED, 0, ++number, state_hash_bytes(cursor_bytes(&entries)));
    return sum;
}

static void block_close(struct follower_set *set, struct effects *effects)
{
    effects->records_appended += open_hash(set);
    struct key key = entry_key(set->emitted);
    uint8_t *at = store_batch_put_open(&effects->puts, key_slice(&key), (uint32_t)(BLOCK_HEAD_SIZE + set->open.len));
    memcpy(at, &set->open_count, BLOCK_HEAD_SIZE);
    memcpy(at + BLOCK_HEAD_SIZE, set->open.data, set->open.len);
    set->open_count = 0;
    writer_reset(&set->open);
}

uint8_t *follower_emit(struct machine *machine, uint8_t kind, uint32_t len, struct effects *effects)
{
    struct follower_set *set = machine->followers;
    ASSERT(machine->followed && len <= FOLLOWER_RECORD_MAX && domain_followed(machine->options.domain, kind) != NULL);
    if (set->open.len + BLOCK_RECORD_HEAD_SIZE + 1 + len > BLOCK_SIZE_MAX_BYTES) block_close(set, effects);
    set->emitted++;
    set->open_count++;
    writer_u32(&set->open, len + 1);
    writer_u8(&set->open, kind);
    uint8_t *at = writer_reserve(&set->open, len);
    ASSERT(at != NULL);
    return at;
}

/* Blocks are keyed by their last entry, so one that reaches beyond what all have acknowledged stays; so does the newest of all, whose key
 * tells the next start how far the numbers have come. */
static void trim(struct follower_set *set, struct effects *effects)
{
    set->trim_due = false;
    uint64_t done = acknowledged_by_all(set);
    if (done < set->trimmed + TRIM_ENTRIES && is_followed(set)) return;
    if (done == set->trimmed) return;
    struct key until = entry_key(done);
    effects_trim(effects, &until);
    set->trimmed = done;
}

static void slot_put(struct follower_slot *slot, struct effects *effects)
{
    const struct follower *f = &slot->follower;
    struct key key = key_make(KEY_FOLLOWER);
    key_add_text(&key, slice_text(f->name));
    slot->changed = false;
    if (!slot->exists) {
        effects_delete_row(effects, &key, &slot->row_hash);
        return;
    }
    struct follower_record record = {.temporary = f->temporary,
                                     .lost = f->lost,
                                     .generation = f->generation,
                                     .number = f->place.number,
                                     .rebuilding = f->place.rebuilding,
                                     .place_kind = f->place.kind,
                                     .a = f->place.a,
                                     .b = f->place.b};
    EFFECTS_PUT_ROW(effects, &key, follower, &record, &slot->row_hash);
}

void follower_end_batch(struct follower_set *set, struct effects *effects)
{
    if (set->open_count > 0) block_close(set, effects);
    if (set->trim_due) trim(set, effects);
    if (!set->changed) return;
    set->changed = false;
    for (uint32_t i = 0; i < FOLLOWERS_MAX; i++)
        if (set->slots[i].changed) slot_put(&set->slots[i], effects);
}

/* ---- recovery ---- */

struct load {
    struct follower_set *set;
    uint32_t count;
    bool bad;
};

static bool load_one(void *context, struct slice key, struct slice value)
{
    struct load *load = context;
    struct follower_record record;
    struct cursor c = cursor_of(value);
    struct slice name = slice_of(key.data + 1, key.len - 1);
    load->bad = name.len == 0 || name.len > FOLLOWER_NAME_MAX || load->count == FOLLOWERS_MAX || !follower_record_read(&record, &c) ||
                !cursor_done(&c);
    if (load->bad) return false;
    struct follower_slot *slot = &load->set->slots[load->count++];
    slot->exists = true;
    slot->row_hash = state_hash_row(key, value);
    slot->follower = (struct follower){.temporary = record.temporary != 0,
                                       .lost = record.lost != 0,
                                       .generation = record.generation,
                                       .place = {.number = record.number,
                                                 .rebuilding = record.rebuilding != 0,
                                                 .kind = record.place_kind,
                                                 .a = record.a,
                                                 .b = record.b}};
    memcpy(slot->follower.name, name.data, name.len);
    return true;
}

static enum result load_emitted(struct follower_set *set, struct store_view *view)
{
    struct key from = key_one(KEY_FOLLOWED, 0), until = key_after(KEY_FOLLOWED, 0);
    struct writer key;
    writer_init(&key, 0);
    enum result result = store_last(view, key_slice(&from), key_slice(&until), &key, NULL);
    if (result == RESULT_OK) set->emitted = key_u64_at(writer_slice(&key), 9);
    writer_deinit(&key);
    return result == RESULT_MISSING ? RESULT_OK : result;
}

enum result followers_load(struct machine *machine, struct store_view *view)
{
    struct load load = {.set = machine->followers};
    struct key from = key_make(KEY_FOLLOWER), until = key_make(KEY_FOLLOWER + 1);
    enum result result = store_scan(view, key_slice(&from), key_slice(&until), load_one, &load);
    if (result == RESULT_OK && load.bad) result = RESULT_CORRUPT;
    if (result == RESULT_OK) result = load_emitted(machine->followers, view);
    machine->followed = is_followed(machine->followers);
    return result;
}

/* ---- BEGIN ---- */

static bool is_kept(const struct follower_set *set, uint64_t number)
{
    return number >= acknowledged_by_all(set) && number <= set->emitted;
}

enum follower_verdict follower_judge(const struct follower_set *set, struct slice name, uint8_t start, uint64_t number)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < FOLLOWERS_MAX; i++) {
        if (!set->slots[i].exists) continue;
        if (slice_equal(slice_text(set->slots[i].follower.name), name)) return FOLLOWER_GOOD;
        count++;
    }
    if (count == FOLLOWERS_MAX) return FOLLOWER_NO_PLACE;
    return start != FOLLOWER_AFTER || is_kept(set, number) ? FOLLOWER_GOOD : FOLLOWER_NOT_KEPT;
}

static enum error check_follower_begin(struct machine *machine, const struct command *command)
{
    struct follower_begin_record begin = COMMAND_RECORD(follower_begin, command);
    bool good = follower_judge(machine->followers, begin.name, begin.start, begin.number) == FOLLOWER_GOOD;
    return good ? ERROR_NONE : ERROR_BAD_FIELD;
}

/* One that was removed in this batch, whose row is still to be deleted: a name has one slot, or it would be put and deleted. */
static struct follower_slot *removed_slot(struct follower_set *set, struct slice name)
{
    for (uint32_t i = 0; i < FOLLOWERS_MAX; i++) {
        struct follower_slot *slot = &set->slots[i];
        if (!slot->exists && slot->changed && slice_equal(slice_text(slot->follower.name), name)) return slot;
    }
    return NULL;
}

/* A slot whose follower was removed in this batch is written before it is another's. */
static struct follower_slot *slot_for(struct follower_set *set, struct slice name, struct effects *effects)
{
    struct follower_slot *slot = slot_of(set, name);
    if (slot == NULL) slot = removed_slot(set, name);
    if (slot != NULL) return slot;
    slot = free_slot(set);
    for (uint32_t i = 0; slot == NULL && i < FOLLOWERS_MAX; i++) {
        if (set->slots[i].exists) continue;
        slot = &set->slots[i];
        slot_put(slot, effects);
    }
    ASSERT(slot != NULL);
    return slot;
}

static void apply_follower_begin(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct follower_begin_record begin = COMMAND_RECORD(follower_begin, command);
    struct follower_set *set = machine->followers;
    struct follower_slot *slot = slot_for(set, begin.name, effects);
    bool rebuilds = begin.start == FOLLOWER_ALL || begin.start == FOLLOWER_REBUILD;
    if (slot->exists && begin.start != FOLLOWER_REBUILD) return;
    ASSERT(begin.name.len > 0 && begin.name.len <= FOLLOWER_NAME_MAX);
    slot->exists = true;
    slot->follower = (struct follower){
        .temporary = begin.temporary != 0,
        .generation = command->index,
        .place = {.number = begin.start == FOLLOWER_AFTER ? begin.number : set->emitted, .rebuilding = rebuilds}};
    memcpy(slot->follower.name, begin.name.data, begin.name.len);
    changed(machine, slot);
}

COMMAND_SIZE_MAX(follower_begin, .name = {.len = FOLLOWER_NAME_MAX})
COMMAND_ROW(follower_begin, FOLLOWER_BEGIN, .check = check_follower_begin);

/* ---- ACK ---- */

static void apply_follower_ack(struct machine *machine, const struct command *command, struct effects *effects)
{
    (void)effects;
    struct follower_ack_record ack = COMMAND_RECORD(follower_ack, command);
    struct follower_set *set = machine->followers;
    struct follower_slot *slot = slot_of(set, ack.name);
    struct follower_place place = {
        .number = ack.number, .rebuilding = ack.rebuilding != 0, .kind = ack.place_kind, .a = ack.a, .b = ack.b};
    if (slot == NULL || slot->follower.lost || slot->follower.generation != ack.generation || place.number > set->emitted) return;
    const struct follower_place *now = &slot->follower.place;
    if (follower_place_compare(&place, now) <= 0) return;
    if (place.rebuilding && (!now->rebuilding || place.number != now->number)) return; /* nobody was told that */
    slot->follower.place = place;
    changed(machine, slot);
}

COMMAND_SIZE_MAX(follower_ack, .name = {.len = FOLLOWER_NAME_MAX})
COMMAND_ROW(follower_ack, FOLLOWER_ACK, .check = NULL); /* what is not for the follower of now changes nothing */

/* ---- END ---- */

static void apply_follower_end(struct machine *machine, const struct command *command, struct effects *effects)
{
    (void)effects;
    struct follower_end_record end = COMMAND_RECORD(follower_end, command);
    struct follower_slot *slot = slot_of(machine->followers, end.name);
    if (slot == NULL || slot->follower.generation != end.generation) return;
    if (end.lost != 0 && slot->follower.place.number != end.number) return; /* it has moved since that was proposed */
    if (end.lost != 0) slot->follower.lost = true;
    else slot->exists = false;
    changed(machine, slot);
}

COMMAND_SIZE_MAX(follower_end, .name = {.len = FOLLOWER_NAME_MAX})
COMMAND_ROW(follower_end, FOLLOWER_END, .check = NULL);

void follower_forget_temporary(struct machine *machine)
{
    for (uint32_t i = 0; i < FOLLOWERS_MAX; i++) {
        struct follower_slot *slot = &machine->followers->slots[i];
        if (!slot->exists || !slot->follower.temporary) continue;
        slot->exists = false;
        changed(machine, slot);
    }
}
