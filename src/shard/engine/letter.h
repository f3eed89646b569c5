/* shard/engine/letter.h - everything one shard says to another, on this host or another; flat, and encoded as below.
 * Owns:    a letter is one heap block, or one of several in a parcel; post and receive take it, the receiver frees it, and a parcel goes
 *          with the last of its letters. (Inside a request it is a part of that one's block, an answer is written into the shard's own:
 *          those are borrowed.)
 * Thread:  one at a time.         Depends: core/, api/error.h.   Start at: shard/engine/shard.h
 *
 * What if one is lost, late, or comes again?
 *   STREAM, STREAM_ACK            posted again; repeats are dropped: stream.h
 *   ASK_* and their answers       the request is refused NO_ANSWER after CALL_TIMEOUT_MS; answers that are late or come again are dropped:
 *                                 call.c. A question may be answered twice: it changes nothing
 *   REQUEST                       at most once: whoever carries letters never repeats these. A send and a create_room are stored once
 *                                 under their client ids, all others must be asked for again by who knows whether they still want it
 *   REPLY                         the door answers NO_ANSWER itself after a while; what is late or comes again is dropped: door/inflight.h
 *
 *
 *   encoded, little-endian, as it leaves the process; inside it the struct itself goes round:
 *   +---------+--------+---------+----------+--------+------------+----------+----------+--------------+--------------------+
 *   | u32 len | u8 ver | u8 kind | u16 from | u16 to | u16 method | u8 error | u8 noted | u8 admitted  | u32 retry_after_ms |
 *   +---------+--------+---------+----------+--------+------------+----------+----------+--------------+--------------------+
 *   | u64 number | origin (14 bytes) | u16 address_class | u32 actor_len | bytes …       len counts all of it; ver is 2
 *   +------------+-------------------+-------------------+---------------+--------
 *   origin:  | u16 worker | u32 slot | u64 generation |
 *
 *   bytes:  +--------------+---------+      the actor of a request (actor_record), then what `kind` says
 *           | actor (len a)| payload |
 *           +--------------+---------+ */
#ifndef SHARD_LETTER_H
#define SHARD_LETTER_H

#include "api/error.h"
#include "core/cursor.h"
#include "core/record.h"

enum letter_kind {
    LETTER_REQUEST,      /* a client's request: payload = packed request message of `method` */
    LETTER_REPLY,        /* to origin: payload = packed response message, or `error` with payload = detail text */
    LETTER_STREAM,       /* durable stream entries: relay_record */
    LETTER_STREAM_ACK,   /* number = index applied; payload = received_record */
    LETTER_ASK_POSITION, /* number = call: how many stream entries were ever emitted to the asking shard? */
    LETTER_TELL_POSITION, /* number = call; payload = u64 */
    LETTER_ANSWERED,     /* number = call; payload = u8 error: what became of a request whose origin is a shard */
    LETTER_OWN,          /* a command that nobody asked for, in a request to itself: never answered, never posted */
    LETTER_DOMAIN = 16,  /* from here on those of the areas: shard/domain/letters.h */
};
/* What an area's letter is: to whom it goes; see domain.h. */
struct shard;
struct letter;
struct letter_row {
    uint16_t kind;
    void (*receive)(struct shard *shard, struct letter *letter); /* takes */
    uint16_t answer; /* of a question: the kind that answers it, also when it is refused; 0: none */
};
/* From here on kinds of mail between the workers of one process, which the mailbox carries as well: they are no letters of shards, may
 * hold pointers, and are never encoded (asserted). Whoever sends one names its kind; shards never see them. */
#define LETTER_KIND_COUNT 32u
static inline bool letter_kind_is_flat(unsigned kind) { return kind < LETTER_KIND_COUNT; }

/* Where an answer goes: to a request of a worker's doors, by a number that is never given twice (door/inflight.h), so that an answer which is
 * not waited for finds nobody; or to a call of a shard. Only the worker that made it looks into it; others carry it. */
#define ORIGIN_SHARD UINT16_MAX
struct origin {
    uint16_t worker; /* ORIGIN_SHARD: of the shard `slot`, whose call `generation` is */
    uint32_t slot;
    uint64_t generation;
};

