/* tests/storage/fake_disk.c - segments as arrays of bytes, writes as a list of copies that have not arrived yet.
 * Happy path: write_durable copies the bytes; fake_disk_complete() checks that the owner left them alone meanwhile, puts them
 * on the medium and calls done. Retired segments become spares with their old bytes, as on the real disk.
 * A sector that is in doubt reads as what was written to it last, and beside it stands what the medium holds: when power is lost that, or
 * the newer one, is what is left. To write it again ends the doubt. So it is with the name of a segment whose directory was not synced. */
#include "storage/fake_disk.h"
#include "core/check.h"
#include <stdlib.h>

#define FAKE_SEGMENTS_MAX 1024
#define FAKE_WRITES_MAX 64

struct fake_segment {
    uint64_t number;
    bool spare;
    bool name_in_doubt; /* to the medium it is a spare still */
    uint64_t size_bytes;
    uint8_t *bytes;
};

struct fake_write {
    struct disk_write *write;
    uint64_t number, offset;
    const void *data; /* the owner's */
    uint8_t *copy;
    uint32_t len;
};

struct doubt { /* about one sector */
    uint64_t number, offset;
    uint8_t before[FAKE_DISK_SECTOR_SIZE];
};

/* The one operation that fails, and the errors that a disk should tell of and does not. */
struct fault {
    bool armed, met;
    uint32_t operations_left;
};

struct fake_disk {
    struct disk disk;
    struct fake_disk_options options;
    uint64_t random;
    enum result fail_next; /* OK: nothing fails */
    uint32_t fails_from_len; /* with IO: shorter writes do not */
    bool half_prepared, lying;
    struct fault reading, making; /* of a read; of the work on segments */
    bool failed;                  /* a write or the making of a segment did, since the last crash */
    uint32_t deceits;             /* enum fake_disk_deceit */
    struct doubt *doubts;
    uint32_t doubt_count, doubt_capacity;
    bool breaking; /* blocking operations are counted down to the one that finds no power */
    uint32_t operations_left;
    uint32_t segment_count, write_count;
    uint64_t noted; /* the newest segment; 0: nothing */
    bool notes_refused;
    struct fake_write cached; /* told durable by a lying disk; copy NULL: none */
    struct fake_segment segments[FAKE_SEGMENTS_MAX];
    struct fake_write writes[FAKE_WRITES_MAX];
};

static struct fake_disk *fake_of(struct disk *disk) { return CONTAINER_OF(disk, struct fake_disk, disk); }

