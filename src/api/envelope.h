/* api/envelope.h - frames without unpacking them: which method, which payload; responses and pushes around ready bytes.
 * Thread: any.                    Depends: core/, api/error.h.   Start at: api/api.h
 * A request's payload stays packed protobuf from the door to the shard that owns it; only that shard unpacks it. A response's payload stays
 * packed from there to the door. */
#ifndef API_ENVELOPE_H
#define API_ENVELOPE_H

#include "api/error.h"
#include "core/cursor.h"
#include "core/result.h"
#include <protobuf-c/protobuf-c.h>

/* Builds the tables over the descriptors; once, before threads start. Asserts that schemas and code agree. */
void api_init(void);

struct envelope_request {
    uint64_t id;
    uint32_t method; /* field number in Request.method */
    struct slice payload; /* packed request message; borrowed from the frame (binary) or from `scratch` (JSON) */
};

/* A binary frame. MALFORMED unless it is exactly one Envelope with a request with exactly one method. A method of a newer contract is
 * passed on by its number: the layer above answers UNKNOWN_METHOD. `out->id` is set as soon as it was readable, also when refused. */
NODISCARD enum result envelope_parse(struct envelope_request *out, struct slice frame);
/* A text frame: JSON of an Envelope; the packed payload is appended to `scratch` and borrowed from it until its next change. `text` gets
 * what is wrong ("field x: …"). id is set when readable. An unknown method is method 0. MALFORMED, TOO_LARGE (`scratch` failed). */
NODISCARD enum result envelope_parse_json(struct envelope_request *out, struct slice frame, struct writer *scratch, char *text,
                                          size_t text_size);

/* What a refusal carries beside its row. */
struct envelope_error {
    enum error error;
    const char *detail;      /* replaces the row's message when not NULL */
    uint32_t retry_after_ms;
    const char *request_id;
};

/* Append one whole frame. `payload` is the packed response message of `method`. As JSON: MALFORMED when it is none, NOMEM; what was appended
 * is of no use then. */
void envelope_response(struct writer *out, uint64_t id, uint32_t method, struct slice payload);
NODISCARD enum result envelope_response_json(struct writer *out, uint64_t id, uint32_t method, struct slice payload);
void envelope_error(struct writer *out, uint64_t id, const struct envelope_error *error);
void envelope_error_json(struct writer *out, uint64_t id, const struct envelope_error *error);
/* {"error":{…}} for HTTP. */
void envelope_error_body(struct writer *out, const struct envelope_error *error);
void envelope_hello(struct writer *out, bool json, uint32_t heartbeat_interval_ms, uint32_t frame_size_max,
                    uint32_t authenticate_timeout_ms, const char *server_version);

/* A push of any kind: `field` is the field number in Push.kind, `payload` its packed message. */
void envelope_push(struct writer *out, uint32_t field, struct slice payload);
void envelope_push_json(struct writer *out, uint32_t field, struct slice payload);

/* The hot one, fan-out: the event is encoded once and shared, only the sync_key differs from user to user.
 *     binary: head | the packed fields of Event after sync_key
 *     JSON:   head | what envelope_event_json_shared() made: `"message":{…}` and the closing braces of the frame
 * A head is everything before the shared bytes. Returns its length, <= ENVELOPE_EVENT_HEAD_MAX. */
#define ENVELOPE_EVENT_HEAD_MAX 64
uint32_t envelope_event_head(uint8_t *head, uint64_t sync_key, uint32_t shared_len);
uint32_t envelope_event_head_json(uint8_t *head, uint64_t sync_key);
/* `event_fields`: the packed fields of Event after sync_key; exactly one of its kinds. */
void envelope_event_json_shared(struct writer *out, struct slice event_fields);

/* Reads one numeric field (the last occurrence, 0 when absent) of a packed message without unpacking it: routing keys. */
NODISCARD enum result envelope_peek_u64(struct slice payload, uint32_t field, uint64_t *value);
/* Two of them in one pass. */
NODISCARD enum result envelope_peek_two(struct slice payload, uint32_t field, uint64_t *value, uint32_t other, uint64_t *other_value);
/* The same for a string or bytes field; borrowed. */
NODISCARD enum result envelope_peek_bytes(struct slice payload, uint32_t field, struct slice *value);

/* Descriptors of a method's request and response message, NULL when there is no such method. */
const ProtobufCMessageDescriptor *envelope_request_descriptor(uint32_t method);
const ProtobufCMessageDescriptor *envelope_response_descriptor(uint32_t method);

/* An allocator for unpacking within one turn: memory from one growing block, freed all at once by reset. */
struct envelope_arena;
NODISCARD enum result envelope_arena_create(struct envelope_arena **out, size_t size_max_bytes);
void envelope_arena_destroy(struct envelope_arena *arena);
void envelope_arena_reset(struct envelope_arena *arena);
ProtobufCAllocator *envelope_arena_allocator(struct envelope_arena *arena);
/* Appends a packed message. */
void envelope_pack(struct writer *out, const ProtobufCMessage *message);
void *envelope_arena_alloc(struct envelope_arena *arena, size_t size); /* zeroed, 16-aligned; NULL at size_max */
/* Unpacks a client's message, and is stricter than protobuf-c: every string is UTF-8 without a NUL, so whatever was accepted can be
 * shown to everybody later. OK: *out lives until the arena is reset. MALFORMED; NOMEM (the arena's limit). */
NODISCARD enum result envelope_unpack(struct envelope_arena *arena, const ProtobufCMessageDescriptor *descriptor,
                                      struct slice packed, ProtobufCMessage **out);
/* A SendRequest, whoever read it. */
struct envelope_send {
    uint64_t room_id, to_user_id;
    struct slice client_msg_id; /* UTF-8 without a NUL */
    int32_t kind, published_qos;
    struct slice body;
    const struct Ringpost__V1__Properties *properties; /* NULL: none */
};
#define ENVELOPE_CLIENT_MSG_ID_MAX 64
/* The hottest message of all, without the arena: true when `packed` is a SendRequest that envelope_unpack() accepts, in its plain form:
 * no properties, nothing unknown, no field twice, a client_msg_id that fits. `out` borrows from packed. False says nothing: ask
 * envelope_unpack(). */
bool envelope_unpack_send(struct envelope_send *out, struct slice packed);
/* The same as envelope_unpack() without looking at the strings: for bytes that we packed. */
NODISCARD enum result envelope_unpack_stored(struct envelope_arena *arena, const ProtobufCMessageDescriptor *descriptor,
                                             struct slice packed, ProtobufCMessage **out);

#endif
