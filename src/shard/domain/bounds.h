/* shard/domain/bounds.h - how large fields may be, and how large the commands get that hold them.
 * Thread: any.  Depends: api/name.h, shard/domain/domain.h.  Start at: shard/engine/shard.h
 * What was accepted in one record travels on in others: a message that fits a SEND is carried on by a RELAY, which is larger. Whoever
 * bounds a field takes its constant from here (or from api/), and the sizes follow from the records themselves: each command and relay says its own. So
 * rules_check() can refuse options with which something would be accepted that cannot be carried on. */
#ifndef SHARD_BOUNDS_H
#define SHARD_BOUNDS_H

#include "api/name.h" /* NAME_SIZE_MAX: names of people, rooms and devices */
#include "core/cursor.h"
#include "shard/domain/commands.h"

#define USER_NAME_SIZE_MAX      32
#define PROPERTIES_SIZE_MAX     4096u /* of one message, packed */
#define CLIENT_ROOM_ID_SIZE_MAX 64
#define ROOM_GUESTS_MAX         100          /* people named in one request */
#define MQTT_SESSION_SIZE_MAX   (64u << 10) /* a packed mqtt_session_record; mqtt/save.c adds up its lists */

#define DOOR_IN_FLIGHT_MAX 256     /* requests of one socket */
#define DOOR_PAGES_IN_FLIGHT_MAX 2 /* of them, those answered by a page: their answers must fit between the two outbound limits */

/* A field of which only the length is looked at: for the size functions of records. */
static inline struct slice slice_of_len(uint32_t len) { return (struct slice){.len = len}; }
/* The largest message_record. */
uint32_t bounds_message(uint32_t body_size_max);
/* The largest body that a command of that type has in the log, with messages of at most `body_size_max`. */
uint32_t bounds_command(uint16_t type, uint32_t body_size_max);
/* The largest of them all. */
uint32_t bounds_largest_command(uint32_t body_size_max);
/* The largest frame that pushes one event or message as JSON: its bytes as base64, its strings with every character escaped. */
uint32_t bounds_largest_push(uint32_t body_size_max);
/* A socket's requests are read while at most outbound_soft waits for it; what was asked for by then must fit up to outbound_hard. `span`,
 * the difference, holds DOOR_PAGES_IN_FLIGHT_MAX pages and small answers. What of it one page may take as JSON before its last row, see
 * engine/reading.h; 0: not even a page of one row fits, which bounds_page_span() does. */
uint32_t bounds_page_cost(uint32_t span, uint32_t body_size_max, uint32_t rooms_per_user_max);
uint32_t bounds_page_span(uint32_t body_size_max, uint32_t rooms_per_user_max);

#endif