/* splitmix64 */
static uint64_t next_random(struct fake_disk *disk)
{
    uint64_t z = disk->random += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static struct fake_segment *find(struct fake_disk *disk, uint64_t number)
{
    for (uint32_t i = 0; i < disk->segment_count; i++)
        if (!disk->segments[i].spare && disk->segments[i].number == number) return &disk->segments[i];
    return NULL;
}

static struct fake_segment *find_spare(struct fake_disk *disk)
{
    for (uint32_t i = 0; i < disk->segment_count; i++)
        if (disk->segments[i].spare) return &disk->segments[i];
    return NULL;
}

static struct fake_segment *add(struct fake_disk *disk, uint64_t size_bytes)
{
    ASSERT(disk->segment_count < FAKE_SEGMENTS_MAX);
    struct fake_segment *segment = &disk->segments[disk->segment_count++];
    *segment = (struct fake_segment){.size_bytes = size_bytes, .bytes = calloc(1, size_bytes + 1)};
    ASSERT(segment->bytes != NULL);
    return segment;
}

/* ---- blocking operations -------------------------------------------------------------------------------------------- */

static bool is_broken(struct fake_disk *disk)
{
    if (!disk->breaking) return false;
    if (disk->operations_left == 0) return true;
    disk->operations_left--;
    return false;
}

static bool deceives(const struct fake_disk *disk, enum fake_disk_deceit deceit) { return (disk->deceits & deceit) != 0; }

/* The operation fails that `fault` was armed for; once. */
static bool is_due(struct fault *fault)
{
    if (!fault->armed || fault->operations_left-- > 0) return false;
    *fault = (struct fault){.met = true};
    return true;
}

/* ---- doubt ---------------------------------------------------------------------------------------------------------- */

static void doubt_sector(struct fake_disk *disk, uint64_t number, uint64_t offset, const uint8_t *before)
{
    for (uint32_t i = 0; i < disk->doubt_count; i++)
        if (disk->doubts[i].number == number && disk->doubts[i].offset == offset) return; /* the medium has what it had */
    if (disk->doubt_count == disk->doubt_capacity) {
        disk->doubt_capacity = disk->doubt_capacity == 0 ? 64 : disk->doubt_capacity * 2;
        disk->doubts = realloc(disk->doubts, disk->doubt_capacity * sizeof *disk->doubts);
        ASSERT(disk->doubts != NULL);
    }
    struct doubt *doubt = &disk->doubts[disk->doubt_count++];
    *doubt = (struct doubt){.number = number, .offset = offset};
    memcpy(doubt->before, before, sizeof doubt->before);
}

/* What was written to these bytes is on the medium. */
static void settle_doubt(struct fake_disk *disk, uint64_t number, uint64_t from, uint64_t until)
{
    for (uint32_t i = disk->doubt_count; i > 0; i--) {
        struct doubt *doubt = &disk->doubts[i - 1];
        bool inside = doubt->offset + FAKE_DISK_SECTOR_SIZE > from && doubt->offset < until;
        if (doubt->number == number && inside) *doubt = disk->doubts[--disk->doubt_count];
    }
}

static void settle_names(struct fake_disk *disk)
{
    for (uint32_t i = 0; i < disk->segment_count; i++) disk->segments[i].name_in_doubt = false;
}

/* All of what is in doubt is lost, or some of it. */
static void lose_what_is_in_doubt(struct fake_disk *disk)
{
    bool all = disk->doubt_count > 0 && next_random(disk) % 2 == 0;
    for (uint32_t i = 0; i < disk->doubt_count; i++) {
        const struct doubt *doubt = &disk->doubts[i];
        const struct fake_segment *segment = find(disk, doubt->number);
        if (segment != NULL && (all || next_random(disk) % 2 == 0))
            memcpy(segment->bytes + doubt->offset, doubt->before, sizeof doubt->before);
    }
    disk->doubt_count = 0;
    for (uint32_t i = 0; i < disk->segment_count; i++)
        disk->segments[i].spare |= disk->segments[i].name_in_doubt;
    settle_names(disk);
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static enum result fake_list(struct disk *base, uint64_t **numbers, uint32_t *count)
{
    struct fake_disk *disk = fake_of(base);
    *count = 0;
    *numbers = NULL;
    if (is_broken(disk)) return RESULT_IO;
    *numbers = calloc(disk->segment_count + 1, sizeof **numbers);
    ASSERT(*numbers != NULL);
    for (uint32_t i = 0; i < disk->segment_count; i++)
        if (!disk->segments[i].spare) (*numbers)[(*count)++] = disk->segments[i].number;
    qsort(*numbers, *count, sizeof **numbers, compare_numbers);
    return RESULT_OK;
}

static enum result fake_read(struct disk *base, uint64_t number, uint64_t offset, void *data, uint32_t len, uint32_t *got)
{
    const struct fake_segment *segment = find(fake_of(base), number);
    *got = 0;
    if (is_broken(fake_of(base))) return RESULT_IO;
    if (segment == NULL) return RESULT_MISSING;
    if (offset >= segment->size_bytes) return RESULT_OK;
    const bool fails = is_due(&fake_of(base)->reading), told = !deceives(fake_of(base), FAKE_DISK_READS_NOTHING);
    if (fails && told) return RESULT_IO;
    if (fails) fake_of(base)->reading.met = false; /* nobody knows */
    uint64_t left = segment->size_bytes - offset;
    *got = left < len ? (uint32_t)left : len;
    if (fails) memset(data, 0, *got);
    else memcpy(data, segment->bytes + offset, *got);
    return RESULT_OK;
}

/* Somewhere in the middle of the work on a segment. */
static bool making_fails(struct fake_disk *disk)
{
    bool fails = is_due(&disk->making);
    disk->failed |= fails;
    return fails;
}

/* A new spare takes two steps, as filling a real one takes many. */
static enum result fake_prepare_spare(struct disk *base)
{
    struct fake_disk *disk = fake_of(base);
    if (find_spare(disk) != NULL) return RESULT_OK;
    if (disk->options.segments_max != 0 && disk->segment_count >= disk->options.segments_max) return RESULT_FULL;
    disk->half_prepared = !disk->half_prepared;
    if (disk->half_prepared) return RESULT_BUSY;
    add(disk, base->segment_size_bytes)->spare = true;
    return RESULT_OK;
}

static enum result fake_open_segment(struct disk *base, uint64_t number, const void *header)
{
    struct fake_disk *disk = fake_of(base);
    ASSERT(find(disk, number) == NULL);
    if (is_broken(disk)) return RESULT_IO;
    enum result result;
    do result = fake_prepare_spare(base);
    while (result == RESULT_BUSY);
    if (result != RESULT_OK) return result;
    const bool fails = making_fails(disk);
    if (fails && next_random(disk) % 3 == 0) return RESULT_IO; /* before it got its name */
    struct fake_segment *segment = find_spare(disk);
    segment->spare = false;
    segment->number = number;
    memcpy(segment->bytes, header, base->block_size_bytes);
    segment->name_in_doubt = fails;
    if (fails) return RESULT_IO;
    settle_names(disk);
    return RESULT_OK;
}

static enum result fake_retire(struct disk *base, uint64_t number)
{
    struct fake_segment *segment = find(fake_of(base), number);
    if (is_broken(fake_of(base))) return RESULT_IO;
    if (segment == NULL) return RESULT_MISSING;
    const bool fails = making_fails(fake_of(base));
    if (fails && next_random(fake_of(base)) % 2 == 0) return RESULT_IO;
    settle_doubt(fake_of(base), number, 0, UINT64_MAX);
    const struct fake_disk_options *options = &fake_of(base)->options;
    if (options->retired != NULL) options->retired(options->context, number, segment->bytes);
    if (segment->size_bytes == base->segment_size_bytes) segment->spare = true;
    else fake_disk_remove(fake_of(base), number);
    return fails ? RESULT_IO : RESULT_OK;
}

static enum result fake_cut(struct disk *base, uint64_t number, uint64_t offset, struct slice last, uint64_t until)
{
    struct fake_disk *disk = fake_of(base);
    struct fake_segment *segment = find(disk, number);
    const uint64_t tail = offset + last.len;
    ASSERT(segment != NULL && tail <= until && until <= segment->size_bytes);
    bool broken = is_broken(disk);
    if (broken) until = tail + (until == tail ? 0 : next_random(disk) % (until - tail));
    memset(segment->bytes + tail, 0, until - tail);
    if (last.len > 0) memcpy(segment->bytes + offset, last.data, last.len);
    if (broken) return RESULT_IO;
    const bool again = last.len > 0 && !deceives(disk, FAKE_DISK_CUTS_ONLY);
    settle_doubt(disk, number, again ? offset : tail, until);
    if (!deceives(disk, FAKE_DISK_CUTS_ONLY)) settle_names(disk);
    return RESULT_OK;
}

static enum result fake_note_newest(struct disk *base, uint64_t number)
{
    if (is_broken(fake_of(base))) return RESULT_IO;
    if (fake_of(base)->notes_refused) return RESULT_FULL;
    fake_of(base)->noted = number;
    return RESULT_OK;
}

static enum result fake_newest(struct disk *base, uint64_t *number)
{
    *number = fake_of(base)->noted;
    if (is_broken(fake_of(base))) return RESULT_IO;
    return *number == 0 ? RESULT_MISSING : RESULT_OK;
}

static void fake_close(struct disk *base) { (void)base; }

/* ---- durable writes ------------------------------------------------------------------------------------------------- */

static void fake_write_durable(struct disk *base, struct disk_write *write, uint64_t number, uint64_t offset, const void *data,
                               uint32_t len)
{
    struct fake_disk *disk = fake_of(base);
    const struct fake_segment *segment = find(disk, number);
    const uint32_t block = base->block_size_bytes;
    ASSERT(segment != NULL && offset + len <= segment->size_bytes);
    ASSERT(len > 0 && len % block == 0 && offset % block == 0 && (uintptr_t)data % block == 0);
    ASSERT(offset >= block); /* the header is never written again */
    ASSERT(disk->write_count < FAKE_WRITES_MAX);
    struct fake_write *fake = &disk->writes[disk->write_count++];
    *fake = (struct fake_write){write, number, offset, data, malloc(len), len};
    ASSERT(fake->copy != NULL);
    memcpy(fake->copy, data, len);
    if (disk->options.submitted != NULL) disk->options.submitted(disk->options.context);
}

static struct fake_write take_first(struct fake_disk *disk)
{
    struct fake_write first = disk->writes[0];
    memmove(disk->writes, disk->writes + 1, --disk->write_count * sizeof first);
    ASSERT(memcmp(first.data, first.copy, first.len) == 0); /* unchanged until done */
    return first;
}

/* Puts the sectors that `kept` says on the medium. */
static void land(struct fake_disk *disk, const struct fake_write *write, bool (*kept)(struct fake_disk *, uint32_t, uint64_t),
                 uint64_t how)
{
    struct fake_segment *segment = find(disk, write->number);
    ASSERT(segment != NULL);
    for (uint32_t at = 0, sector = 0; at < write->len; at += FAKE_DISK_SECTOR_SIZE, sector++)
        if (kept(disk, sector, how)) {
            settle_doubt(disk, write->number, write->offset + at, write->offset + at + FAKE_DISK_SECTOR_SIZE);
            memcpy(segment->bytes + write->offset + at, write->copy + at, FAKE_DISK_SECTOR_SIZE);
        }
}

/* The same into a cache only. */
static void land_in_doubt(struct fake_disk *disk, const struct fake_write *write,
                          bool (*kept)(struct fake_disk *, uint32_t, uint64_t), uint64_t how)
{
    struct fake_segment *segment = find(disk, write->number);
    ASSERT(segment != NULL);
    for (uint32_t at = 0, sector = 0; at < write->len; at += FAKE_DISK_SECTOR_SIZE, sector++)
        if (kept(disk, sector, how)) {
            uint8_t *bytes = segment->bytes + write->offset + at;
            doubt_sector(disk, write->number, write->offset + at, bytes);
            memcpy(bytes, write->copy + at, FAKE_DISK_SECTOR_SIZE);
        }
}

static bool kept_always(struct fake_disk *disk, uint32_t sector, uint64_t how)
{
    (void)disk, (void)sector, (void)how;
    return true;
}

static bool kept_by_mask(struct fake_disk *disk, uint32_t sector, uint64_t how)
{
    (void)disk;
    return sector < 64 && (how >> sector & 1) != 0;
}

/* Crashes that keep all, nothing, or a prefix happen more often than chance among subsets would have them. */
static bool kept_by_chance(struct fake_disk *disk, uint32_t sector, uint64_t how)
{
    switch (how % 5) {
    case 0: return false;
    case 1: return true;
    case 2: return sector < how / 5 % 16;
    case 3: return sector != how / 5 % 16;
    default: return next_random(disk) % 2 == 0;
    }
}

static void finish(struct fake_disk *disk, struct fake_write *write, enum result result)
{
    (void)disk;
    free(write->copy);
    write->write->done(write->write, result);
}

uint32_t fake_disk_pending(const struct fake_disk *disk) { return disk->write_count; }

/* What a lying disk still holds in its cache reaches the medium. */
static void settle_cache(struct fake_disk *disk)
{
    if (disk->cached.copy == NULL) return;
    land(disk, &disk->cached, kept_always, 0);
    free(disk->cached.copy);
    disk->cached.copy = NULL;
}

static void complete_lying(struct fake_disk *disk, const struct fake_write *write)
{
    settle_cache(disk);
    disk->cached = *write;
    write->write->done(write->write, RESULT_OK);
}

/* Some of it is on the medium and the rest nowhere; or all or some of it can be read, and nobody knows where it is. It stays under way
 * while its owner hears of it, who may end the process there. */
static void fail_first(struct fake_disk *disk)
{
    struct fake_write *write = &disk->writes[0];
    disk->fail_next = RESULT_OK;
    disk->fails_from_len = 0;
    const bool told = !deceives(disk, FAKE_DISK_SYNCS_SILENTLY);
    const uint64_t how = next_random(disk);
    if (!told || how % 3 == 0) land_in_doubt(disk, write, kept_always, 0);
    else if (how % 3 == 1) land_in_doubt(disk, write, kept_by_chance, how / 3);
    else land(disk, write, kept_by_chance, how / 3);
    disk->failed = told;
    write->len = 0; /* it has got wherever it gets */
    if (told) write->write->done(write->write, RESULT_IO);
    struct fake_write taken = take_first(disk);
    free(taken.copy);
    if (!told) taken.write->done(taken.write, RESULT_OK);
}

bool fake_disk_complete(struct fake_disk *disk)
{
    if (disk->write_count == 0) return false;
    if (disk->fail_next == RESULT_IO && disk->writes[0].len >= disk->fails_from_len) {
        fail_first(disk);
        return true;
    }
    struct fake_write write = take_first(disk);
    if (disk->lying && disk->fail_next != RESULT_FULL) {
        complete_lying(disk, &write);
        return true;
    }
    settle_cache(disk);
    enum result result = disk->fail_next == RESULT_IO ? RESULT_OK : disk->fail_next;
    if (result != RESULT_OK) disk->fail_next = RESULT_OK;
    if (result == RESULT_OK) land(disk, &write, kept_always, 0);
    else land(disk, &write, kept_by_chance, next_random(disk));
    if (result == RESULT_FULL && deceives(disk, FAKE_DISK_IS_NEVER_FULL)) result = RESULT_OK;
    finish(disk, &write, result);
    return true;
}

void fake_disk_fail_next(struct fake_disk *disk, enum result result)
{
    disk->fail_next = result;
    disk->fails_from_len = 0;
}

void fake_disk_fail_long(struct fake_disk *disk, uint32_t len)
{
    disk->fail_next = RESULT_IO;
    disk->fails_from_len = len;
}

void fake_disk_fail_read(struct fake_disk *disk, uint32_t operations)
{
    disk->reading = (struct fault){.armed = true, .operations_left = operations};
}

void fake_disk_fail_making(struct fake_disk *disk) { disk->making = (struct fault){.armed = true}; }

void fake_disk_doubt_name(struct fake_disk *disk, uint64_t number)
{
    struct fake_segment *segment = find(disk, number);
    ASSERT(segment != NULL);
    segment->name_in_doubt = true;
}

bool fake_disk_read_failed(const struct fake_disk *disk) { return disk->reading.met; }

bool fake_disk_failed(const struct fake_disk *disk) { return disk->failed; }

void fake_disk_no_faults(struct fake_disk *disk)
{
    disk->fail_next = RESULT_OK;
    disk->reading = disk->making = (struct fault){0};
}

void fake_disk_set_deceits(struct fake_disk *disk, uint32_t deceits) { disk->deceits = deceits; }

void fake_disk_set_lying(struct fake_disk *disk, bool lying) { disk->lying = lying; }

void fake_disk_break_after(struct fake_disk *disk, uint32_t operations)
{
    disk->breaking = true;
    disk->operations_left = operations;
}

void fake_disk_mend(struct fake_disk *disk) { disk->breaking = false; }

static void crash(struct fake_disk *disk, bool (*kept)(struct fake_disk *, uint32_t, uint64_t), const uint64_t *how)
{
    disk->half_prepared = disk->breaking = disk->failed = false;
    fake_disk_no_faults(disk);
    free(disk->cached.copy);
    disk->cached.copy = NULL;
    while (disk->write_count > 0) {
        struct fake_write write = take_first(disk);
        land(disk, &write, kept, how != NULL ? *how : next_random(disk));
        finish(disk, &write, RESULT_CLOSED);
    }
}

void fake_disk_kill(struct fake_disk *disk) { crash(disk, kept_by_chance, NULL); }

void fake_disk_crash(struct fake_disk *disk)
{
    crash(disk, kept_by_chance, NULL);
    lose_what_is_in_doubt(disk);
}

void fake_disk_crash_keeping(struct fake_disk *disk, uint64_t sectors) { crash(disk, kept_by_mask, &sectors); }

/* ---- the medium ----------------------------------------------------------------------------------------------------- */

static const struct disk_ops fake_disk_ops = {
    .list = fake_list,
    .read = fake_read,
    .prepare_spare = fake_prepare_spare,
    .open_segment = fake_open_segment,
    .retire = fake_retire,
    .cut = fake_cut,
    .note_newest = fake_note_newest,
    .newest = fake_newest,
    .write_durable = fake_write_durable,
    .close = fake_close,
};

struct fake_disk *fake_disk_create(const struct fake_disk_options *options)
{
    ASSERT(options->block_size_bytes % FAKE_DISK_SECTOR_SIZE == 0);
    struct fake_disk *disk = calloc(1, sizeof *disk);
    ASSERT(disk != NULL);
    disk->options = *options;
    disk->random = options->seed;
    disk->disk = (struct disk){&fake_disk_ops, options->block_size_bytes, options->segment_size_bytes};
    return disk;
}

static void forget_segments(struct fake_disk *disk)
{
    ASSERT(disk->write_count == 0); /* completed or crashed */
    for (uint32_t i = 0; i < disk->segment_count; i++) free(disk->segments[i].bytes);
    disk->segment_count = disk->doubt_count = 0;
    free(disk->cached.copy);
    disk->cached = (struct fake_write){0};
}

void fake_disk_copy(struct fake_disk *to, const struct fake_disk *from)
{
    ASSERT(from->write_count == 0);
    forget_segments(to);
    for (uint32_t i = 0; i < from->segment_count; i++) {
        const struct fake_segment *segment = &from->segments[i];
        struct fake_segment *copy = add(to, segment->size_bytes);
        memcpy(copy->bytes, segment->bytes, segment->size_bytes);
        copy->number = segment->number;
        copy->spare = segment->spare;
    }
    to->half_prepared = from->half_prepared;
    to->noted = from->noted;
}

void fake_disk_destroy(struct fake_disk *disk)
{
    forget_segments(disk);
    free(disk->doubts);
    free(disk);
}

struct disk *fake_disk_base(struct fake_disk *disk) { return &disk->disk; }

void fake_disk_set_segments_max(struct fake_disk *disk, uint32_t segments_max) { disk->options.segments_max = segments_max; }

uint32_t fake_disk_spare_count(const struct fake_disk *disk)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < disk->segment_count; i++) count += disk->segments[i].spare ? 1 : 0;
    return count;
}

