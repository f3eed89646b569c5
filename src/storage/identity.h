/* storage/identity.h - what the directory of one shard says it is, and whether that is what FORMAT says it must be.
 * Owns:    nothing.               Thread: start-up; blocks.
 * Depends: storage/datadir.h, storage/format.h.  Start at: storage/datadir.h
 *
 *   DIR/shard-0003/IDENTITY, and the same in IDENTITY.copy, the copy written first:
 *   id=<32 hex>                   of the installation, as in FORMAT
 *   shard=3
 *   run=N                         the last start of the server that took it into use
 *   mark=<16 hex>                 of that run
 *   sum=<16 hex>                  as in FORMAT
 *
 * Without it a shard's directory that was lost, left behind on another disk, copied over from a sister or brought back from a backup of
 * its own would be served: acknowledged messages missing, ids given twice. */
#ifndef STORAGE_IDENTITY_H
#define STORAGE_IDENTITY_H

#include "storage/datadir.h"
#include "storage/format.h"

#define IDENTITY_SIZE_MAX 256
#define IDENTITY_NAME "IDENTITY"
#define IDENTITY_COPY_NAME "IDENTITY.copy"

struct identity {
    char id[FORMAT_ID_SIZE];
    uint16_t shard;
    uint64_t run, mark;
};

size_t identity_render(const struct identity *identity, char text[IDENTITY_SIZE_MAX]);
/* False: damaged. */
NODISCARD bool identity_parse(struct identity *identity, const char *text, size_t len);

/* Reads both files and gives what the directory is: the newer one of two that a crash came between. OK; MISSING: neither is there;
 * CORRUPT: none is good, or the two contradict each other; else what reading said. *same: both are there and alike. */
NODISCARD enum result identity_load(int shard_fd, struct identity *identity, bool *same);
NODISCARD enum result identity_store(int shard_fd, const struct identity *identity);

/* What FORMAT wants of shard `number`: the run that it is in (`now`), and while that is being raised the one before. */
struct identity identity_wanted(const struct format *format, uint16_t number);
/* NULL: `found`, of which identity_load() said `loaded`, is right. Else what is wrong with the directory, for people, in `text`. */
const char *identity_judge(const struct format *format, uint16_t number, enum result loaded, const struct identity *found, char *text,
                           size_t text_size);

/* ---- of all shards of a data directory: DIR/shard-0000 to the last ---- */

/* The directory of one shard, judged and changed by nothing. NULL or what is wrong, beginning with its name. */
const char *identity_check_shard(int dir_fd, const struct format *format, uint16_t number, char *text, size_t text_size);
/* All of them, and that there are no others. */
const char *identity_check_all(int dir_fd, const struct format *format, char *text, size_t text_size);
/* Makes the directories that are not there. */
NODISCARD enum result identity_make_directories(int dir_fd, const struct format *format);
/* Every IDENTITY says what identity_wanted() does afterwards, also where one of the two files was damaged. */
NODISCARD enum result identity_store_all(int dir_fd, const struct format *format);

#endif
