/* tests/sim/states.c - see states.h. */
#include "sim/states.h"
#include "core/check.h"
#include "shard/domain/keys.h"
#include "shard/domain/records.h"
#include "shard/engine/replay.h"
#include "sim/node.h"
#include "sim/report.h"
#include <stdlib.h>

struct noted {
    uint64_t index, hash;
};

struct twin {
    struct fake_store *store;
    struct machine *machine; /* NULL: none yet */
    struct effects effects;
    struct replay replay;
    uint32_t compared; /* of those noted */
};

struct states {
    struct noted *noted; /* ascending by index */
    uint32_t count, capacity;
    struct twin twin;
};

static struct machine *make_machine(const struct node *node)
{
    struct machine *machine = NULL;
    enum result result = machine_create(&machine, &node->options.machine, NULL);
    ASSERT(result == RESULT_OK);
    return machine;
}

struct states *states_create(void)
{
    struct states *s = calloc(1, sizeof *s);
    ASSERT(s != NULL);
    return s;
}

static void twin_end(struct twin *twin)
{
    if (twin->machine == NULL) return;
    machine_destroy(twin->machine);
    effects_deinit(&twin->effects);
    fake_store_destroy(twin->store);
    *twin = (struct twin){0};
}

void states_destroy(struct states *s)
{
    twin_end(&s->twin);
    free(s->noted);
    free(s);
}

/* ---- what was there ---- */

static const struct noted *find(const struct states *s, uint64_t index)
{
    for (uint32_t i = s->count; i > 0 && s->noted[i - 1].index >= index; i--)
        if (s->noted[i - 1].index == index) return &s->noted[i - 1];
    return NULL;
}

void states_note(struct states *s, struct node *node)
{
    if (node->shard == NULL || shard_damage(node->shard) != NULL) return;
    const struct machine *machine = shard_machine(node->shard);
    const struct noted now = {machine->applied_index, machine_state_hash(machine)};
    const struct noted *before = find(s, now.index);
    EXPECT(before == NULL || before->hash == now.hash, "shard %u at index %lu is not what it was there before", node->number,
           (unsigned long)now.index);
    if (before != NULL || (s->count > 0 && s->noted[s->count - 1].index > now.index)) return;
    if (s->count == s->capacity) {
        s->capacity = s->capacity == 0 ? 256 : s->capacity * 2;
        s->noted = realloc(s->noted, s->capacity * sizeof *s->noted);
        ASSERT(s->noted != NULL);
    }
    s->noted[s->count++] = now;
}

uint64_t states_newest(const struct states *s) { return s->count == 0 ? 0 : s->noted[s->count - 1].index; }

void states_fall_back(struct states *s, uint64_t index)
{
    while (s->count > 0 && s->noted[s->count - 1].index > index) s->count--;
    twin_end(&s->twin);
}

/* ---- what the store makes of it ---- */

struct load {
    struct store_job job;
    struct machine *machine;
    uint64_t applied_index, rows;
    enum result result;
};

static void run_load(struct store_job *job, struct store_view *view)
{
    struct load *load = CONTAINER_OF(job, struct load, job);
    load->result = machine_load(load->machine, view, load->applied_index);
    if (load->result == RESULT_OK) load->result = state_hash_scan(load->machine->options.domain, view, &load->rows);
}

void states_compare_loaded(struct states *s, struct node *node)
{
    const struct machine *live = shard_machine(node->shard);
    struct load load = {.job.run = run_load, .machine = make_machine(node), .applied_index = live->applied_index};
    (void)s;
    load.job.run(&load.job, fake_store_view(node->store));
    EXPECT(load.result == RESULT_OK, "the store of shard %u cannot be loaded", node->number);
    EXPECT(machine_state_hash(load.machine) == machine_state_hash(live), "shard %u, loaded from its store at index %lu, is another one",
           node->number, (unsigned long)live->applied_index);
    EXPECT(load.rows == live->hash.rows, "the rows in the store of shard %u are not those it has counted, at index %lu", node->number,
           (unsigned long)live->applied_index);
    machine_destroy(load.machine);
}

/* ---- the twin ---- */

struct run {
    struct states *states;
    struct node *node;
};

/* Planted bug: what is loaded is not all that was known. */
static bool forgets(void *context, struct slice key, struct slice value, struct writer *out)
{
    (void)context;
    struct inbox_record inbox;
    struct cursor c = cursor_of(value);
    if (key.data[0] != KEY_INBOX || !inbox_record_read(&inbox, &c)) return false;
    inbox.last_seen_ms = 0;
    inbox_record_write(out, &inbox);
    return true;
}

static void twin_begin(struct twin *twin, const struct node *node)
{
    twin->store = fake_store_create(0);
    twin->machine = make_machine(node);
    effects_init(&twin->effects);
    twin->replay = (struct replay){.machine = twin->machine, .store = fake_store_base(twin->store), .effects = &twin->effects, .batch_max = 1};
    if (node->plant == PLANT_evicted_forgets) fake_store_set_alters(twin->store, forgets, NULL);
}

static enum result twin_step(void *context, const struct commitlog_record *record)
{
    struct run *run = context;
    struct states *s = run->states;
    struct twin *twin = &s->twin;
    struct commitlog_record altered = *record;
    uint8_t *copy = NULL;
    if (run->node->plant == PLANT_apply_reads_clock && record->index % 50 == 0) {
        copy = malloc(record->body.len);
        ASSERT(copy != NULL && record->body.len > 2);
        memcpy(copy, record->body.data, record->body.len);
        copy[1] ^= 1; /* of time_ms */
        altered.body.data = copy;
    }
    enum result result = replay_command(&twin->replay, &altered);
    free(copy);
    if (result != RESULT_OK) return result;
    entity_table_drop_all(twin->machine->entities);
    while (twin->compared < s->count && s->noted[twin->compared].index < record->index) twin->compared++;
    const struct noted *noted = twin->compared < s->count ? &s->noted[twin->compared] : NULL;
    EXPECT(noted == NULL || noted->index != record->index || noted->hash == machine_state_hash(twin->machine),
           "shard %u at index %lu is not what its log makes of it, command by command, with everything evicted in between", run->node->number,
           (unsigned long)record->index);
    return RESULT_OK;
}

static uint64_t now_ns(void *context)
{
    (void)context;
    return 0;
}

static void durable(void *context, uint64_t index) { (void)context, (void)index; }

void states_compare_twin(struct states *s, struct node *node, struct fake_disk *log)
{
    struct twin *twin = &s->twin;
    struct run run = {s, node};
    if (twin->machine == NULL) twin_begin(twin, node);
    const struct commitlog_options options = {.disk = fake_disk_base(log),
                                              .shard = node->number,
                                              .made_before = true,
                                              .look_only = true,
                                              .now_ns = now_ns,
                                              .durable = durable};
    struct commitlog *opened = NULL;
    char text[512] = "";
    enum result result = commitlog_open(&opened, &options, twin->machine->applied_index, twin_step, &run, text, sizeof text);
    EXPECT(result == RESULT_OK, "the whole log of shard %u cannot be read again: %s", node->number, text);
    commitlog_close(opened);
}
