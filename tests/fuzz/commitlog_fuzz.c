/* layers: storage core */
/* tests/fuzz/commitlog_fuzz.c - any bytes as the segments of a commit log: reading never crashes, hands records out in order, and
 * each of them encodes to the bytes it came from; a log that can be opened can be written to and opened again.
 *
 * The first byte chooses: 0: the rest is segment 1, as it is. Else the rest are instructions that put headers and records with
 * right hashes, and bytes, anywhere into three segments, so that the checks behind the hashes are reached too:
 *   0 segment shard epoch        a header           1 segment offset/8 u16le index batch_block len u16le    a record
 *   2 segment offset u16le byte  one byte           3 segment                                               removes it */
#include "core/check.h"
#include "storage/commitlog_internal.h"
#include "storage/fake_disk.c"
#include <stdlib.h>

#define BLOCK 512u
#define SEGMENT 8192u
#define SHARD 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- what is read --------------------------------------------------------------------------------------------------- */

struct reading {
    struct fake_disk *disk;
    uint64_t count, last;
};

static enum result check_record(void *context, const struct commitlog_record *record)
{
    struct reading *reading = context;
    ASSERT(reading->count == 0 || record->index == reading->last + 1);
    reading->count++;
    reading->last = record->index;

    struct segment_header segment;
    const uint8_t *bytes = fake_disk_bytes(reading->disk, record->segment);
    ASSERT(bytes != NULL && segment_header_decode(&segment, bytes) == RESULT_OK);
    ASSERT(record->offset % COMMITLOG_RECORD_ALIGNMENT == 0);
    uint32_t len = COMMITLOG_RECORD_HEADER_SIZE + record->body.len;
    ASSERT(record->offset + len <= segment.size_bytes);
    uint8_t *again = malloc(len);
    ASSERT(again != NULL);
    record_header_encode(&(struct record_header){.len = len, .type = record->type, .term = record->term, .index = record->index},
                         again);
    if (record->body.len > 0) memcpy(again + COMMITLOG_RECORD_HEADER_SIZE, record->body.data, record->body.len);
    record_seal(again, record->batch_block, segment.epoch);
    ASSERT(memcmp(again, bytes + record->offset, len) == 0);
    free(again);
    return RESULT_OK;
}

static uint64_t no_time(void *context)
{
    (void)context;
    return 0;
}

static void ignore_durable(void *context, uint64_t index) { (void)context, (void)index; }

static enum result open_log(struct fake_disk *disk, struct commitlog **log, struct reading *reading)
{
    char text[256];
    const struct commitlog_options options = {.disk = fake_disk_base(disk), .shard = SHARD, .pending_size_bytes_max = 1 << 16,
                                              .now_ns = no_time, .durable = ignore_durable};
    *reading = (struct reading){.disk = disk};
    return commitlog_open(log, &options, 0, check_record, reading, text, sizeof text);
}

/* Appends one record, durable. */
static void write_one(struct fake_disk *disk, struct commitlog *log)
{
    uint64_t index;
    ASSERT(commitlog_append(log, 1, SLICE_TEXT("again"), &index) == RESULT_OK);
    do {
        while (commitlog_wants_maintenance(log)) commitlog_maintain(log);
        commitlog_flush(log);
    } while (fake_disk_complete(disk));
    ASSERT(commitlog_durable_index(log) == index);
}

static void read_all(struct fake_disk *disk)
{
    char text[256];
    uint64_t torn_offset;
    struct reading scanned = {.disk = disk}, opened;
    enum result scan = commitlog_scan(fake_disk_base(disk), check_record, &scanned, &torn_offset, text, sizeof text);
    ASSERT(scan == RESULT_OK || scan == RESULT_CORRUPT);
    struct commitlog *log;
    if (open_log(disk, &log, &opened) != RESULT_OK) return;
    ASSERT(scan == RESULT_OK && opened.count == scanned.count && opened.last == scanned.last);
    bool has_room = opened.last < UINT64_MAX - 2; /* the last indexes there are */
    if (has_room) write_one(disk, log);
    commitlog_close(log);
    ASSERT(open_log(disk, &log, &opened) == RESULT_OK);
    ASSERT(opened.count == scanned.count + (has_room ? 1 : 0));
    commitlog_close(log);
}

/* ---- what is there -------------------------------------------------------------------------------------------------- */

static uint8_t *segment_of(struct fake_disk *disk, uint8_t chosen, uint64_t *number)
{
    static const uint8_t zeros[SEGMENT];
    *number = chosen % 3 + 1;
    if (fake_disk_bytes(disk, *number) == NULL) fake_disk_put(disk, *number, zeros, SEGMENT);
    return fake_disk_bytes(disk, *number);
}

static void put_record(uint8_t *segment, uint64_t number, struct cursor *c)
{
    uint32_t offset = (uint32_t)(cursor_u16(c) * COMMITLOG_RECORD_ALIGNMENT % SEGMENT);
    uint8_t index = cursor_u8(c), batch_block = cursor_u8(c);
    uint32_t len = COMMITLOG_RECORD_HEADER_SIZE + cursor_u16(c) % 2048;
    if (offset + len > SEGMENT) return;
    struct segment_header header;
    uint64_t epoch = segment_header_decode(&header, segment) == RESULT_OK ? header.epoch : number;
    record_header_encode(&(struct record_header){.len = len, .type = 1, .term = 1, .index = index}, segment + offset);
    record_seal(segment + offset, batch_block, epoch);
}

static void follow(struct fake_disk *disk, struct cursor *c)
{
    while (cursor_left(c) > 0 && !c->bad) {
        uint8_t instruction = cursor_u8(c) % 4;
        uint64_t number;
        uint8_t *segment = segment_of(disk, cursor_u8(c), &number);
        if (instruction == 0) {
            const struct segment_header header = {.shard = cursor_u8(c), .block_size_bytes = BLOCK, .number = number,
                                                  .epoch = number + cursor_u8(c), .size_bytes = SEGMENT};
            segment_header_encode(&header, segment);
        } else if (instruction == 1) {
            put_record(segment, number, c);
        } else if (instruction == 2) {
            uint16_t offset = cursor_u16(c);
            segment[offset % SEGMENT] = cursor_u8(c);
        } else {
            fake_disk_remove(disk, number);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct fake_disk *disk = fake_disk_create(
        &(struct fake_disk_options){.block_size_bytes = BLOCK, .segment_size_bytes = SEGMENT, .seed = 1});
    struct cursor c = cursor_of(slice_of(data, size));
    if (cursor_u8(&c) == 0) fake_disk_put(disk, 1, c.at, cursor_left(&c));
    else follow(disk, &c);
    read_all(disk);
    fake_disk_destroy(disk);
    return 0;
}
