/* cli/lines.h - what commands print: one line for people, or one JSON object for scripts.
 * Thread:  main.                  Depends: api/json.h, client/text.h.            Start at: cli/cli.h
 * Lines for people are cleaned (client/text.h); JSON escapes everything by itself. */
#ifndef CLI_LINES_H
#define CLI_LINES_H

#include "ringpost/v1/operator.pb-c.h"
#include "ringpost/v1/ringpost.pb-c.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* The message as JSON in the Protobuf mapping, and a line end. Messages inside get a further field `text` when their body is text. */
void line_print_json(FILE *out, const ProtobufCMessage *message);
/* The fields of both in one object; of a name in both the first one's. */
void line_print_json_joined(FILE *out, const ProtobufCMessage *first, const ProtobufCMessage *second);
/* What happened on the server, with the position behind it. */
void line_print_entry(FILE *out, Ringpost__V1__FollowerEntry *entry, const char *position);
/* An entry of a stream as one line: time, room, who, what. */
void line_print_event(FILE *out, const Ringpost__V1__Event *event);
/* "2026-05-01 14:03:07", local time; "never" for 0. */
const char *line_time(uint64_t time_ms, char *out, size_t out_size);
/* Cleaned text, without line ends. */
void line_print_text(FILE *out, const void *text, size_t len);

#endif
