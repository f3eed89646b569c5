/* shard/engine/letter.c - making and freeing letters. The receiver's free is the only cross-thread free of the design: one per turn for the
 * small letters, one each for the others, none per recipient. */
#include "shard/engine/letter.h"
#include "core/refusal.h"
#include "shard/engine/memory.h"

static void *letter_alloc(size_t size)
{
    void *memory = malloc(size);
    if (memory == NULL) check_fatal("out of memory: %zu bytes for letters", size);
    return memory;
}

static void letter_init(struct letter *letter, uint16_t kind, uint16_t from_shard, uint16_t to_shard, uint32_t len)
{
    *letter = (struct letter){.kind = kind, .from_shard = from_shard, .to_shard = to_shard, .len = len};
}

struct letter *letter_create(uint16_t kind, uint16_t from_shard, uint16_t to_shard, uint32_t len)
{
    struct letter *letter = letter_alloc(sizeof *letter + len);
    letter_init(letter, kind, from_shard, to_shard, len);
    return letter;
}

static uint32_t actor_size(const struct actor_record *actor)
{
    return actor == NULL ? 0 : (uint32_t)actor_record_size(actor);
}

uint32_t letter_size(const struct actor_record *actor, struct slice payload)
{
    return (uint32_t)sizeof(struct letter) + actor_size(actor) + payload.len;
}

void letter_fill(struct letter *letter, uint16_t kind, uint16_t from_shard, uint16_t to_shard,
                 const struct actor_record *actor, struct slice payload)
{
    uint32_t actor_len = actor_size(actor);
    letter_init(letter, kind, from_shard, to_shard, actor_len + payload.len);
    letter->actor_len = actor_len;
    if (actor != NULL) {
        struct writer w = {.data = letter->bytes, .capacity = actor_len, .size_max = actor_len};
        actor_record_write(&w, actor);
        ASSERT(!w.failed && w.len == actor_len && w.data == letter->bytes);
    }
    if (payload.len > 0) memcpy(letter->bytes + actor_len, payload.data, payload.len);
}

struct letter *letter_make(uint16_t kind, uint16_t from_shard, uint16_t to_shard, const struct actor_record *actor,
                           struct slice payload)
{
    struct letter *letter = letter_alloc(letter_size(actor, payload));
    letter_fill(letter, kind, from_shard, to_shard, actor, payload);
    return letter;
}

struct letter *letter_copy_to(void *memory, const struct letter *letter)
{
    struct letter *copy = memory;
    memcpy(copy, letter, letter_room(letter));
    copy->next = NULL;
    copy->parcel = NULL;
    return copy;
}

struct letter *letter_copy(const struct letter *letter) { return letter_copy_to(letter_alloc(letter_room(letter)), letter); }

/* ---- parcels ---- */

#define PARCEL_SIZE (16u << 10)

struct parcel {
    uint32_t letters; /* not freed yet */
    uint32_t used;
    _Alignas(16) uint8_t bytes[];
};

struct letter *parcel_add(struct parcel **parcel, const struct letter *letter)
{
    uint32_t size = (letter_room(letter) + 15) & ~15u;
    ASSERT(letter_fits_parcel(letter));
    if (*parcel == NULL || (*parcel)->used + size > PARCEL_SIZE) {
        *parcel = letter_alloc(sizeof **parcel + PARCEL_SIZE);
        **parcel = (struct parcel){0};
    }
    struct parcel *p = *parcel;
    struct letter *copy = letter_copy_to(p->bytes + p->used, letter);
    copy->parcel = p;
    p->used += size;
    p->letters++;
    return copy;
}

void letter_free(struct letter *letter)
{
    struct parcel *parcel = letter == NULL ? NULL : letter->parcel;
    if (parcel == NULL) {
        free(letter);
    } else {
        ASSERT(parcel->letters > 0);
        if (--parcel->letters == 0) free(parcel);
    }
}

bool letter_actor(const struct letter *letter, struct actor_record *actor)
{
    struct cursor c = cursor_of(slice_of(letter->bytes, letter->actor_len));
    *actor = (struct actor_record){0};
    return letter->actor_len > 0 && actor_record_read(actor, &c) && cursor_done(&c);
}

/* ---- bytes ---- */

#define LETTER_VERSION 2

/* The head behind its kind, in the order of its bytes. */
#define LETTER_HEAD_FIELDS(F)                                                                                          \
    F(u16, from_shard) F(u16, to_shard) F(u16, method) F(u8, error) F(u8, noted) F(flag, admitted)                     \
    F(u32, retry_after_ms) F(u64, number)                                                                              \
    F(u16, origin.worker) F(u32, origin.slot) F(u64, origin.generation) F(u16, address_class) F(u32, actor_len)
#define LETTER_FIELD_WRITE(type, field) writer_##type(out, letter->field);
#define LETTER_FIELD_READ(type, field)  head.field = cursor_##type(&c);

static void writer_flag(struct writer *out, bool value) { writer_u8(out, value); }

static bool cursor_flag(struct cursor *c)
{
    const uint8_t value = cursor_u8(c);
    c->bad |= value > 1;
    return value == 1;
}

void letter_encode(const struct letter *letter, struct writer *out)
{
    ASSERT(letter_kind_is_flat(letter->kind));
    writer_u32(out, LETTER_ENCODED_SIZE_MIN + letter->len);
    writer_u8(out, LETTER_VERSION);
    writer_u8(out, (uint8_t)letter->kind);
    LETTER_HEAD_FIELDS(LETTER_FIELD_WRITE)
    writer_raw(out, letter->bytes, letter->len);
}

static bool head_is_good(const struct letter *head, uint8_t version)
{
    return version == LETTER_VERSION && letter_kind_is_flat(head->kind) && head->error < ERROR_COUNT && head->noted <= REFUSAL_COUNT &&
           head->actor_len <= head->len;
}

struct letter *letter_decode(struct slice bytes)
{
    if (bytes.len < LETTER_ENCODED_SIZE_MIN || bytes.len > LETTER_ENCODED_SIZE_MAX) return NULL;
    struct cursor c = cursor_of(bytes);
    struct letter head = {.foreign = true, .len = bytes.len - LETTER_ENCODED_SIZE_MIN};
    const uint32_t len = cursor_u32(&c);
    const uint8_t version = cursor_u8(&c);
    head.kind = cursor_u8(&c);
    LETTER_HEAD_FIELDS(LETTER_FIELD_READ)
    if (c.bad || len != bytes.len || !head_is_good(&head, version)) return NULL;
    struct letter *letter = letter_alloc(letter_room(&head));
    memcpy(letter, &head, sizeof head);
    if (head.len > 0) memcpy(letter->bytes, c.at, head.len);
    struct actor_record actor;
    if (head.actor_len == 0 || letter_actor(letter, &actor)) return letter;
    letter_free(letter);
    return NULL;
}