/* Who asks; verified by the door (signature, expiry) and by the user's home shard (device not revoked). */
#define ACTOR_FIELDS(F, SINCE)                                                                                         \
    F(u64, user_id) F(u64, issued_s) F(u64, expires_s) F(bytes, device_id) F(bytes, platform) F(bytes, name)           \
    SINCE(2) F(u8, own) F(u64, generation) /* own: this server made the token, for that generation of the device */
RECORD_GROWN(actor, ACTOR_FIELDS)

struct letter {
    struct letter *next;
    struct parcel *parcel; /* where it stands; NULL: in a block of its own */
    uint16_t kind; /* enum letter_kind, or one of an area */
    uint16_t from_shard, to_shard;
    uint16_t method;     /* REQUEST, REPLY: field number in Request.method */
    uint8_t error;       /* REPLY: enum error */
    uint8_t noted;       /* REPLY: enum refusal + 1 that its door notes, with the user id in `number`; 0: none */
    bool admitted;       /* REQUEST: the actor's home shard has let it pass */
    bool foreign;        /* it came as bytes, which somebody else wrote (letter_decode) */
    uint16_t address_class; /* REQUEST, where somebody logs in: of the peer, login_limit_class() */
    uint32_t retry_after_ms;
    struct origin origin;
    uint64_t number;
    uint32_t actor_len, len; /* len: actor and payload */
    uint8_t bytes[];
};

/* What letter_fill() needs. */
uint32_t letter_size(const struct actor_record *actor, struct slice payload);
/* Makes a letter of the memory at `letter`: zeroed, with actor (may be NULL) and payload filled in. */
void letter_fill(struct letter *letter, uint16_t kind, uint16_t from_shard, uint16_t to_shard,
                 const struct actor_record *actor, struct slice payload);
/* One zeroed letter with room for len bytes. */
struct letter *letter_create(uint16_t kind, uint16_t from_shard, uint16_t to_shard, uint32_t len);
/* With `actor` (may be NULL) and payload filled in. */
struct letter *letter_make(uint16_t kind, uint16_t from_shard, uint16_t to_shard, const struct actor_record *actor,
                           struct slice payload);
/* On the heap, whatever memory `letter` stands in. */
struct letter *letter_copy(const struct letter *letter);
/* Into `memory`, letter_room() bytes, which the caller frees. */
struct letter *letter_copy_to(void *memory, const struct letter *letter);
static inline uint32_t letter_room(const struct letter *l) { return (uint32_t)sizeof *l + l->len; }
void letter_free(struct letter *letter); /* may be NULL */

#define LETTER_ENCODED_SIZE_MIN 47u
#define LETTER_ENCODED_SIZE_MAX ((4u << 20)) /* what is longer is none */
/* Appends the letter's bytes. */
void letter_encode(const struct letter *letter, struct writer *out);
/* The letter that is the whole of `bytes`, on the heap and marked foreign, or NULL: these are no letter. What it says is not looked into,
 * but for the actor: whoever receives it does. */
struct letter *letter_decode(struct slice bytes);

/* Letters of one turn from one worker to another, back to back: one allocation here and one free there for all of them. Filled by the one
 * and, once that has handed the letters over, the other's; who keeps a letter for long copies it, or it would keep them all. */
struct parcel;
#define PARCEL_LETTER_SIZE_MAX 2048u /* larger ones go alone */
static inline bool letter_fits_parcel(const struct letter *l) { return letter_room(l) <= PARCEL_LETTER_SIZE_MAX; }
/* A copy of the letter in *parcel, or in a new one when that is NULL or full: *parcel is the one it stands in. */
struct letter *parcel_add(struct parcel **parcel, const struct letter *letter);
static inline struct slice letter_payload(const struct letter *l) { return slice_of(l->bytes + l->actor_len, l->len - l->actor_len); }
/* False when there is none. Slices borrow the letter. */
bool letter_actor(const struct letter *letter, struct actor_record *actor);

#endif
