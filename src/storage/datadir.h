/* storage/datadir.h - the data directory: who may open it and what it holds.
 * Owns:    the lock for as long as it is open.
 * Thread:  start-up and stop.     Depends: core/ only.           Start at: storage/storage.h
 *
 *   DIR/FORMAT, DIR/FORMAT.copy   what it is, with a checksum (format.h); twice, so that damage to one of them is mended
 *   DIR/LOCK              flock()ed by the process that has it open; holds its pid
 *   DIR/keys/             token keys, mode 0600
 *   DIR/shard-NNNN/IDENTITY, IDENTITY.copy   whose directory it is and since which run (identity.h)
 *   DIR/shard-NNNN/SEGMENTS   which segment of its log is the newest (disk_uring.c)
 *   DIR/shard-NNNN/log/   commit log segments      DIR/shard-NNNN/store/   RocksDB */
#ifndef STORAGE_DATADIR_H
#define STORAGE_DATADIR_H

#include "core/result.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DATADIR_FORMAT 5        /* 2: an outbox that holds the messages it names; 3: FORMAT without a checksum; 4: messages on each shard with members */
#define DATADIR_FORMAT_OLDEST 3 /* that is read; it becomes the newest when it is opened */
#define DATADIR_SHARDS_MAX 1024
#define SHARD_DIRECTORY "shard-%04u" /* of each shard */
#define SHARD_DIRECTORY_SIZE 20
#define DATADIR_KEY_SIZE_MAX 64
#define DATADIR_TOKEN_KEY "default" /* the key that signs access tokens */
#define DATADIR_TOKEN_KEY_SIZE 32

struct datadir;

/* Opens, creating when absent; nothing is written but LOCK. `shards_wanted` 0: what it has, or `shards_default` for a new one. Refused, with a
 * clear `text` and nothing left open: another format, a damaged one, another shard count than asked, open in another process (its pid is
 * named; waits up to 3 s first, because a killed process's last disk operations may hold the lock for a moment), not a
 * Ringpost directory (files there but no FORMAT), not writable, a shard's directory that is missing or another's or of another time. */
NODISCARD enum result datadir_open(struct datadir **out, const char *path, uint32_t shards_wanted, uint32_t shards_default,
                                   char *text, size_t text_size);
/* It is of an older format, and would become this one. */
bool datadir_upgrades(const struct datadir *dir);
/* When nothing is left that could refuse it, and before anything else is asked of it: makes FORMAT and the shards' directories of a new one,
 * mends FORMAT, makes an older format this one, which is logged first. */
NODISCARD enum result datadir_settle(struct datadir *dir, char *text, size_t text_size);
struct datadir_seen {
    uint32_t shards, format; /* 0: still to be made */
};
/* What datadir_open() would refuse, as far as it can be told without a change or the lock. */
NODISCARD enum result datadir_look(const char *path, uint32_t shards_wanted, struct datadir_seen *seen, char *text, size_t text_size);
/* Opens one that is there for looking: what datadir_open() would refuse is refused alike, and nothing is changed; it need not be writable.
 * BUSY: a server has it open. Until it is closed none can open it, other lookers can. */
NODISCARD enum result datadir_inspect(struct datadir **out, const char *path, char *text, size_t text_size);
/* What datadir_key() would refuse; OK when it would make the key. */
NODISCARD enum result datadir_look_at_key(const char *path, const char *name, size_t len, char *text, size_t text_size);
void datadir_close(struct datadir *dir); /* NULL: nothing to close */
/* The next run begins: FORMAT and every shard's IDENTITY say so, synced. After the shards were recovered and found to fit together, before
 * anything is served. OK; FULL and the like with `text`: nothing may be written, and it may be tried again. */
NODISCARD enum result datadir_raise(struct datadir *dir, char *text, size_t text_size);
/* Starts so far, this one included once it is raised; 0: a new directory. */
uint64_t datadir_run(const struct datadir *dir);
uint32_t datadir_shards(const struct datadir *dir);
const char *datadir_id(const struct datadir *dir);
/* Path of a part: "shard-0003/log"; creates the directories. `out` gets the whole path; TOO_LARGE when it does not fit. */
NODISCARD enum result datadir_path(const struct datadir *dir, const char *part, char *out, size_t out_size);
/* Reads keys/NAME, or creates it with `len` random bytes (mode 0600, synced). Refused with `text`: another length, bytes that nobody drew
 * (core/secret.h), a mode or an owner that lets others read or change it. `len`: up to DATADIR_KEY_SIZE_MAX. */
NODISCARD enum result datadir_key(struct datadir *dir, const char *name, uint8_t *out, size_t len, char *text, size_t text_size);

#endif
