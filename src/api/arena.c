/* api/arena.c - unpacking: the bump allocator of one turn, and the reading of a message into it. What one turn unpacks
 * dies at once.
 *
 *     newest -> [block: used | free] -> [older block, full] -> ...
 *
 * Blocks double, so an arena settles on one block as large as its busiest turn; reset keeps only the newest. Freed
 * single allocations cost nothing and give nothing back. Under AddressSanitizer everything not handed out is poisoned,
 * so a message kept beyond its turn is found at its first use. */
#include "api/envelope.h"
#include "api/utf8.h"
#include "api/wire.h"
#include "core/check.h"
#include <stdalign.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)   ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

#define ARENA_ALIGNMENT 16
#define ARENA_BLOCK_MIN 4096

struct block {
    struct block *older;
    size_t capacity, used;
    alignas(ARENA_ALIGNMENT) uint8_t bytes[];
};

struct envelope_arena {
    ProtobufCAllocator allocator;
    struct block *newest;
    size_t reserved_bytes; /* the sum of the blocks' capacities, <= size_max_bytes */
    size_t size_max_bytes;
    bool is_exhausted; /* something asked for more than there was, since the last reset */
};

static struct block *block_add(struct envelope_arena *arena, size_t size)
{
    size_t capacity = arena->newest == NULL ? ARENA_BLOCK_MIN : arena->newest->capacity * 2;
    if (capacity < size) capacity = size;
    size_t left = arena->size_max_bytes - arena->reserved_bytes;
    if (capacity > left) capacity = left;
    if (capacity < size) return NULL;
    struct block *block = malloc(sizeof *block + capacity);
    if (block == NULL) return NULL;
    *block = (struct block){.older = arena->newest, .capacity = capacity};
    ASAN_POISON_MEMORY_REGION(block->bytes, capacity);
    arena->newest = block;
    arena->reserved_bytes += capacity;
    return block;
}

static void *arena_try_take(struct envelope_arena *arena, size_t size)
{
    if (size > arena->size_max_bytes) return NULL;
    size_t rounded = (size + ARENA_ALIGNMENT - 1) & ~(size_t)(ARENA_ALIGNMENT - 1);
    struct block *block = arena->newest;
    if (block == NULL || block->capacity - block->used < rounded) block = block_add(arena, rounded);
    if (block == NULL) return NULL;
    void *taken = block->bytes + block->used;
    block->used += rounded;
    ASSERT(block->used <= block->capacity);
    ASAN_UNPOISON_MEMORY_REGION(taken, size);
    return taken;
}

static void *arena_take(struct envelope_arena *arena, size_t size)
{
    void *taken = arena_try_take(arena, size);
    if (taken == NULL) arena->is_exhausted = true;
    return taken;
}

static void *allocator_alloc(void *arena, size_t size)
{
    return arena_take(arena, size);
}

static void allocator_free(void *arena, void *pointer)
{
    (void)arena; /* everything is freed at once, by reset */
    (void)pointer;
}

static void blocks_free(struct block *block)
{
    while (block != NULL) {
        struct block *older = block->older;
        free(block);
        block = older;
    }
}

enum result envelope_arena_create(struct envelope_arena **out, size_t size_max_bytes)
{
    *out = NULL;
    ASSERT(size_max_bytes > 0);
    struct envelope_arena *arena = calloc(1, sizeof *arena);
    if (arena == NULL) return RESULT_NOMEM;
    arena->allocator = (ProtobufCAllocator){allocator_alloc, allocator_free, arena};
    /* Whole units only: then a block cut to what is left still starts and ends aligned. */
    arena->size_max_bytes = size_max_bytes & ~(size_t)(ARENA_ALIGNMENT - 1);
    *out = arena;
    return RESULT_OK;
}

void envelope_arena_destroy(struct envelope_arena *arena)
{
    if (arena == NULL) return;
    blocks_free(arena->newest);
    free(arena);
}

void envelope_arena_reset(struct envelope_arena *arena)
{
    struct block *kept = arena->newest;
    arena->is_exhausted = false;
    if (kept == NULL) return;
    blocks_free(kept->older);
    kept->older = NULL;
    kept->used = 0;
    ASAN_POISON_MEMORY_REGION(kept->bytes, kept->capacity);
    arena->reserved_bytes = kept->capacity;
}

ProtobufCAllocator *envelope_arena_allocator(struct envelope_arena *arena)
{
    return &arena->allocator;
}

void *envelope_arena_alloc(struct envelope_arena *arena, size_t size)
{
    void *taken = arena_take(arena, size);
    if (taken != NULL) memset(taken, 0, size);
    return taken;
}

/* ---- messages -------------------------------------------------------------------------------------------------- */

static bool is_text(struct slice bytes)
{
    return utf8_valid_len(bytes) == bytes.len && (bytes.len == 0 || memchr(bytes.data, 0, bytes.len) == NULL);
}

/* Whether every string in the packed message is text. Unknown fields and other types are protobuf-c's to judge. */
static bool strings_are_text(const ProtobufCMessageDescriptor *descriptor, struct slice packed)
{
    struct cursor c = cursor_of(packed);
    struct wire_field found;
    while (wire_next(&c, &found)) {
        const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(descriptor, found.number);
        if (field == NULL || found.type != WIRE_BYTES) continue;
        if (field->type == PROTOBUF_C_TYPE_STRING && !is_text(found.bytes)) return false;
        if (field->type == PROTOBUF_C_TYPE_MESSAGE && !strings_are_text(field->descriptor, found.bytes)) return false;
    }
    return cursor_done(&c);
}

enum result envelope_unpack_stored(struct envelope_arena *arena, const ProtobufCMessageDescriptor *descriptor,
                                   struct slice packed, ProtobufCMessage **out)
{
    *out = protobuf_c_message_unpack(descriptor, &arena->allocator, packed.len, packed.data);
    if (*out != NULL) return RESULT_OK;
    return arena->is_exhausted ? RESULT_NOMEM : RESULT_MALFORMED;
}

enum result envelope_unpack(struct envelope_arena *arena, const ProtobufCMessageDescriptor *descriptor,
                            struct slice packed, ProtobufCMessage **out)
{
    *out = NULL;
    if (!strings_are_text(descriptor, packed)) return RESULT_MALFORMED;
    return envelope_unpack_stored(arena, descriptor, packed, out);
}
