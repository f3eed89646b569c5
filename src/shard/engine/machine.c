/* shard/engine/machine.c - applying commands, and the parts of the state that are not entities.
 * Recovery: machine_load reads counters, stream positions, outbox and dedup window as of the applied index; then every later
 * command of the log runs through machine_load_missing and machine_apply exactly as it did live. */
#include "shard/engine/machine.h"
#include "shard/engine/limits.h"
#include "shard/engine/memory.h"
#include "shard/engine/outbox.h"
#include "shard/engine/records.h"

static enum result open_areas(struct machine *m)
{
    const struct domain *domain = m->options.domain;
    enum result result = RESULT_OK;
    for (uint32_t i = 0; i < domain->area_count && result == RESULT_OK; i++) {
        const struct area *area = domain->areas[i];
        if (area->open == NULL) continue;
        ASSERT(area->slot < AREAS_MAX && m->states[area->slot] == NULL);
        result = area->open(m, &m->states[area->slot]);
    }
    return result;
}

/* Those above before those below. */
static void close_areas(struct machine *m)
{
    const struct domain *domain = m->options.domain;
    for (uint32_t i = domain->area_count; i > 0; i--) {
        const struct area *area = domain->areas[i - 1];
        if (area->open != NULL && m->states[area->slot] != NULL) area->close(m, m->states[area->slot]);
    }
}

enum result machine_create(struct machine **out, const struct machine_options *options, struct metrics *metrics)
{
    ASSERT(options->shard < options->shard_count);
    *out = NULL;
    struct machine *m = calloc(1, sizeof *m);
    if (m == NULL) return RESULT_NOMEM;
    m->options = *options;
    for (int i = 0; i < ID_TYPE_COUNT; i++) m->next_sequence[i] = 1;
    m->hash.from = 1;
    m->batch = batch_create(m);
    m->metrics = metrics;
    timers_init(&m->timers, options->timers_resident_max, metrics);
    enum result result = entity_table_create(&m->entities, m, options->entities_max, metrics);
    if (result == RESULT_OK) result = dedup_create(&m->dedup, &(struct dedup_limits){.capacity = options->limits[LIMIT_DEDUP_ENTRIES],
                                                                                        .window_ms = options->limits[LIMIT_REPEAT_WINDOW_MS],
                                                                                        .per_sender = options->limits[LIMIT_REPEATS_PER_SENDER]});
    if (result == RESULT_OK)
        result = stream_set_create(&m->streams, options->domain, options->shard, options->shard_count, options->outbox_entries_max);
    if (result == RESULT_OK) result = follower_set_create(&m->followers);
    if (result == RESULT_OK) result = open_areas(m);
    if (result != RESULT_OK) {
        machine_destroy(m);
        return result;
    }
    *out = m;
    return RESULT_OK;
}

void machine_destroy(struct machine *m)
{
    if (m == NULL) return;
    close_areas(m);
    batch_destroy(m->batch, m->entities);
    entity_table_destroy(m->entities);
    stream_set_destroy(m->streams);
    follower_set_destroy(m->followers);
    dedup_destroy(m->dedup);
    timers_deinit(&m->timers);
    free(m);
}

uint64_t machine_next_id(struct machine *m, enum id_type type)
{
    uint64_t sequence = m->next_sequence[type]++;
    ASSERT(sequence <= ID_SEQUENCE_MAX);
    m->last_id_ms = m->time_ms;
    return id_make(m->options.shard, type, sequence);
}

struct entity *machine_entity(struct machine *m, uint32_t kind, uint64_t a, uint64_t b)
{
    struct entity *e = m->pinned == NULL ? NULL : needs_find(m->pinned, kind, a, b);
    if (e == NULL) e = entity_find(m->entities, (struct entity_key){.a = a, .b = b, .kind = kind});
    ASSERT(e != NULL);
    return e;
}

void machine_apply(struct machine *m, const struct command *command, struct effects *effects)
{
    ASSERT(command->index == m->applied_index + 1);
    const struct command_row *row = domain_command(m->options.domain, command->type);
    ASSERT(row != NULL);
    m->time_ms = command->time_ms;
    effects->error = command_check(row, m, command);
    if (effects->error == ERROR_NONE) command_apply(row, m, command, effects->wants_reply, effects);
    m->applied_index = command->index;
}

void machine_step(struct machine *m, const struct command *command, const struct needs *needs, bool wants_reply, struct effects *effects)
{
    effects_begin(effects, wants_reply);
    m->pinned = needs;
    machine_apply(m, command, effects);
    m->pinned = NULL;
}

static void put_counters(struct machine *m, struct effects *effects)
{
    struct key key = key_make(KEY_META);
    struct meta_record record = {.next_user = m->next_sequence[ID_USER],
                                 .next_room = m->next_sequence[ID_ROOM],
                                 .next_message = m->next_sequence[ID_MESSAGE],
                                 .last_id_ms = m->last_id_ms,
                                 .rows_hash = m->hash.rows,
                                 .records_hash = m->hash.records,
                                 .hash_from = m->hash.from,
                                 .newest_ms = m->time_ms};
    EFFECTS_PUT(effects, &key, meta, &record);
}

void machine_end_batch(struct machine *m, struct effects *effects)
{
    batch_end(m->batch, m->entities, effects);
    timers_end_batch(&m->timers, effects);
    stream_end_batch(m->streams, effects);
    follower_end_batch(m->followers, effects);
    dedup_end_batch(m->dedup, m->applied_index, effects);
    m->hash.rows += effects->rows_changed;
    m->hash.records += effects->records_appended;
    effects->rows_changed = effects->records_appended = 0;
    if (effects->puts.len > 0) put_counters(m, effects); /* else the store stays where it is in the log, too */
}

