/* api/name.c - cleans and judges a name, character by character, with the tables of utf8proc.
 * Happy path: decode, keep or drop each character by its neighbours, write it, normalise the whole; again until nothing
 * changes, because normalising moves marks and so gives characters other neighbours. From the second time on cleaning can only take away,
 * so it ends. A cleaned name cleans to itself. */
#include "api/name.h"
#include "core/check.h"
#include <stdlib.h>
#include <utf8proc.h>

#define GIVEN_SIZE_MAX (4 * NAME_SIZE_MAX) /* longer ones are not looked at */
#define ZERO_WIDTH_NON_JOINER 0x200c
#define ZERO_WIDTH_JOINER     0x200d
#define KEYCAP                0x20e3
#define BRAILLE_BLANK         0x2800
#define COMBINING_VIRAMA      9

#define TOO_LONG "at most 64 characters"

typedef utf8proc_int32_t character_t;

/* ---- kinds of characters ---- */

static bool is_among(character_t c, character_t first, character_t last) { return c >= first && c <= last; }

static bool is_noncharacter(character_t c) { return (c & 0xfffe) == 0xfffe || is_among(c, 0xfdd0, 0xfdef); }

static bool is_directional_control(const utf8proc_property_t *property)
{
    switch ((int)property->bidi_class) {
    case UTF8PROC_BIDI_CLASS_LRE:
    case UTF8PROC_BIDI_CLASS_RLE:
    case UTF8PROC_BIDI_CLASS_LRO:
    case UTF8PROC_BIDI_CLASS_RLO:
    case UTF8PROC_BIDI_CLASS_PDF:
    case UTF8PROC_BIDI_CLASS_LRI:
    case UTF8PROC_BIDI_CLASS_RLI:
    case UTF8PROC_BIDI_CLASS_FSI:
    case UTF8PROC_BIDI_CLASS_PDI: return true;
    default: return false;
    }
}

static const char *refusal_of(character_t c)
{
    const utf8proc_property_t *property = utf8proc_get_property(c);
    switch ((int)property->category) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return "no control characters or line ends";
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO: return "no characters of private use";
    default: break;
    }
    if (is_noncharacter(c)) return "no characters of private use";
    return is_directional_control(property) ? "no directional embeddings or overrides" : NULL;
}

static bool is_blank(character_t c) { return utf8proc_category(c) == UTF8PROC_CATEGORY_ZS || c == BRAILLE_BLANK; }

static bool is_ignorable(character_t c) { return utf8proc_get_property(c)->ignorable; }

static bool is_mark(character_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME || category == UTF8PROC_CATEGORY_MC;
}

static bool is_pictograph(character_t c)
{
    return utf8proc_get_property(c)->boundclass == UTF8PROC_BOUNDCLASS_EXTENDED_PICTOGRAPHIC;
}

static bool is_skin_tone(character_t c) { return is_among(c, 0x1f3fb, 0x1f3ff); }
static bool is_tag(character_t c) { return is_among(c, 0xe0020, 0xe007f); }
static bool is_arabic(character_t c) { return utf8proc_get_property(c)->bidi_class == UTF8PROC_BIDI_CLASS_AL; }

static bool is_selector(character_t c)
{
    return is_among(c, 0xfe00, 0xfe0f) || is_among(c, 0xe0100, 0xe01ef) || is_among(c, 0x180b, 0x180d) || c == 0x180f;
}

/* ---- cleaning ---- */

struct cleaner {
    struct slice given;
    uint32_t at;        /* of the next character */
    character_t before; /* the last one kept; 0: none */
    character_t base;   /* the last one kept that is neither mark nor ignorable; 0: none */
    bool blank_waits, visible;
    struct writer out;
};

/* 0 at the end, negative where the bytes are not UTF-8. */
static character_t peek(const struct cleaner *cleaner, uint32_t at, uint32_t *len)
{
    character_t c = 0;
    if (at == cleaner->given.len) return 0;
    utf8proc_ssize_t used = utf8proc_iterate(cleaner->given.data + at, cleaner->given.len - at, &c);
    if (used <= 0) return -1;
    *len = (uint32_t)used;
    return c;
}

