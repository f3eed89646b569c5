/* tests/sim/place.c - see place.h. */
#include "sim/place.h"
#include "core/check.h"
#include "shard/engine/shard.h"
#include "sim/profile.h"
#include "sim/report.h"
#include "storage/datadir.h"
#include "storage/identity.h"
#include "storage/power.h"
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX (2 + 2 * SHARDS_MAX)
#define NAME_SIZE 64
#define STEPS_MAX 120u /* of a start, and some more */

struct files { /* as they stand; length 0: not there */
    char bytes[FILES_MAX][FORMAT_SIZE_MAX];
    size_t len[FILES_MAX];
};

struct place {
    uint16_t shard_count;
    enum plant plant;
    char path[NAME_SIZE];
    int fd;
    bool is_whole; /* the last start was written down to its end */
    bool has_key;  /* somebody has served with it */
    uint8_t key[DATADIR_TOKEN_KEY_SIZE];
    struct files earlier; /* of some run before the last */
    bool has_earlier;
};

/* ---- files ---- */

static uint32_t file_count(const struct place *place) { return 2 + 2 * (uint32_t)place->shard_count; }

/* In the order in which a raise writes them. */
static void file_name(char name[NAME_SIZE], uint32_t i)
{
    static const char *const formats[] = {FORMAT_COPY_NAME, FORMAT_NAME};
    static const char *const identities[] = {IDENTITY_COPY_NAME, IDENTITY_NAME};
    if (i < 2) snprintf(name, NAME_SIZE, "%s", formats[i]);
    else snprintf(name, NAME_SIZE, SHARD_DIRECTORY "/%s", (i - 2) / 2, identities[i % 2]);
}

static void take(const struct place *place, struct files *files)
{
    memset(files, 0, sizeof *files);
    for (uint32_t i = 0; i < file_count(place); i++) {
        char name[NAME_SIZE];
        file_name(name, i);
        int fd = openat(place->fd, name, O_RDONLY | O_CLOEXEC);
        if (fd < 0) continue;
        ssize_t got = read(fd, files->bytes[i], sizeof files->bytes[i]);
        ASSERT(got >= 0);
        files->len[i] = (size_t)got;
        close(fd);
    }
}