uint64_t machine_state_hash(const struct machine *m)
{
    struct dedup_state window = dedup_state(m->dedup);
    const uint64_t words[] = {m->applied_index, m->hash.rows, m->hash.records, m->next_sequence[ID_USER], m->next_sequence[ID_ROOM],
                              m->next_sequence[ID_MESSAGE], m->last_id_ms, window.first, window.next, follower_emitted(m->followers)};
    uint64_t hash = 0;
    for (size_t i = 0; i < COUNT_OF(words); i++) hash = state_hash_add(hash, words[i]);
    for (uint16_t peer = 0; peer < m->options.shard_count; peer++) {
        if (peer == m->options.shard) continue;
        struct stream_position position = stream_position(m->streams, peer);
        hash = state_hash_add(state_hash_add(hash, position.emitted), position.acknowledged);
        hash = state_hash_add(hash, position.applied);
    }
    return hash;
}

/* ---- recovery ---- */

struct load {
    struct machine *machine;
    struct outbox_reader outbox;
    enum result result; /* CORRUPT: what was read is none of ours */
};

static bool load_took(struct load *load, bool took)
{
    if (!took && load->result == RESULT_OK) load->result = RESULT_CORRUPT;
    return took;
}

/* The shard in a key: one beyond any that can be, when it is none. */
static uint16_t peer_in(struct slice key)
{
    uint64_t peer = key_u64_at(key, 1);
    return peer < UINT16_MAX ? (uint16_t)peer : UINT16_MAX;
}

static bool load_position(void *context, struct slice key, struct slice value)
{
    struct load *load = context;
    return load_took(load, key.len == 9 && stream_load_position(load->machine->streams, peer_in(key), value));
}

static bool load_bundle(void *context, struct slice key, struct slice value)
{
    struct load *load = context;
    struct slice bundle;
    load->result = outbox_read(&load->outbox, value, &bundle);
    bool took = load->result == RESULT_OK && key.len == 17 &&
                stream_load_bundle(load->machine->streams, peer_in(key), key_u64_at(key, 9), bundle);
    return load_took(load, took);
}

static bool load_former_block(void *context, struct slice key, struct slice value)
{
    struct load *load = context;
    return load_took(load, key.len == 9 && dedup_load_former_block(load->machine->dedup, key_u64_at(key, 1), value));
}

static bool load_block(void *context, struct slice key, struct slice value)
{
    struct load *load = context;
    return load_took(load, key.len == 9 && dedup_load_block(load->machine->dedup, key_u64_at(key, 1), value));
}

static enum result load_counters(struct machine *m, struct store_view *view)
{
    struct writer value;
    writer_init(&value, 0);
    struct key key = key_make(KEY_META);
    enum result result = store_get(view, key_slice(&key), &value);
    if (result == RESULT_OK) {
        struct meta_record record;
        struct cursor c = cursor_of(writer_slice(&value));
        if (meta_record_read(&record, &c) && cursor_done(&c)) {
            m->next_sequence[ID_USER] = record.next_user;
            m->next_sequence[ID_ROOM] = record.next_room;
            m->next_sequence[ID_MESSAGE] = record.next_message;
            m->last_id_ms = record.last_id_ms;
            m->hash = (struct state_hash){.rows = record.rows_hash, .records = record.records_hash, .from = record.hash_from};
            m->time_ms = record.newest_ms;
        } else {
            result = RESULT_CORRUPT;
        }
    } else if (result == RESULT_MISSING) {
        result = RESULT_OK;
    }
    writer_deinit(&value);
    return result;
}

static enum result load_range(struct machine *m, struct store_view *view, uint8_t kind,
                              bool (*each)(void *, struct slice, struct slice))
{
    struct load load = {.machine = m};
    struct key from = key_make(kind), until = key_make((uint8_t)(kind + 1));
    outbox_reader_init(&load.outbox, m->options.domain, view);
    enum result result = store_scan(view, key_slice(&from), key_slice(&until), each, &load);
    outbox_reader_deinit(&load.outbox);
    return result == RESULT_OK ? load.result : result;
}

enum result machine_load(struct machine *m, struct store_view *view, uint64_t applied_index)
{
    m->applied_index = applied_index;
    enum result result = load_counters(m, view);
    if (m->hash.from == 0) m->hash.from = applied_index + 1;
    if (result == RESULT_OK) result = limits_load(m, view);
    if (result == RESULT_OK) result = incarnations_load(m, view);
    if (result == RESULT_OK) result = followers_load(m, view);
    if (result == RESULT_OK) result = timers_load(m, view);
    if (result == RESULT_OK) result = load_range(m, view, KEY_STREAM, load_position);
    if (result == RESULT_OK) result = load_range(m, view, KEY_OUTBOX, load_bundle);
    if (result == RESULT_OK && !stream_load_end(m->streams)) result = RESULT_CORRUPT;
    if (result == RESULT_OK) result = load_range(m, view, KEY_DEDUP, load_former_block);
    if (result == RESULT_OK) result = load_range(m, view, KEY_REPEATS, load_block);
    if (result == RESULT_OK) dedup_load_end(m->dedup);
    return result;
}

enum result machine_load_missing(struct needs *needs, struct store_view *view)
{
    for (uint32_t i = 0; i < needs->missing_count; i++) {
        struct entity *fresh = entity_fresh(needs->machine, needs->missing[i]);
        enum result result = entity_load(needs->machine, fresh, view);
        if (result != RESULT_OK) {
            entity_discard(needs->machine, fresh);
            return result;
        }
        entity_adopt(needs->machine->entities, fresh);
    }
    needs->missing_count = 0;
    return RESULT_OK;
}
