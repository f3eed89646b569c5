/* layers: api core */
/* tests/fuzz/name_fuzz.c - any bytes as a name: what is cleaned is UTF-8 within its bounds, can be seen, and cleans to itself. */
#include "api/name.h"
#include "api/utf8.h"
#include "core/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct name_text name, again;
    if (name_clean(&name, slice_of(data, size)) != NULL) return 0;
    struct slice clean = name_slice(&name);
    ASSERT(clean.len <= NAME_SIZE_MAX && utf8_valid_len(clean) == clean.len);
    ASSERT(clean.len > 0 || size == 0);
    ASSERT(name_clean(&again, clean) == NULL);
    ASSERT(slice_equal(name_slice(&again), clean));
    return 0;
}