static void bring_one(const struct place *place, uint32_t i, const char *bytes, size_t len)
{
    char name[NAME_SIZE];
    file_name(name, i);
    if (len == 0) {
        unlinkat(place->fd, name, 0);
        return;
    }
    int fd = openat(place->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ASSERT(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
    close(fd);
}

static void bring(const struct place *place, const struct files *files)
{
    for (uint32_t i = 0; i < file_count(place); i++) bring_one(place, i, files->bytes[i], files->len[i]);
}

/* ---- starts ---- */

static enum result open_place(struct place *place, struct datadir **dir, char *text, size_t text_size)
{
    enum result result = datadir_open(dir, place->path, 0, place->shard_count, text, text_size);
    if (result != RESULT_OK) return result;
    result = datadir_settle(*dir, text, text_size);
    if (result != RESULT_OK) datadir_close(*dir);
    return result;
}

/* One of a pair of files is damaged: the other mends it. */
static void damage_one(const struct place *place, struct dice *dice)
{
    struct files files;
    take(place, &files);
    uint32_t i = dice_below(dice, file_count(place));
    if (files.len[i] == 0 || files.len[i ^ 1] == 0) return;
    bool is_behind = files.len[i] != files.len[i ^ 1] || memcmp(files.bytes[i], files.bytes[i ^ 1], files.len[i]) != 0;
    if (is_behind) return; /* a crash came between the two: which of them is needed is not for chance to say */
    if (dice_one_in(dice, 3)) files.len[i] = dice_below(dice, (uint32_t)files.len[i]);
    else files.bytes[i][dice_below(dice, (uint32_t)files.len[i])] ^= (char)(1 << dice_below(dice, 8));
    bring_one(place, i, files.bytes[i], files.len[i]);
    power_adopt();
}

/* What the server does with its directory before it serves. OK: it serves; FULL: it serves what is there. */
static enum result run_start(struct place *place, uint8_t key[DATADIR_TOKEN_KEY_SIZE], char *text, size_t text_size)
{
    struct datadir *dir;
    enum result result = open_place(place, &dir, text, text_size);
    EXPECT(result != RESULT_FULL, "to be opened needs room: %s", text);
    if (result != RESULT_OK) return result;
    const uint64_t run = datadir_run(dir);
    result = datadir_key(dir, DATADIR_TOKEN_KEY, key, DATADIR_TOKEN_KEY_SIZE, text, text_size);
    EXPECT(result != RESULT_FULL, "the key needs room: %s", text);
    if (result == RESULT_OK) result = datadir_raise(dir, text, text_size);
    EXPECT(result != RESULT_OK || datadir_run(dir) == run + 1, "the run is not raised");
    datadir_close(dir);
    return result;
}

static void expect_key(struct place *place, const uint8_t key[DATADIR_TOKEN_KEY_SIZE])
{
    EXPECT(!place->has_key || memcmp(place->key, key, sizeof place->key) == 0, "the key that signs tokens is another one");
    memcpy(place->key, key, sizeof place->key);
    place->has_key = true;
}

bool place_start(struct place *place, struct dice *dice, bool full)
{
    uint8_t key[DATADIR_TOKEN_KEY_SIZE];
    char text[512] = "";
    if (dice_one_in(dice, 4)) damage_one(place, dice);
    if (place->has_key && dice_one_in(dice, 4)) {
        take(place, &place->earlier);
        place->has_earlier = place->is_whole && place->earlier.len[3] > 0;
    }
    power_set_full(full && place->has_key); /* a new one needs room */
    enum result result = run_start(place, key, text, sizeof text);
    power_set_full(false);
    EXPECT(result == RESULT_OK || (full && result == RESULT_FULL), "the data directory does not open: %s", text);
    place->is_whole = result == RESULT_OK;
    expect_key(place, key);
    return place->is_whole;
}

void place_break(struct place *place, struct dice *dice)
{
    uint8_t key[DATADIR_TOKEN_KEY_SIZE];
    char text[512] = "";
    power_cut_after(dice_below(dice, STEPS_MAX));
    enum result result = run_start(place, key, text, sizeof text);
    const bool cut = power_is_cut();
    EXPECT(cut || result == RESULT_OK, "the data directory does not open: %s", text);
    place->is_whole = result == RESULT_OK && !cut;
    place_end(place, dice_one_in(dice, 2));
}

void place_end(struct place *place, bool power_lost)
{
    (void)place;
    power_restore(power_lost);
}

/* ---- what no crash does ---- */

enum trial { TRIAL_MISSING, TRIAL_EMPTY, TRIAL_FOREIGN, TRIAL_COPIED, TRIAL_EARLIER, TRIAL_BOTH_DAMAGED, TRIAL_COUNT };

static void make_foreign(struct files *files, uint32_t at)
{
    struct identity identity;
    bool read = identity_parse(&identity, files->bytes[at + 1], files->len[at + 1]);
    ASSERT(read);
    identity.id[0] = identity.id[0] == '0' ? '1' : '0';
    for (uint32_t i = at; i < at + 2; i++) files->len[i] = identity_render(&identity, files->bytes[i]);
}

/* False: that cannot be tried now. */
static bool change(const struct place *place, struct files *files, enum trial trial, uint32_t victim)
{
    const uint32_t at = 2 + 2 * victim, sister = 2 + 2 * ((victim + 1) % place->shard_count);
    switch (trial) {
    case TRIAL_MISSING:
    case TRIAL_EMPTY: files->len[at] = files->len[at + 1] = 0; return true;
    case TRIAL_FOREIGN: make_foreign(files, at); return true;
    case TRIAL_COPIED:
    case TRIAL_EARLIER: {
        const struct files *source = trial == TRIAL_COPIED ? files : &place->earlier;
        const uint32_t from = trial == TRIAL_COPIED ? sister : at;
        if (trial == TRIAL_COPIED ? place->shard_count == 1 : !place->has_earlier) return false;
        for (uint32_t i = 0; i < 2; i++) {
            memcpy(files->bytes[at + i], source->bytes[from + i], FORMAT_SIZE_MAX);
            files->len[at + i] = source->len[from + i];
        }
        return true;
    }
    case TRIAL_BOTH_DAMAGED:
        files->bytes[at][0] ^= 1;
        files->bytes[at + 1][1] ^= 1;
        return true;
    case TRIAL_COUNT: break;
    }
    return false;
}

static void set_missing(const struct place *place, uint32_t victim, bool missing)
{
    char name[NAME_SIZE];
    snprintf(name, sizeof name, SHARD_DIRECTORY, victim);
    int failed = missing ? unlinkat(place->fd, name, AT_REMOVEDIR) : mkdirat(place->fd, name, 0700);
    ASSERT(failed == 0);
}

void place_try_damage(struct place *place, struct dice *dice)
{
    static const char *const names[TRIAL_COUNT] = {"is missing", "is empty", "is another installation's", "is its sister's", "is an earlier one",
                                                   "is damaged twice"};
    struct files right, wrong;
    take(place, &right);
    if (!place->is_whole) return; /* one run more is right, too */
    const uint32_t victim = dice_below(dice, place->shard_count);
    const enum trial trial = (enum trial)dice_below(dice, TRIAL_COUNT);
    wrong = right;
    if (!change(place, &wrong, trial, victim)) return;
    bring(place, &wrong);
    if (trial == TRIAL_MISSING) set_missing(place, victim, true);
    struct datadir *dir = NULL;
    char text[512] = "";
    enum result result = place->plant == PLANT_any_directory ? RESULT_OK : open_place(place, &dir, text, sizeof text);
    EXPECT(result == RESULT_CORRUPT, "shard %u's directory %s, and is taken for good", victim, names[trial]);
    if (trial == TRIAL_MISSING) set_missing(place, victim, false);
    bring(place, &right);
    power_adopt();
}

/* ---- life ---- */

static void path_of(char path[NAME_SIZE], int pid)
{
    const char *parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(path, NAME_SIZE, "%s/ringpost-sim-%d", parent, pid);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

static void remove_all(const char *path) { (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

void place_remove_of(int pid)
{
    char path[NAME_SIZE];
    path_of(path, pid);
    remove_all(path);
}

struct place *place_create(uint16_t shard_count, enum plant plant, uint64_t seed)
{
    struct place *place = calloc(1, sizeof *place);
    ASSERT(place != NULL);
    place->shard_count = shard_count;
    place->plant = plant;
    path_of(place->path, (int)getpid());
    remove_all(place->path);
    struct datadir *dir;
    char text[512] = "";
    enum result result = open_place(place, &dir, text, sizeof text);
    EXPECT(result == RESULT_OK, "no data directory can be made: %s", text);
    datadir_close(dir);
    power_begin(place->path, seed);
    power_set_lying(plant == PLANT_files_not_synced);
    place->fd = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ASSERT(place->fd >= 0);
    return place;
}

void place_destroy(struct place *place)
{
    power_end();
    close(place->fd);
    remove_all(place->path);
    free(place);
}
