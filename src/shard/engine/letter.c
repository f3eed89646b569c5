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

static void origin_write(struct writer *out, const struct origin *origin)
{
    writer_u16(out, origin->worker);
    writer_u32(out, origin->slot);
    writer_u64(out, origin->generation);
}

static struct origin origin_read(struct cursor *c)
{
    struct origin origin = {.worker = cursor_u16(c)};
    origin.slot = cursor_u32(c);
    origin.generation = cursor_u64(c);
    return origin;
}

void letter_encode(const struct letter *letter, struct writer *out)
{
    ASSERT(letter_kind_is_flat(letter->kind));
    writer_u32(out, LETTER_ENCODED_SIZE_MIN + letter->len);
    writer_u8(out, LETTER_VERSION);
    writer_u8(out, (uint8_t)letter->kind);
    writer_u16(out, letter->from_shard);
    writer_u16(out, letter->to_shard);
    writer_u16(out, letter->method);
    writer_u8(out, letter->error);
    writer_u8(out, letter->noted);
    writer_u8(out, letter->admitted);
    writer_u32(out, letter->retry_after_ms);
    writer_u64(out, letter->number);
    origin_write(out, &letter->origin);
    writer_u16(out, letter->address_class);
    writer_u32(out, letter->actor_len);
    writer_raw(out, letter->bytes, letter->len);
}

static bool head_is_good(const struct letter *head, uint8_t version, uint8_t kind, uint8_t admitted)
{
    return version == LETTER_VERSION && letter_kind_is_flat(kind) && admitted <= 1 && head->error < ERROR_COUNT && head->noted <= REFUSAL_COUNT &&
           head->actor_len <= head->len;
}

struct letter *letter_decode(struct slice bytes)
{
    if (bytes.len < LETTER_ENCODED_SIZE_MIN || bytes.len > LETTER_ENCODED_SIZE_MAX) return NULL;
    struct cursor c = cursor_of(bytes);
    struct letter head = {.foreign = true, .len = bytes.len - LETTER_ENCODED_SIZE_MIN};
    const uint32_t len = cursor_u32(&c);
    const uint8_t version = cursor_u8(&c), kind = cursor_u8(&c);
    head.from_shard = cursor_u16(&c);
    head.to_shard = cursor_u16(&c);
    head.method = cursor_u16(&c);
    head.error = cursor_u8(&c);
    head.noted = cursor_u8(&c);
    const uint8_t admitted = cursor_u8(&c);
    head.retry_after_ms = cursor_u32(&c);
    head.number = cursor_u64(&c);
    head.origin = origin_read(&c);
    head.address_class = cursor_u16(&c);
    head.actor_len = cursor_u32(&c);
    if (c.bad || len != bytes.len || !head_is_good(&head, version, kind, admitted)) return NULL;
    head.kind = (uint16_t)kind;
    head.admitted = admitted != 0;
    struct letter *letter = letter_alloc(letter_room(&head));
    memcpy(letter, &head, sizeof head);
    if (head.len > 0) memcpy(letter->bytes, c.at, head.len);
    struct actor_record actor;
    if (head.actor_len == 0 || letter_actor(letter, &actor)) return letter;
    letter_free(letter);
    return NULL;
}
