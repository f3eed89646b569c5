/* api/send_request.c - reading the plain form of a SendRequest by hand: one pass, nothing allocated.
 * It knows the numbers and types of the contract by heart; tests/api/send_request_test.c and the fuzzer `send` hold it to what the
 * generic reader says. */
#include "api/envelope.h"
#include "api/utf8.h"
#include "api/wire.h"
#include "ringpost/v1/ringpost.fields.h"

#define HEAD_SIZE_MAX 6 /* tag and length; the generic reader takes no longer ones, however they are padded */

static bool is_client_msg_id(struct slice text)
{
    if (text.len > ENVELOPE_CLIENT_MSG_ID_MAX || utf8_valid_len(text) != text.len) return false;
    bool has_nul = false;
    for (uint32_t i = 0; i < text.len; i++) has_nul |= text.data[i] == 0;
    return !has_nul;
}

bool envelope_unpack_send(struct envelope_send *out, struct slice packed)
{
    *out = (struct envelope_send){0};
    struct cursor c = cursor_of(packed);
    struct wire_field field;
    uint32_t seen = 0;
    while (c.at != c.end) {
        const uint8_t *start = c.at;
        if (*start >= 0x80 || !wire_next(&c, &field)) return false; /* all tags have one byte */
        bool is_number = field.number == FIELD_SEND_REQUEST_ROOM_ID || field.number == FIELD_SEND_REQUEST_TO_USER_ID ||
                         field.number == FIELD_SEND_REQUEST_KIND || field.number == FIELD_SEND_REQUEST_PUBLISHED_QOS;
        bool is_known = field.number <= FIELD_SEND_REQUEST_PUBLISHED_QOS && field.number != FIELD_SEND_REQUEST_PROPERTIES;
        if (!is_known || (seen & 1u << field.number) != 0) return false;
        if (field.type != (is_number ? WIRE_VARINT : WIRE_BYTES)) return false;
        if (!is_number && field.bytes.data - start > HEAD_SIZE_MAX) return false;
        seen |= 1u << field.number;
        switch (field.number) {
        case FIELD_SEND_REQUEST_ROOM_ID: out->room_id = field.value; break;
        case FIELD_SEND_REQUEST_TO_USER_ID: out->to_user_id = field.value; break;
        case FIELD_SEND_REQUEST_CLIENT_MSG_ID:
            if (!is_client_msg_id(field.bytes)) return false;
            out->client_msg_id = field.bytes;
            break;
        case FIELD_SEND_REQUEST_KIND:
            if (field.value > INT32_MAX) return false;
            out->kind = (int32_t)field.value;
            break;
        case FIELD_SEND_REQUEST_BODY: out->body = field.bytes; break;
        case FIELD_SEND_REQUEST_PUBLISHED_QOS:
            if (field.value > INT32_MAX) return false;
            out->published_qos = (int32_t)field.value;
            break;
        }
    }
    return true;
}
