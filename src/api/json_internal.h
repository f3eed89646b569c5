/* api/json_internal.h - what json_read.c, json_query.c and json_write.c share with envelope.c, token.c and openapi.c.
 * Thread: any.                    Depends: core/, jansson.       Start at: api/json.h */
#ifndef API_JSON_INTERNAL_H
#define API_JSON_INTERNAL_H

#include "api/json.h"
#include <jansson.h>

/* Parses one JSON object: no duplicate key, no depth beyond JSON_DEPTH_MAX, nothing after it. NULL with `text` set when
 * refused; else the caller ends it with json_decref(). */
json_t *json_tree_parse(struct slice json, char *text, size_t text_size);
/* The mapping proper, from a parsed object; see json_to_packed(). */
NODISCARD enum result json_tree_to_packed(const ProtobufCMessageDescriptor *descriptor, const json_t *object,
                                          struct writer *out, char *text, size_t text_size);
/* A number or a string of decimal digits without leading zeros, at most `max`. */
bool json_tree_u64(const json_t *value, uint64_t max, uint64_t *number);

/* Decimal digits of `value`; returns how many. */
#define JSON_DECIMAL_MAX 20
uint32_t json_decimal(char digits[JSON_DECIMAL_MAX], uint64_t value);
/* A quoted string. Bytes that are not UTF-8 become U+FFFD: what we write is JSON whatever was stored. */
void json_write_string(struct writer *out, struct slice text);
/* Text as it is: punctuation and other JSON that is ready. */
void json_write_raw(struct writer *out, const char *text);

#endif
