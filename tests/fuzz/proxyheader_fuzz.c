/* layers: net core */
/* tests/fuzz/proxyheader_fuzz.c - PROXY headers: what is found does not depend on what stands behind it nor on how it is cut; every
 * beginning of a whole header needs more; nothing is read behind the bytes that are there. */
#include "core/check.h"
#include "net/proxyheader.h"
#include <stddef.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In memory of just that size, so that a sanitizer sees each byte too many. */
static enum proxyheader_found parse(const uint8_t *data, size_t size, struct proxyheader *header)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    ASSERT(copy != NULL);
    if (size > 0) memcpy(copy, data, size);
    enum proxyheader_found found = proxyheader_parse(slice_of(copy, size), header);
    free(copy);
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxyheader whole, part;
    enum proxyheader_found found = parse(data, size, &whole);
    if (found == PROXYHEADER_MORE) ASSERT(size < PROXYHEADER_SIZE_MAX);
    if (found == PROXYHEADER_WHOLE) ASSERT(whole.size >= 15 && whole.size <= size && whole.size <= PROXYHEADER_SIZE_MAX);
    for (size_t len = 0; len < size; len++) {
        enum proxyheader_found shorter = parse(data, len, &part);
        if (found == PROXYHEADER_WHOLE) ASSERT(shorter == (len < whole.size ? PROXYHEADER_MORE : PROXYHEADER_WHOLE));
        if (found == PROXYHEADER_MORE) ASSERT(shorter == PROXYHEADER_MORE);
        if (shorter == PROXYHEADER_WHOLE) ASSERT(memcmp(&part, &whole, sizeof part) == 0);
    }
    return 0;
}
