/* api/name.h - what people may call themselves, their rooms and devices: one rule for every name that is shown.
 * Thread: any.                    Depends: core/cursor.h, utf8proc.       Start at: api/api.h
 *
 * A name is cleaned, then judged:
 *     blanks of every kind        runs become one space; none at either end
 *     what nobody can see         goes (zero width, fillers, soft hyphen, …), but for joiners, selectors and tags where a script or an
 *                                 emoji needs them: after a virama, between Arabic letters, within an emoji
 *     the rest                    normalised to NFC
 *     controls, line ends, directional embeddings and overrides, private use, noncharacters     refuse the name
 *     nothing that can be seen    refuses it, unless nothing at all was given
 * Two people may have the same name: who is who is told by the user name, which is a-z 0-9 _ - . alone. */
#ifndef API_NAME_H
#define API_NAME_H

#include "core/cursor.h"

#define NAME_CHARACTERS_MAX 64 /* code points, cleaned */
#define NAME_SIZE_MAX (4 * NAME_CHARACTERS_MAX)

struct name_text {
    uint32_t len;
    uint8_t bytes[NAME_SIZE_MAX];
};

/* NULL: `out` is the cleaned name, empty when `given` is. Else why it is refused, to stand behind "name: "; constant. */
const char *name_clean(struct name_text *out, struct slice given);
static inline struct slice name_slice(const struct name_text *name) { return slice_of(name->bytes, name->len); }

#endif
