/* layers: shard core */
/* tests/fuzz/letter_fuzz.c - any bytes as a letter of another host: what decodes encodes to the same bytes, and a byte less is no letter. */
#include "core/check.h"
#include "shard/engine/letter.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > UINT32_MAX) return 0;
    struct letter *letter = letter_decode(slice_of(data, size));
    if (letter == NULL) return 0;
    struct actor_record actor;
    ASSERT(letter->foreign && letter_kind_is_flat(letter->kind) && letter->actor_len <= letter->len);
    ASSERT(letter_actor(letter, &actor) == (letter->actor_len > 0));
    struct writer w;
    writer_init(&w, 0);
    letter_encode(letter, &w);
    ASSERT(!w.failed && slice_equal(writer_slice(&w), slice_of(data, size)));
    uint8_t *exact = malloc(size); /* so that the sanitizer sees a read past the end */
    ASSERT(exact != NULL);
    memcpy(exact, data, size - 1);
    ASSERT(letter_decode(slice_of(exact, size - 1)) == NULL);
    free(exact);
    writer_deinit(&w);
    letter_free(letter);
    return 0;
}
