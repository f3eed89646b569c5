/* tests/storage/log_rig.c - see log_rig.h. */
#include "storage/log_rig.h"
#include "core/check.h"
#include <criterion/criterion.h>
#include <stdlib.h>

static uint64_t rig_now_ns(void *context)
{
    struct log_rig *rig = context;
    return rig->now_ns;
}

static void rig_on_durable(void *context, uint64_t index)
{
    struct log_rig *rig = context;
    cr_assert_gt(index, rig->durable, "durable %lu after %lu", index, rig->durable);
    rig->durable = index;
    rig->durable_calls++;
}

static uint8_t body_byte(uint32_t content, uint32_t at) { return (uint8_t)(content * 31 + at * 7 + (at >> 8) + 1); }

static uint16_t type_of(uint64_t index) { return (uint16_t)(index % 5 + 1); }

static enum result rig_on_record(void *context, const struct commitlog_record *record)
{
    struct log_rig *rig = context;
    cr_assert(rig->last == 0 || record->index == rig->last + 1, "record %lu after %lu", record->index, rig->last);
    if (rig->first == 0) rig->first = record->index;
    rig->last = record->index;
    cr_assert_eq(record->type, type_of(record->index));
    cr_assert_lt(record->index, LOG_RIG_RECORDS_MAX);
    cr_assert_eq(record->body.len, rig->records[record->index].size_bytes, "record %lu", record->index);
    for (uint32_t i = 0; i < record->body.len; i++)
        if (record->body.data[i] != body_byte(rig->records[record->index].content, i))
            cr_assert_fail("record %lu, byte %u: not what was appended last", record->index, i);
    return RESULT_OK;
}

void log_rig_init(struct log_rig *rig, const struct fake_disk_options *options)
{
    *rig = (struct log_rig){.disk = fake_disk_create(options), .now_ns = 1000000000, .epoch_base = 77,
                            .pending_size_bytes_max = 4u << 20};
}

void log_rig_deinit(struct log_rig *rig)
{
    if (rig->log != NULL) log_rig_close(rig);
    fake_disk_destroy(rig->disk);
}

enum result log_rig_open(struct log_rig *rig, uint64_t after)
{
    const struct commitlog_options options = {
        .disk = fake_disk_base(rig->disk),
        .shard = 3,
        .epoch_base = rig->epoch_base,
        .pending_size_bytes_max = rig->pending_size_bytes_max,
        .hold = rig->hold,
        .made_before = rig->made_before,
        .look_only = rig->look_only,
        .now_ns = rig_now_ns,
        .durable = rig_on_durable,
        .context = rig,
        .metrics = rig->metrics,
    };
    cr_assert_null(rig->log);
    rig->first = rig->last = 0;
    rig->text[0] = '\0';
    enum result result = commitlog_open(&rig->log, &options, after, rig_on_record, rig, rig->text, sizeof rig->text);
    if (result == RESULT_OK) rig->durable = commitlog_durable_index(rig->log);
    return result;
}

void log_rig_seal(struct log_rig *rig)
{
    commitlog_seal(rig->log);
    fake_disk_complete(rig->disk);
}

void log_rig_close(struct log_rig *rig)
{
    commitlog_close(rig->log);
    rig->log = NULL;
}

enum result log_rig_append(struct log_rig *rig, uint32_t body_size)
{
    uint64_t expected = commitlog_last_index(rig->log) + 1, index = 0;
    uint8_t *body = malloc(body_size + 1);
    rig->appended_count++;
    for (uint32_t i = 0; i < body_size; i++) body[i] = body_byte(rig->appended_count, i);
    enum result result = commitlog_append(rig->log, type_of(expected), slice_of(body, body_size), &index);
    free(body);
    if (result == RESULT_OK) {
        cr_assert_eq(index, expected);
        cr_assert_lt(index, LOG_RIG_RECORDS_MAX);
        rig->records[index].size_bytes = body_size;
        rig->records[index].content = rig->appended_count;
    }
    cr_assert_eq(commitlog_last_index(rig->log), result == RESULT_OK ? expected : expected - 1);
    return result;
}

void log_rig_maintain(struct log_rig *rig)
{
    while (commitlog_wants_maintenance(rig->log)) commitlog_maintain(rig->log);
}

void log_rig_settle(struct log_rig *rig)
{
    do {
        log_rig_maintain(rig);
        commitlog_flush(rig->log);
    } while (fake_disk_complete(rig->disk));
}

void log_rig_commit(struct log_rig *rig, uint32_t count, uint32_t body_size)
{
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_eq(log_rig_append(rig, body_size), RESULT_OK);
        log_rig_settle(rig);
    }
    cr_assert_eq(rig->durable, commitlog_last_index(rig->log));
}
