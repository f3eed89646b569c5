/* api/json.h - the Protobuf JSON mapping, generic over protobuf-c descriptors; no method has JSON code of its own.
 * Thread: any.                    Depends: core/, jansson.       Start at: api/api.h
 * lowerCamelCase is not used: field names are the .proto's own (documented as such). 64-bit integers are written as strings and read as
 * strings or numbers, bytes are standard base64 (read: also URL-safe), enums are names (read: names or numbers), absent fields
 * have their default, null stands for absent, and all fields are written except unset messages, unset oneofs and empty repeated ones. Refused:
 * unknown fields, duplicate keys, nesting deeper than JSON_DEPTH_MAX, two members of one oneof, invalid UTF-8, numbers out of range. */
#ifndef API_JSON_H
#define API_JSON_H

#include "core/cursor.h"
#include "core/result.h"
#include <protobuf-c/protobuf-c.h>

#define JSON_DEPTH_MAX 16

/* JSON text of one message -> packed protobuf appended to `out`, as protobuf-c would pack it. MALFORMED with `text` =
 * "field rooms[2].name: …", TOO_LARGE (`out` failed); then nothing is appended. Input size is bounded by the caller; work is linear in
 * it. Whole numbers above 2^63 - 1 must be strings. */
NODISCARD enum result json_to_packed(const ProtobufCMessageDescriptor *descriptor, struct slice json, struct writer *out,
                                     char *text, size_t text_size);
/* A URL query (a=b&c=d, percent-encoded; a repeated field may repeat its key) -> packed protobuf of a message with scalar fields. Results
 * as above, and NOMEM. */
NODISCARD enum result json_query_to_packed(const ProtobufCMessageDescriptor *descriptor, struct slice query, struct writer *out,
                                           char *text, size_t text_size);
/* Packed protobuf -> JSON text appended to `out`. MALFORMED when it does not unpack; NOMEM. Bytes of a string that are
 * not UTF-8 are written as U+FFFD. */
NODISCARD enum result json_from_packed(const ProtobufCMessageDescriptor *descriptor, struct slice packed, struct writer *out);
/* The same from an unpacked message; and only its members without the braces when `bare` (for splicing). */
void json_from_message(const ProtobufCMessage *message, struct writer *out, bool bare);

#endif
