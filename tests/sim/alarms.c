/* tests/sim/alarms.c - see alarms.h. */
#include "sim/alarms.h"
#include "core/check.h"
#include "shard/alarm.h"
#include "shard/engine/memory.h"
#include "shard/engine/request.h"
#include "shard/engine/records.h"
#include "sim/oracle.h"
#include <inttypes.h>

#define ALARMS 12u

static uint64_t alarm_name(uint16_t shard, uint64_t id) { return (uint64_t)shard << 32 | id; }

/* ---- while it runs ---- */

static void learn(struct world *w, const struct alarm_fired *alarm, bool fired)
{
    uint64_t name = alarm_name(alarm->shard, alarm->id);
    if (!fired) {
        oracle_learn(w->oracle, FACT_ALARM_SET, name, alarm->number, alarm->due_ms, "time of an alarm (shard and id, setting)");
        return;
    }
    const struct fact *set = facts_find(w->oracle->facts, FACT_ALARM_SET, name, alarm->number);
    bool as_set = set == NULL || set->value == alarm->due_ms; /* NULL: it was set in a part of the log that nobody replays any more */
    EXPECT(as_set, "alarm %" PRIx64 " fires for a time that it was not set to", name);
    bool in_time = alarm->due_ms <= TIMER_STARTS_MAX || alarm->due_ms <= alarm->time_ms;
    EXPECT(in_time, "alarm %" PRIx64 " fires %" PRIu64 " ms before its time", name, alarm->due_ms - alarm->time_ms);
    bool told = alarm->due_ms <= TIMER_STARTS_MAX || alarm->due_ms <= w->told_ms_max;
    EXPECT(told, "alarm %" PRIx64 " fires %" PRIu64 " ms before the clock has told its time", name, alarm->due_ms - w->told_ms_max);
    oracle_learn(w->oracle, FACT_ALARM_FIRED, name, alarm->number, alarm->index, "command that an alarm fires in (shard and id, setting)");
}

/* What a start that is not through has applied may be lost with the next crash: it is kept until it counts. */
static struct held {
    struct alarm_fired alarm;
    bool fired;
} *held;
static uint32_t held_count, held_capacity;
static bool holding;

static void hold(const struct alarm_fired *alarm, bool fired)
{
    if (held_count == held_capacity) {
        held_capacity = held_capacity == 0 ? 64 : held_capacity * 2;
        held = memory_resize(held, held_capacity * sizeof *held);
    }
    held[held_count++] = (struct held){*alarm, fired};
}

static void hear(void *context, const struct alarm_fired *alarm, bool fired)
{
    struct world *w = context;
    if (holding) hold(alarm, fired);
    else if (!w->mute) learn(w, alarm, fired); /* mute: a copy of some shard is tried out */
}

void alarms_begin(struct world *w)
{
    alarm_context = w;
    alarm_heard = hear;
}

void alarms_begin_start(void)
{
    holding = true;
    held_count = 0;
}

void alarms_end_start(struct world *w, bool counts)
{
    holding = false;
    for (uint32_t i = 0; counts && i < held_count; i++) learn(w, &held[i].alarm, held[i].fired);
    held_count = 0;
}

void alarms_act(struct world *w, struct node *node)
{
    struct alarm_set_record in = {.id = dice_between(&w->dice, 1, ALARMS)};
    uint32_t choice = dice_below(&w->dice, 10);
    static const uint32_t spans_ms[] = {0, 3, 40, 500, 4000, 60000};
    uint32_t span_ms = spans_ms[dice_below(&w->dice, COUNT_OF(spans_ms))];
    in.next_start = choice == 0;
    if (choice > 1) in.when_ms = world_now_ms(w) + dice_below(&w->dice, span_ms + 1);
    if (dice_one_in(&w->dice, 5)) in.again_ms = dice_below(&w->dice, 2000);
    struct writer record;
    writer_init(&record, 0);
    alarm_set_record_write(&record, &in);
    shard_propose_internal(node->shard, COMMAND_ALARM, 0, writer_slice(&record));
    writer_deinit(&record);
}

/* ---- at rest ---- */

