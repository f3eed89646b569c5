/* shard/engine/request.h - one letter being worked on by the shard that owns its subject: a client's request or a shard's question.
 * Owns:    its letter, its pins, its place among the waiters of a load and among the commands of the log.
 * Thread:  the shard's worker.    Depends: shard/engine/shard.h.        Start at: shard/engine/shard.h
 *
 * A handler is run from the top again each time what it waited for has arrived; until it proposes or replies it changes
 * nothing, so running again is safe. It ends in exactly one of: request_reply*, request_refuse, request_propose, or it
 * returns after a function said WAIT.
 *
 *   RUNNING --needs missing--> PARKED --loaded--> RUNNING --proposed--> LOGGED --durable, applied--> answered, freed
 *           --answered--> freed   --read job--> READING --done--> answered, freed
 *           --no room in the log, the store or an outbox--> STALLED --room--> RUNNING (a session's; any other is refused) */
#ifndef SHARD_REQUEST_H
#define SHARD_REQUEST_H

#include "api/envelope.h"
#include "core/refusal.h"
#include "ringpost/v1/ringpost.pb-c.h"
#include "shard/engine/shard.h"

struct request;
typedef void (*request_run_f)(struct shard *shard, struct request *request);

struct pending { /* one appended command, until it is applied */
    struct pending *next;
    uint64_t index;
    struct request *request; /* this stands in it; NULL: nobody waits */
    struct slice body;       /* command_record and the record of its type, where the log holds them */
    uint16_t type;
};

struct request {
    struct letter *letter;       /* owned; `inside` or a block of its own */
    struct pending logged;       /* LOGGED */
    request_run_f run;
    struct actor_record actor;   /* borrowed from the letter; user_id 0: nobody is logged in */
    struct needs needs;
    void *state;                 /* a handler's own, between its runs; freed with free_state */
    void (*free_state)(void *state);
    void *lookup;                /* what other shards have answered; freed with free_lookup */
    void (*free_lookup)(void *lookup);
    const void *touches[2];      /* memory that applying its command will ask for and that no pin names; only ever prefetched */
    uint32_t loads_waiting;      /* PARKED: entities still to come */
    uint64_t entities_made;      /* LOGGED: machine->entities_made when its needs were last looked at */
    struct request *next_stalled;
    uint64_t stalled_ns;         /* since when it has been STALLED, perhaps again and again; 0: never */
    void (*then)(struct shard *shard, struct request *request, enum error error); /* LOGGED */
    enum request_state { REQUEST_RUNNING, REQUEST_PARKED, REQUEST_LOGGED, REQUEST_READING, REQUEST_CALLING, REQUEST_STALLED } stage;
    uint64_t awaited;            /* request_catch_up(): entries of awaited_peer that are to be applied first */
    uint64_t awaited_until_ns;
    struct request *next_behind;
    uint16_t awaited_peer;
    bool caught_up;
    bool pooled;                 /* a block of the usual size */
    _Alignas(8) uint8_t inside[];
};

/* ---- what handlers use ---- */
struct machine *request_machine(struct shard *shard);
/* The unpacked request message, from the turn's arena, or NULL after the request was refused BAD_REQUEST. */
void *request_unpack(struct shard *shard, struct request *request);
#define REQUEST_UNPACK(shard, request, Type) ((Ringpost__V1__##Type *)request_unpack(shard, request))

/* A resident entity, pinned until the request ends; NULL: it is being loaded and the handler returns (it will be run again). */
struct entity *request_entity(struct shard *shard, struct request *request, uint32_t kind, uint64_t a, uint64_t b);
/* Before somebody is told that they are not in a room which another shard owns: may that be because its news are on their way? True:
 * everything is applied here that `peer` had decided when this was asked first. False: the handler returns and will be run again. */
bool request_catch_up(struct shard *shard, struct request *request, uint16_t peer);
/* For several entities: call request_entity for each, then `if (request_waits(request)) return;`. */
bool request_waits(const struct request *request);

/* Loads what the command needs, checks it, and puts it into the open log batch; the reply follows when it is applied. `record` holds the
 * bytes of the command's own record (without command_record, which is made here from time and actor). Refuses by itself. */
void request_propose(struct shard *shard, struct request *request, uint16_t type, struct slice record);
/* Like it, but the reply to the client is made by `then` once the command was applied (e.g. to bind a session): `then` runs with
 * error = the outcome and must answer and end the request. */
void request_propose_then(struct shard *shard, struct request *request, uint16_t type, struct slice record,
                          void (*then)(struct shard *shard, struct request *request, enum error error));