uint32_t fake_disk_segment_count(const struct fake_disk *disk) { return disk->segment_count - fake_disk_spare_count(disk); }

uint8_t *fake_disk_bytes(struct fake_disk *disk, uint64_t number)
{
    struct fake_segment *segment = find(disk, number);
    return segment == NULL ? NULL : segment->bytes;
}

struct fake_disk *fake_disk_clone(const struct fake_disk *disk)
{
    ASSERT(disk->write_count == 0 && disk->cached.copy == NULL);
    struct fake_disk *clone = fake_disk_create(&disk->options);
    clone->options.retired = NULL;
    clone->noted = disk->noted;
    for (uint32_t i = 0; i < disk->segment_count; i++) {
        struct fake_segment *segment = add(clone, disk->segments[i].size_bytes);
        segment->number = disk->segments[i].number;
        segment->spare = disk->segments[i].spare;
        memcpy(segment->bytes, disk->segments[i].bytes, segment->size_bytes);
    }
    return clone;
}

/* Up to here something was written to the segment. */
static uint64_t used_blocks(const struct fake_segment *segment, uint32_t block)
{
    uint64_t used = segment->size_bytes;
    while (used > block && segment->bytes[used - 1] == 0) used--;
    return (used + block - 1) / block;
}

/* Any live segment; or (`newest`) the last one with a batch in it. */
static struct fake_segment *pick_live(struct fake_disk *disk, uint64_t choice, bool newest)
{
    struct fake_segment *picked = NULL;
    for (uint32_t i = 0; i < disk->segment_count; i++) {
        struct fake_segment *segment = &disk->segments[(choice + i) % disk->segment_count];
        if (segment->spare || (newest && used_blocks(segment, disk->disk.block_size_bytes) < 2)) continue;
        if (!newest) return segment;
        if (picked == NULL || segment->number > picked->number) picked = segment;
    }
    return picked;
}

