/* shard/letter.c - making and freeing letters. One heap block each: the receiver's free is the only cross-thread free of the
 * design, one per letter, not per recipient. */
#include "shard/letter.h"
#include "shard/memory.h"

static struct letter *letter_alloc(size_t size)
{
    struct letter *letter = malloc(size);
    if (letter == NULL) check_fatal("out of memory: %zu bytes for a letter", size);
    return letter;
}

static void letter_init(struct letter *letter, enum letter_kind kind, uint16_t from_shard, uint16_t to_shard, uint32_t len)
{
    *letter = (struct letter){.kind = kind, .from_shard = from_shard, .to_shard = to_shard, .len = len};
}

struct letter *letter_create(enum letter_kind kind, uint16_t from_shard, uint16_t to_shard, uint32_t len)
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

void letter_fill(struct letter *letter, enum letter_kind kind, uint16_t from_shard, uint16_t to_shard,
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

struct letter *letter_make(enum letter_kind kind, uint16_t from_shard, uint16_t to_shard, const struct actor_record *actor,
                           struct slice payload)
{
    struct letter *letter = letter_alloc(letter_size(actor, payload));
    letter_fill(letter, kind, from_shard, to_shard, actor, payload);
    return letter;
}

struct letter *letter_copy(const struct letter *letter)
{
    struct letter *copy = letter_alloc(sizeof *letter + letter->len);
    memcpy(copy, letter, sizeof *letter + letter->len);
    copy->next = NULL;
    return copy;
}

void letter_free(struct letter *letter) { free(letter); }

bool letter_actor(const struct letter *letter, struct actor_record *actor)
{
    struct cursor c = cursor_of(slice_of(letter->bytes, letter->actor_len));
    *actor = (struct actor_record){0};
    return letter->actor_len > 0 && actor_record_read(actor, &c) && cursor_done(&c);
}