/* Either, of a record: REQUEST_PROPOSE(shard, request, seen, SEEN, &record) proposes COMMAND_SEEN with that seen_record. */
#define REQUEST_PROPOSE(shard, request, name, TYPE, record) REQUEST_PROPOSE_THEN(shard, request, name, TYPE, record, NULL)
#define REQUEST_PROPOSE_THEN(shard, request, name, TYPE, record, then)                                                 \
    do {                                                                                                               \
        struct writer *bytes_ = shard_scratch(shard);                                                                  \
        name##_record_write(bytes_, record);                                                                           \
        request_propose_then(shard, request, COMMAND_##TYPE, writer_slice(bytes_), then);                              \
    } while (0)

/* A read on the storage thread: `read` runs there (it may use only `job->...` and the view) and appends the packed response to
 * job->reply; its result becomes the answer. `params` (size bytes) is copied to job->params. */
struct read_job {
    struct store_job job;
    struct shard *shard;
    struct request *request;
    enum error error;
    uint32_t page_cost_max; /* of an answer that is a page, see engine/reading.h */
    struct writer reply;
    void (*read)(struct read_job *job, struct store_view *view);
    void (*then)(struct shard *shard, struct request *request, struct read_job *job); /* NULL: reply with it; else it answers */
    uint64_t started_ns;
    _Alignas(16) uint8_t params[];
};
void request_read(struct shard *shard, struct request *request, void (*read)(struct read_job *, struct store_view *),
                  const void *params, uint32_t size);
void request_read_then(struct shard *shard, struct request *request, void (*read)(struct read_job *, struct store_view *),
                       const void *params, uint32_t size, void (*then)(struct shard *, struct request *, struct read_job *));

/* Work on a thread that is not the storage thread: the request waits from its begin until its end, which is on the worker and runs `then`, a
 * continuation of the handler. */
void request_job_begin(struct shard *shard, struct request *request);
void request_job_end(struct shard *shard, struct request *request, void (*then)(struct shard *, struct request *, void *), void *context);

/* Ends of a request: each frees it. */
void request_reply(struct shard *shard, struct request *request, const ProtobufCMessage *message);
void request_reply_packed(struct shard *shard, struct request *request, struct slice packed);
void request_refuse(struct shard *shard, struct request *request, enum error error);
/* Its letter is none that a shard or a door would write: shard_note_letter(), and refused BAD_REQUEST. */
void request_refuse_letter(struct shard *shard, struct request *request);
/* With words for this case, e.g. which field is wrong; `detail` is copied. */
void request_refuse_because(struct shard *shard, struct request *request, enum error error, const char *detail);
/* Refused for who they are, or say they are: the door notes it with the peer's address. `detail` NULL: none; `user_id` 0: unknown. */
void request_refuse_peer(struct shard *shard, struct request *request, enum error error, const char *detail, enum refusal refusal,
                         uint64_t user_id);
/* No answer is owed (letters that are not client requests). */
void request_end(struct shard *shard, struct request *request);

/* Its handler, from the top. */
void request_run(struct shard *shard, struct request *request);
/* For letters of other kinds: a request around one, run at once. */
void request_start(struct shard *shard, struct letter *letter, request_run_f run);
/* With request->state from the start, of a letter that is in no parcel. */
void request_start_with(struct shard *shard, struct letter *letter, request_run_f run, void *state, void (*free_state)(void *state));

/* A client's request that this shard admitted and owns: like request_start() of a letter made of these, without a block for it. */
struct method;
void request_start_here(struct shard *shard, const struct method *method, const struct actor_record *actor, struct slice payload,
                        const struct origin *origin, uint64_t session_id);
/* It only waits for its end from now on: others may be started before that. */
void request_set_aside(struct shard *shard, struct request *request);
/* What a request is answered with, whoever has the letter that asked. */
struct answer {
    const struct origin *origin;
    uint16_t method;
    enum error error;
    uint32_t retry_after_ms;
    struct slice payload; /* with an error: detail */
    uint8_t noted;        /* as in a letter */
    uint64_t user_id;     /* of the one that was refused; 0: none */
};
void request_answer(struct shard *shard, const struct answer *answer);

uint64_t shard_now_ms(const struct shard *shard);
uint64_t shard_now_ns(const struct shard *shard);
void shard_post(struct shard *shard, struct letter *letter);
/* A job for the storage thread that sees all that was applied, also when it is asked between two commands of one batch. */
void shard_submit(struct shard *shard, struct store_job *job);
/* The shard does not close while a job that was begun is elsewhere. */
void shard_begin_job(struct shard *shard);
void shard_end_job(struct shard *shard);
/* Requests that wait for the store or for room. */
uint32_t shard_parked(const struct shard *shard);
struct buf_pool *shard_pool(const struct shard *shard);
const struct shard_ports *shard_ports(const struct shard *shard);
const struct shard_limits *shard_limits(const struct shard *shard);
const struct domain_setup *shard_setup(const struct shard *shard);
const struct token_keys *shard_token_keys(const struct shard *shard);
struct metrics *shard_metrics(const struct shard *shard);
struct envelope_arena *shard_arena(struct shard *shard); /* reset after each handler run */
struct writer *shard_scratch(struct shard *shard); /* empty, for the record of a command; until the next call */

/* Proposes a command nobody waits for (last seen): best effort, dropped when a limit is reached. */
void shard_propose_internal(struct shard *shard, uint16_t type, uint64_t actor_id, struct slice record);
/* Takes; `number` of the letter names the call. An answer that is late, or comes again, finds nobody and is dropped. */
void request_call_answer(struct shard *shard, struct letter *letter);

/* ---- questions to other shards: a call number finds the waiting request when the answer comes ---- */
/* The request waits for the answers to what request_call_ask() asks next, at least one letter and not two to one shard: each goes to on_answer
 * (false: no shard would write that; it counts as an error), after the last one `then` runs. Where an answer said an error, or not all
 * came within CALL_TIMEOUT_MS, the request is refused instead. 0: it was refused already, for there are too many calls. */
#define CALL_TIMEOUT_MS 10000u
uint64_t request_call_begin(struct shard *shard, struct request *request,
                            bool (*on_answer)(struct shard *shard, struct request *request, struct letter *letter),
                            void (*then)(struct shard *shard, struct request *request));
/* No call that has begun by now has a higher number; later ones have. */
uint64_t request_last_call(const struct shard *shard);
/* What does not answer, or answers with an error, refuses nothing: `then` runs with what came. */
void request_call_forgive(struct shard *shard, uint64_t call);
/* Takes the letter; posts it as a question of that call. */
void request_call_ask(struct shard *shard, uint64_t call, struct letter *letter);

#endif
