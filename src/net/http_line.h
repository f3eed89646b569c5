/* net/http_line.h - the grammar of HTTP/1.1's lines (RFC 9112): a whole line without its CR LF in, its parts out.
 * Owns:    nothing; the parts are borrowed from the line.
 * Thread:  any.                   Depends: core/ only.           Start at: net/net.h
 * A line has no control character but tabs: the reader of http.h stops at those. */
#ifndef NET_HTTP_LINE_H
#define NET_HTTP_LINE_H

#include "net/http.h"

#define HTTP_METHOD_SIZE_MAX 7 /* of those that are known */
/* Whether a known method begins with these bytes. */
bool http_begins_method(struct slice bytes);

struct http_request_line {
    struct slice method, target;
    uint8_t minor; /* of HTTP/1.minor */
};
/* NONE, or why it is refused. */
enum http_refusal http_parse_request_line(struct http_request_line *out, struct slice line);

struct http_target {
    struct slice authority; /* empty: the target names none */
    struct slice path, query;
};
/* "/path?query", "http://host/path?query", and "*" of OPTIONS. False: none of them. */
bool http_parse_target(struct http_target *out, struct slice method, struct slice target);

/* False: no header; a folded line is none. */
bool http_parse_header(struct http_header *out, struct slice line);

struct http_chunk_line {
    uint64_t size;          /* saturates */
    uint32_t extension_len; /* extensions are checked and ignored */
};
bool http_parse_chunk_line(struct http_chunk_line *out, struct slice line);

/* The value of Content-Length: digits. False: none; *length saturates. */
bool http_parse_length(struct slice value, uint64_t *length);

/* Whether a list of entity tags, or "*", of If-None-Match names `etag`; weak and strong tags are the same here (RFC 9110, 13.1.2). */
bool http_lists_etag(struct slice list, const char *etag);

bool http_is_token_byte(uint8_t byte);
bool slice_equal_nocase(struct slice slice, const char *text);
struct slice http_trim(struct slice value); /* of spaces and tabs */
/* The next element of a comma-separated list, trimmed; *list loses it. False: there is none. */
bool http_list_next(struct slice *list, struct slice *element);

#endif
