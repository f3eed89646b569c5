/* layers: api core */
/* tests/fuzz/query_fuzz.c - URL queries. The first byte chooses the method; what is read must show as JSON that reads
 * as the same. */
#include "api/envelope.h"
#include "api/json.h"
#include "core/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    api_init();
    const ProtobufCMessageDescriptor *type = envelope_request_descriptor(data[0]);
    if (type == NULL) return 0;
    struct writer packed = {0}, json = {0}, again = {0};
    char text[100];
    enum result res = json_query_to_packed(type, slice_of(data + 1, size - 1), &packed, text, sizeof text);
    if (res == RESULT_OK) {
        res = json_from_packed(type, writer_slice(&packed), &json);
        ASSERT(res == RESULT_OK);
        res = json_to_packed(type, writer_slice(&json), &again, text, sizeof text);
        ASSERT(res == RESULT_OK);
        ASSERT(slice_equal(writer_slice(&packed), writer_slice(&again)));
    } else {
        ASSERT(packed.len == 0);
    }
    writer_deinit(&packed);
    writer_deinit(&json);
    writer_deinit(&again);
    return 0;
}