struct look {
    struct world *world;
    uint16_t shard;
    uint32_t due, rows, others, to_come;
    bool audit;
};

static bool is_due(const struct look *look, uint64_t due_ms)
{
    const struct machine *machine = shard_machine(look->world->nodes[look->shard].shard);
    return due_ms != 0 && timer_is_due(machine, timer_entry_of(due_ms, 0, 0), world_now_ms(look->world));
}

static bool has_row(const struct look *look, uint64_t due_ms, uint64_t id)
{
    struct timer_entry entry = timer_entry_of(due_ms, TIMER_ALARM, id);
    struct key key = key_two(KEY_DUE, entry.slot, entry.id);
    return store_get(fake_store_view(look->world->nodes[look->shard].store), key_slice(&key), NULL) == RESULT_OK;
}

static void audit_alarm(struct look *look, uint64_t id, const struct alarm_record *alarm)
{
    struct facts *facts = look->world->oracle->facts;
    uint64_t name = alarm_name(look->shard, id);
    const struct fact *set = facts_find(facts, FACT_ALARM_SET, name, alarm->number);
    bool fired = facts_find(facts, FACT_ALARM_FIRED, name, alarm->number) != NULL;
    look->to_come += alarm->due_ms != 0;
    EXPECT(set != NULL, "alarm %" PRIx64 " was never set", name);
    EXPECT(alarm->due_ms == 0 || alarm->due_ms == set->value, "alarm %" PRIx64 " is due at another time than it was set to", name);
    EXPECT(alarm->due_ms != 0 || fired || set->value == 0, "alarm %" PRIx64 " was lost: it has not fired and is not to come", name);
    EXPECT(alarm->due_ms == 0 || !fired, "alarm %" PRIx64 " has fired and is still to come", name);
    EXPECT(alarm->due_ms == 0 || has_row(look, alarm->due_ms, id), "alarm %" PRIx64 " was lost: it is to come and there is no row for it", name);
    EXPECT(!is_due(look, alarm->due_ms), "alarm %" PRIx64 " was lost: it is due and does not fire", name);
}

static bool take_alarm(void *context, struct slice key, struct slice value)
{
    struct look *look = context;
    struct alarm_record alarm;
    struct cursor c = cursor_of(value);
    EXPECT(alarm_record_read(&alarm, &c) && cursor_done(&c), "a bad alarm");
    look->due += is_due(look, alarm.due_ms);
    if (look->audit) audit_alarm(look, key_u64_at(key, 1), &alarm);
    return true;
}

static bool count_row(void *context, struct timer_entry entry)
{
    struct look *look = context;
    look->rows += timer_entry_kind(entry) == TIMER_ALARM;
    look->others += timer_entry_kind(entry) != TIMER_ALARM; /* of wills */
    return true;
}

static void look_at(struct look *look)
{
    struct store_view *view = fake_store_view(look->world->nodes[look->shard].store);
    struct key from = key_make(KEY_ALARM), until = key_make(KEY_ALARM + 1);
    enum result result = store_scan(view, key_slice(&from), key_slice(&until), take_alarm, look);
    if (result == RESULT_OK && look->audit) result = timers_scan(view, (struct timer_entry){0}, (struct timer_entry){UINT64_MAX, UINT64_MAX}, count_row, look);
    ASSERT(result == RESULT_OK);
}

bool alarms_are_due(struct world *w)
{
    struct look look = {.world = w};
    for (; look.shard < world_shard_count(w); look.shard++)
        if (shard_damage(w->nodes[look.shard].shard) == NULL) look_at(&look);
    return look.due > 0;
}

void alarms_audit(struct world *w)
{
    for (uint16_t shard = 0; shard < world_shard_count(w); shard++) {
        struct look look = {.world = w, .shard = shard, .audit = true};
        look_at(&look);
        uint64_t waiting = shard_machine(w->nodes[shard].shard)->timers.waiting;
        EXPECT(look.rows == look.to_come, "shard %u: %u rows of %u alarms that are to come", shard, look.rows, look.to_come);
        EXPECT(waiting == look.rows + look.others, "shard %u: %" PRIu64 " timers are counted, there are %u", shard, waiting, look.rows + look.others);
    }
}
