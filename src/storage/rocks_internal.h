/* storage/rocks_internal.h - what the parts of rocks.h share; nobody else includes it, and nobody else calls RocksDB.
 * rocks.c opens and closes, rocks_options.c says how, rocks_read.c reads, rocks_write.c writes and flushes, rocks_apart.c keeps values beside
 * RocksDB, rocks_damage.c judges its errors. */
#ifndef STORAGE_ROCKS_INTERNAL_H
#define STORAGE_ROCKS_INTERNAL_H

#include "core/check.h"
#include "core/logger.h"
#include "storage/rocks.h"
#include "storage/trims.h"
#include "storage/valuelog.h"
#include <rocksdb/c.h>
#include <string.h>

#define APPLIED_KEY "\0applied"
#define APPLIED_KEY_SIZE 8
#define DAMAGE_SIZE_MAX 512
#define L0_FILES_STALL 52
#define GROUP_SIZE 9 /* kind byte and id, see store.h: what a scan mostly stays within */

struct applied { /* as it is stored under APPLIED_KEY */
    uint64_t index, values_end;
};
_Static_assert(sizeof(struct applied) == 16, "the row of the applied index");

struct rocks {
    struct store_view view;
    rocksdb_t *db;
    rocksdb_writeoptions_t *write_options;
    rocksdb_readoptions_t *read_options, *load_options, *persisted_options; /* load: what is read once does not fill the cache */
    const rocksdb_readoptions_t *reading; /* the view's: read_options or load_options */
    rocksdb_flushoptions_t *flush_options;
    rocksdb_writebatch_t *staged;
    struct trims *trims;
    rocksdb_cache_t *cache;        /* the shared one */
    struct valuelog *values;       /* NULL: a store that is looked at and is not there */
    struct writer value;           /* one that is read from there */
    uint64_t active_bytes;         /* in the memtable that fills, after the last write */
    uint64_t staged_bytes;         /* of the operations since the last write */
    rocksdb_writebatch_wi_t *held; /* NULL: nothing is held back */
    bool half;                     /* operations were staged since the last commit */
    bool full;                     /* the last write found no room on the disk; warned of once */
    bool read_only;                /* opened on a full disk, or to be looked at */
    rocksdb_env_t *env;            /* NULL: the disk; else one in memory, of a store that is looked at and is not there */
    bool damaged;
    char damage[DAMAGE_SIZE_MAX];
    uint64_t reopen_at_ns;
    struct rocks_options options;  /* for that */
    uint64_t applied, written, flushing; /* committed >= in RocksDB >= covered by a begun flush */
    uint64_t durable; /* as it was found last, with its values on the disk */
    char path[];
};

/* ---- rocks_damage.c ---- */

/* RocksDB reports in text. Gives the outcome and frees `error`; `copy` gets the text. */
enum result rocks_result(char *error, char *copy, size_t copy_size);
/* The same for a read: what is not as it was written is noted as damage, anything else is IO. */
enum result rocks_read_result(struct rocks *rocks, char *error);
void rocks_note_damage(struct rocks *rocks, const char *text);
/* What an earlier life noted. */
bool rocks_find_damage(const char *path, char *text, size_t text_size);

/* ---- rocks_options.c ---- */

rocksdb_options_t *rocks_options_make(const struct rocks *rocks, char **error);
rocksdb_readoptions_t *rocks_read_options_make(bool fill_cache);
rocksdb_cache_t *rocks_cache_ref(uint64_t size_bytes);
void rocks_cache_unref(void);
/* Before the first open: RocksDB's threads, and what becomes of its exceptions. */
void rocks_prepare_process(void);

/* ---- rocks_read.c ---- */

extern const struct store_view_ops rocks_view_ops;
/* The applied index in the memtables and files, or in the files alone, as `options` say. */
enum result rocks_read_applied(struct rocks *rocks, const rocksdb_readoptions_t *options, struct applied *applied, char *text, size_t text_size);

/* ---- rocks_apart.c ---- */

#define APART_ROW_SIZE 20

static inline bool rocks_is_apart(const struct rocks *rocks, struct slice key)
{
    return key.data[0] == rocks->options.apart_kind && rocks->options.apart_kind != 0;
}

static inline bool rocks_is_place(struct slice row)
{
    uint32_t first = 1;
    if (row.len == APART_ROW_SIZE) memcpy(&first, row.data, sizeof first);
    return first == 0;
}

enum result rocks_open_values(struct rocks *rocks, uint64_t end, char *text, size_t text_size);
/* Appends the value that a row stands for. */
enum result rocks_read_apart(struct rocks *rocks, struct slice row, struct writer *value);
/* Into the value log, and its place into `row`. False: there is no room, the value stays in the row. */
bool rocks_put_apart(struct rocks *rocks, struct slice value, uint8_t row[APART_ROW_SIZE]);
/* All values are on the disk. False: it is full. */
bool rocks_sync_values(struct rocks *rocks);

/* ---- rocks_write.c ---- */

enum result rocks_flush_waiting(struct rocks *rocks, bool wait);

/* ---- rocks.c ---- */

/* One that was opened for reading, because the disk was full: true when it could be opened anew. */
bool rocks_open_for_writing(struct rocks *rocks);

#endif