/* Whether a character that nobody sees does something where it stands. */
static bool is_needed(const struct cleaner *cleaner, character_t c, character_t next)
{
    character_t before = cleaner->before;
    bool after_virama = before != 0 && utf8proc_get_property(before)->combining_class == COMBINING_VIRAMA;
    if (c == ZERO_WIDTH_NON_JOINER) return after_virama || (is_arabic(before) && next > 0 && is_arabic(next));
    if (c == ZERO_WIDTH_JOINER) return after_virama || (is_pictograph(cleaner->base) && next > 0 && is_pictograph(next));
    if (is_selector(c)) return is_pictograph(before) || next == KEYCAP || utf8proc_category(before) == UTF8PROC_CATEGORY_LO;
    return is_tag(c) && (is_pictograph(before) || is_skin_tone(before) || is_tag(before));
}

static void keep(struct cleaner *cleaner, character_t c)
{
    uint8_t bytes[4];
    if (cleaner->blank_waits && cleaner->before != 0) writer_u8(&cleaner->out, ' ');
    cleaner->blank_waits = false;
    writer_raw(&cleaner->out, bytes, (size_t)utf8proc_encode_char(c, bytes));
    cleaner->before = c;
    if (is_ignorable(c) || is_mark(c) || is_skin_tone(c)) return;
    cleaner->base = c;
    cleaner->visible = true;
}

static const char *clean(struct cleaner *cleaner)
{
    while (cleaner->at < cleaner->given.len) {
        uint32_t len = 0, next_len = 0;
        character_t c = peek(cleaner, cleaner->at, &len);
        if (c < 0) return "must be UTF-8";
        cleaner->at += len;
        const char *refusal = refusal_of(c);
        if (refusal != NULL) return refusal;
        if (is_blank(c)) cleaner->blank_waits = true;
        else if (!is_ignorable(c) || (!cleaner->blank_waits && is_needed(cleaner, c, peek(cleaner, cleaner->at, &next_len)))) keep(cleaner, c);
    }
    return cleaner->visible || cleaner->given.len == 0 ? NULL : "nothing of it can be seen";
}

static uint32_t characters_of(const uint8_t *text, uint32_t len)
{
    uint32_t characters = 0;
    for (uint32_t i = 0; i < len; i++) characters += (text[i] & 0xc0) != 0x80;
    return characters;
}

/* Puts the cleaned and normalised text in place of `text`; says whether that changed it. */
static const char *clean_once(struct writer *text, bool *changed)
{
    struct cleaner cleaner = {.given = writer_slice(text)};
    writer_init(&cleaner.out, 0);
    const char *refusal = clean(&cleaner);
    if (refusal == NULL) {
        utf8proc_uint8_t *composed = NULL;
        utf8proc_ssize_t len = utf8proc_map(cleaner.out.data, (utf8proc_ssize_t)cleaner.out.len, &composed, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        ASSERT(len > 0); /* it is UTF-8 and something of it can be seen; fails for want of memory only */
        *changed = !slice_equal(writer_slice(text), slice_of(composed, (size_t)len));
        writer_reset(text);
        writer_raw(text, composed, (size_t)len);
        free(composed);
    }
    writer_deinit(&cleaner.out);
    return refusal;
}

const char *name_clean(struct name_text *out, struct slice given)
{
    out->len = 0;
    if (given.len == 0) return NULL;
    if (given.len > GIVEN_SIZE_MAX) return TOO_LONG;
    struct writer text;
    writer_init(&text, 0);
    writer_raw(&text, given.data, given.len);
    const char *refusal = NULL;
    bool changed = false;
    do refusal = clean_once(&text, &changed);
    while (refusal == NULL && changed);
    if (refusal == NULL && characters_of(text.data, (uint32_t)text.len) > NAME_CHARACTERS_MAX) refusal = TOO_LONG;
    if (refusal == NULL) {
        out->len = (uint32_t)text.len;
        memcpy(out->bytes, text.data, out->len);
    }
    writer_deinit(&text);
    return refusal;
}
