/* shard/engine/replay.c - see replay.h. A command's entities are loaded before it, as often as one of them names another; live, its request waits
 * for them instead (request.c), and what follows is the same: machine_step(). */
#include "shard/engine/replay.h"
#include "shard/engine/domain.h"
#include <inttypes.h>
#include <stdio.h>

static void run_load(struct store_job *job, struct store_view *view)
{
    struct replay *r = CONTAINER_OF(job, struct replay, job);
    r->result = machine_load(r->machine, view, r->applied_index);
}

static void run_load_missing(struct store_job *job, struct store_view *view)
{
    struct replay *r = CONTAINER_OF(job, struct replay, job);
    r->result = machine_load_missing(&r->needs, view);
}

static enum result run_now(struct replay *r, void (*run)(struct store_job *, struct store_view *))
{
    r->job.run = run;
    store_run_now(r->store, &r->job);
    return r->result;
}

enum result replay_load(struct replay *r, uint64_t applied_index)
{
    r->applied_index = applied_index;
    return run_now(r, run_load);
}

static enum result make_resident(struct replay *r, const struct command *command)
{
    const struct command_row *row = domain_command(r->machine->options.domain, command->type);
    enum result result = RESULT_OK;
    needs_init(&r->needs, r->machine);
    command_needs(row, &r->needs, command);
    while (r->needs.missing_count > 0 && result == RESULT_OK) {
        result = run_now(r, run_load_missing);
        if (result == RESULT_OK) command_needs(row, &r->needs, command);
    }
    return result;
}

static void explain(struct replay *r, const struct commitlog_record *record, const struct command *command)
{
    char novelty[DOMAIN_NOVELTY_SIZE] = "of another form than any this version knows";
    if (command != NULL) domain_tell_novelty(r->machine->options.domain, command, novelty);
    snprintf(r->reason, sizeof r->reason,
             "record %" PRIu64 " of the log (segment " DISK_SEGMENT_NAME ", offset %" PRIu64 ") was written by a newer version: it is %s; go on "
             "with the newer version", record->index, record->segment, record->offset, novelty);
}

enum result replay_command(struct replay *r, const struct commitlog_record *record)
{
    struct command command;
    enum result result = command_decode(&command, record->type, record->index, record->body);
    if (result == RESULT_UNSUPPORTED) explain(r, record, NULL);
    if (result != RESULT_OK) return result;
    result = domain_judge(r->machine->options.domain, &command);
    if (result == RESULT_UNSUPPORTED) explain(r, record, &command);
    if (result == RESULT_OK) result = make_resident(r, &command);
    if (result != RESULT_OK) return result;
    machine_step(r->machine, &command, &r->needs, false, r->effects);
    needs_release(&r->needs);
    r->commands++;
    r->batched++;
    return r->batched >= r->batch_max ? replay_end_batch(r) : RESULT_OK;
}

enum result replay_end_batch(struct replay *r)
{
    if (r->batched == 0) return RESULT_OK;
    r->batched = 0;
    machine_end_batch(r->machine, r->effects);
    entity_table_trim(r->machine->entities);
    return store_write_now(r->store, &r->effects->puts, r->machine->applied_index);
}

void replay_end(struct replay *r)
{
    if (r->needs.machine != NULL) needs_release(&r->needs);
}
