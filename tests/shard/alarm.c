/* tests/shard/alarm.c - see alarm.h. */
#include "shard/alarm.h"
#include "shard/domain/domain.h"

void (*alarm_heard)(void *context, const struct alarm_fired *alarm, bool fired);
void *alarm_context;

static struct alarm *alarm_of(struct entity *e) { return ENTITY_CAST(struct alarm, ENTITY_ALARM, e); }

/* ---- the thing ---- */

static enum result alarm_load(struct entity *fresh, struct store_view *view)
{
    struct alarm *alarm = alarm_of(fresh);
    struct writer value;
    writer_init(&value, 0);
    struct key key = key_one(KEY_ALARM, fresh->key.a);
    enum result result = entity_load_row(fresh, view, &key, &value);
    struct cursor c = cursor_of(writer_slice(&value));
    struct alarm_record record;
    bool found = result == RESULT_OK && fresh->exists;
    if (found && (!alarm_record_read(&record, &c) || !cursor_done(&c))) result = RESULT_CORRUPT;
    if (found && result == RESULT_OK) {
        alarm->due_ms = record.due_ms;
        alarm->number = record.number;
        alarm->fired = record.fired;
        alarm->again_ms = record.again_ms;
    }
    writer_deinit(&value);
    return result;
}

static void alarm_write(struct entity *e, struct effects *effects)
{
    const struct alarm *alarm = alarm_of(e);
    struct key key = key_one(KEY_ALARM, e->key.a);
    struct alarm_record record = {.due_ms = alarm->due_ms, .number = alarm->number, .fired = alarm->fired, .again_ms = alarm->again_ms};
    EFFECTS_PUT_ROW(effects, &key, alarm, &record, &e->row_hash);
}

static const struct entity_type alarm_type = {
    .kind = ENTITY_ALARM, .name = "alarm", .size_bytes = sizeof(struct alarm), .load = alarm_load, .write = alarm_write};

static void tell(const struct machine *machine, const struct alarm *alarm, uint64_t due_ms, const struct command *command, bool fired)
{
    if (alarm_heard == NULL) return;
    alarm_heard(alarm_context,
                &(struct alarm_fired){.shard = machine->options.shard,
                                      .id = alarm->entity.key.a,
                                      .number = alarm->number,
                                      .due_ms = due_ms,
                                      .index = command->index,
                                      .time_ms = command->time_ms},
                fired);
}

static void has_set(struct machine *machine, struct alarm *alarm, const struct command *command)
{
    alarm->number++;
    batch_row(machine->batch, &alarm->entity);
    tell(machine, alarm, alarm->due_ms, command, false);
}

/* ---- the command ---- */

static void needs_alarm(struct needs *needs, const struct command *command)
{
    struct alarm_set_record in = COMMAND_RECORD(alarm_set, command);
    (void)needs_entity(needs, ENTITY_ALARM, in.id, 0);
}

static void apply_alarm(struct machine *machine, const struct command *command, struct effects *effects)
{
    struct alarm_set_record in = COMMAND_RECORD(alarm_set, command);
    struct alarm *alarm = alarm_of(machine_entity(machine, ENTITY_ALARM, in.id, 0));
    alarm->entity.exists = true;
    alarm->again_ms = in.again_ms;
    if (in.next_start) timer_set_start(machine, TIMER_ALARM, in.id, &alarm->due_ms, timer_next_start(machine), effects);
    else if (in.when_ms == 0) timer_clear(machine, TIMER_ALARM, in.id, &alarm->due_ms, effects);
    else timer_set_clock(machine, TIMER_ALARM, in.id, &alarm->due_ms, in.when_ms, effects);
    has_set(machine, alarm, command);
}

static uint32_t size_max_alarm(const struct domain *domain, uint32_t body_size_max)
{
    (void)domain;
    (void)body_size_max;
    return alarm_set_record_size(&(struct alarm_set_record){0});
}

static const struct command_row alarm_command = {.type = COMMAND_ALARM,
                                                 .name = "ALARM",
                                                 .record_version = alarm_set_record_version,
                                                 .needs = needs_alarm,
                                                 .apply = apply_alarm,
                                                 .size_max = size_max_alarm};

/* ---- the timer ---- */

static void timer_needs(struct needs *needs, uint64_t id) { (void)needs_entity(needs, ENTITY_ALARM, id, 0); }

static uint64_t *timer_due(struct machine *machine, uint64_t id)
{
    struct alarm *alarm = alarm_of(machine_entity(machine, ENTITY_ALARM, id, 0));
    return alarm->entity.exists ? &alarm->due_ms : NULL;
}

static void timer_fire(struct machine *machine, uint64_t id, uint64_t due_ms, const struct command *command, struct effects *effects)
{
    struct alarm *alarm = alarm_of(machine_entity(machine, ENTITY_ALARM, id, 0));
    alarm->fired++;
    tell(machine, alarm, due_ms, command, true);
    batch_row(machine->batch, &alarm->entity);
    uint32_t again_ms = alarm->again_ms;
    alarm->again_ms = 0;
    if (again_ms == 0) return;
    timer_set_clock(machine, TIMER_ALARM, id, &alarm->due_ms, command->time_ms + again_ms, effects);
    has_set(machine, alarm, command);
}

static const struct timer_row alarm_timer = {TIMER_ALARM, "alarm", timer_needs, timer_due, timer_fire};

/* ---- the area ---- */

static const struct command_row *const commands[] = {&alarm_command};
static const struct entity_type *const entities[] = {&alarm_type};
static const struct timer_row *const timers[] = {&alarm_timer};
static const struct area alarm_area = {.name = "alarm",
                                       .commands = commands,
                                       .command_count = COUNT_OF(commands),
                                       .entities = entities,
                                       .entity_count = COUNT_OF(entities),
                                       .timers = timers,
                                       .timer_count = COUNT_OF(timers)};

const struct domain *alarm_domain(void)
{
    static struct domain domain;
    static const struct area *areas[32];
    const struct domain *product = ringpost_domain();
    if (domain.areas != NULL) return &domain;
    ASSERT(product->area_count < COUNT_OF(areas));
    memcpy(areas, product->areas, product->area_count * sizeof *areas);
    areas[product->area_count] = &alarm_area;
    domain_build(&domain, areas, product->area_count + 1);
    domain.methods = product->methods;
    domain.method_count = product->method_count;
    return &domain;
}