bool fake_disk_rot(struct fake_disk *disk, uint64_t choice)
{
    const uint32_t block = disk->disk.block_size_bytes;
    const uint64_t how = choice >> 40, place = choice / 1024;
    const bool newest = how / 4 % 2 == 0; /* where damage is hardest to tell: the last three blocks that were written */
    struct fake_segment *segment = disk->segment_count == 0 ? NULL : pick_live(disk, choice, newest);
    if (segment == NULL) return false;
    uint64_t used = used_blocks(segment, block), last = newest && used > 3 ? 3 : used;
    uint8_t *bytes = segment->bytes + (used - 1 - place % last) * block;
    const uint8_t *other = segment->bytes + place / 1024 % used * block;
    if (how % 4 == 0) memset(bytes, 0, block);
    else if (how % 4 == 1) memmove(bytes, other, block);
    else bytes[how / 64 % block] ^= (uint8_t)(1 << how / 8 % 8);
    return true;
}

void fake_disk_forget_note(struct fake_disk *disk) { disk->noted = 0; }
void fake_disk_refuse_notes(struct fake_disk *disk, bool refuse) { disk->notes_refused = refuse; }

void fake_disk_remove(struct fake_disk *disk, uint64_t number)
{
    struct fake_segment *segment = find(disk, number);
    ASSERT(segment != NULL);
    free(segment->bytes);
    *segment = disk->segments[--disk->segment_count];
}

void fake_disk_put(struct fake_disk *disk, uint64_t number, const void *bytes, size_t len)
{
    if (find(disk, number) != NULL) fake_disk_remove(disk, number);
    struct fake_segment *segment = add(disk, len);
    segment->number = number;
    if (len > 0) memcpy(segment->bytes, bytes, len);
}
