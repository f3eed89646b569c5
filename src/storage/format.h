/* storage/format.h - the bytes of FORMAT, which says what a data directory is, and how its two copies make one.
 * Owns:    nothing.               Thread: start-up; blocks.
 * Depends: core/ only.            Start at: storage/datadir.h
 *
 *   format=5                      first, in every format: what the directory's newest version makes of it
 *   readable=N                    the oldest format whose versions can read and go on with it; absent: the same. Of one beyond that nothing is known
 *   shards=N
 *   id=<32 hex>                   of the installation
 *   run=N                         the starts of the server so far; 0: never, the shards' directories are being made
 *   mark=<16 hex>                 drawn for that run
 *   before=<16 hex>               only while the run is being raised: the mark of the one before
 *   sum=<16 hex>                  last: xxh3 of all bytes before it; from format 4 on
 *
 * Each shard's directory says the same of itself (identity.h). To raise the run: FORMAT with `before`, then every IDENTITY, then FORMAT
 * without it; only then anything is served. So a crash leaves shards of this run or of the one before, and FORMAT says that it may be so;
 * at any other time a shard of another run, or of the same number drawn elsewhere, is one that was put there.
 *
 * Unknown lines between are left to later versions. The same bytes are in FORMAT and in FORMAT.copy, the copy written first; either is
 * made whole (wholefile.h). So a crash leaves two good ones, the copy the newer; a damaged one is told by its sum, and the other is
 * right. Format 3 had neither sum nor copy: its FORMAT must be, to the byte, what that version wrote. */
#ifndef STORAGE_FORMAT_H
#define STORAGE_FORMAT_H

#include "core/result.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FORMAT_ID_BYTES 16
#define FORMAT_ID_SIZE (2 * FORMAT_ID_BYTES + 1)
#define FORMAT_MARK_SIZE 16 /* digits of a mark */
#define FORMAT_SIZE_MAX 512
#define FORMAT_NAME "FORMAT"
#define FORMAT_COPY_NAME "FORMAT.copy"

struct format {
    uint32_t number, readable, shards; /* readable: at most `number` */
    char id[FORMAT_ID_SIZE];
    uint64_t run, mark, before;
    bool raising;
};

bool format_parse_mark(const char *text, uint64_t *mark);
/* Gives the length of the text, without its end. */
size_t format_render(const struct format *format, char text[FORMAT_SIZE_MAX]);
/* OK; UNSUPPORTED: another version's, only `number` is known; CORRUPT. */
NODISCARD enum result format_parse(struct format *format, const char *text, size_t len);

/* Reads both. OK, with what stands in `*complaint` when one of them is not as it should be (to be warned of, and mended by a write; else
 * NULL); *same: both are there and alike. MISSING: neither is there. Else as format_parse, or what reading said; CORRUPT, too, when
 * both are good and of two different directories, with `*complaint`. */
NODISCARD enum result format_load(int dir_fd, struct format *format, bool *same, const char **complaint);
/* Both, the copy first. */
NODISCARD enum result format_store(int dir_fd, const struct format *format);

#endif
