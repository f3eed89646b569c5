/* shard/engine/shard_internal.h - what the engine's own files share; the domain includes request.h instead. */
#ifndef SHARD_SHARD_INTERNAL_H
#define SHARD_SHARD_INTERNAL_H

#include "shard/domain/methods.h"
#include "shard/engine/request.h"
#include "shard/domain/delivery/session.h"
#include "shard/engine/shard.h"

struct source { /* stream entries from one other shard */
    struct letter *first, *last; /* received in order, not yet proposed */
    struct request *stalled;     /* the head bundle, waiting for room in the log */
    bool waiting;                /* the head bundle is parked on a load */
    bool owes_ack, gap;          /* gap: letters came that do not follow `received` */
    uint64_t asked_for, asked_ns; /* when its source was last told of a gap, and behind which entry */
    uint64_t received;           /* index of the last entry taken in */
};

struct call {
    uint64_t number; /* 0: free */
    struct request *request;
    uint32_t answers_left;
    uint64_t until_ns;
    bool (*on_answer)(struct shard *shard, struct request *request, struct letter *letter);
    void (*then)(struct shard *shard, struct request *request);
};

struct session_table {
    struct session_slot {
        struct session *session; /* NULL: free */
        uint32_t generation;
        uint32_t due_s_or_next; /* when the sweep has to look at it; of a free one: the next free one */
    } *slots;
    uint32_t capacity, count; /* count: ever used; beyond it nothing is touched */
    uint64_t memory_bytes; /* of the sessions */
    uint32_t first_free; /* first_free: UINT32_MAX: none below count */
};

struct shard {
    struct shard_options options;
    struct machine *machine;
    struct commitlog *log;
    struct effects effects;
    struct writer scratch;          /* the command being proposed */
    struct writer record;           /* shard_scratch() */
    struct envelope_arena *arena;   /* of the handler being run */
    struct request *running;
    struct letter *reply;           /* the answer being given, and how large its memory is */
    uint32_t reply_size;
    struct request_block *free_blocks;
    uint32_t free_block_count;
    struct pending *pending_first, *pending_last;
    uint64_t durable_index;
    bool limits_owed;               /* the log has no room yet for the limits of this start */
    uint64_t ticked_index;          /* the log's last one at the last tick */
    uint64_t last_time_ms; /* of the newest command in the log */
    uint32_t requests_open, requests_parked; /* parked: waiting for the store, or stalled */
    struct request *stalled_first, *stalled_last; /* writes of sessions that wait for room, in the order they came */
    struct request *retried;        /* of them, the one being run again */
    bool batch_open;                /* commands were applied whose puts the store does not have */
    uint32_t jobs_open;             /* with the storage or the password thread */
    struct loading **loading;       /* buckets by entity key; request.c */
    struct source *sources;         /* shard_count of them */
    bool acks_owed;
    struct request *behind;         /* wait for stream entries; catch_up.c */
    struct follower_ask *asks_parked; /* nothing is behind their places yet */
    struct call *calls;
    uint64_t *call_askees;          /* of each call a bit set of the shards that have not answered yet */
    uint32_t call_capacity, call_count;
    uint64_t next_call;
    struct session_table sessions;
    uint64_t room_pushes;           /* messages of large rooms applied here */
    struct watch_table *watches;
    bool closing;
    bool incarnation_due;           /* it comes before whatever else is logged */
    uint32_t incarnation_random;
    const char *damage;             /* NULL: none; the store's own text */
};

#define LOADING_BUCKETS 4096

static inline uint64_t shard_now_ms(const struct shard *s) { return s->options.ports.now_ms(s->options.ports.context); }
static inline uint64_t shard_now_ns(const struct shard *s) { return s->options.ports.now_ns(s->options.ports.context); }
static inline void shard_post(struct shard *s, struct letter *letter) { s->options.ports.post(s->options.ports.context, letter); }

/* shard.c */
/* A job for the storage thread that sees all that was applied, also when it is asked between two commands of one batch. */
void shard_submit(struct shard *shard, struct store_job *job);
/* NONE: this start is in the log, or in its open batch. */
enum error shard_incarnate(struct shard *shard);

/* request.c */
enum result requests_init(struct shard *shard);
void requests_deinit(struct shard *shard);
void request_run(struct shard *shard, struct request *request);
/* Of a damaged shard: whatever waits for the log is refused. */
void requests_give_up(struct shard *shard);
/* Runs those again that waited for room. */
void requests_retry(struct shard *shard);
/* A client's request that this shard admitted and owns: like request_start() of a letter made of these, without a block for it. */
void request_start_here(struct shard *shard, const struct method *method, const struct actor_record *actor, struct slice payload,
                        const struct origin *origin, uint64_t session_id);
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
/* NONE: in the log batch (stage LOGGED). With needs missing: NONE too, stage still RUNNING. Else the refusal; nothing changed. */
enum error request_try_propose(struct shard *shard, struct request *request, uint16_t type, struct slice record,
                               void (*then)(struct shard *, struct request *, enum error));
/* Puts a command nobody asked for into the log batch, whatever the limits; needs nothing. */
enum error request_append_own(struct shard *shard, uint16_t type, struct slice record);
/* An earlier command of the log may have led this one to entities its check did not need (the direct room of two people). True: all
 * are resident and pinned. False: they are being loaded; ask again in a later turn. */
bool request_ready(struct shard *shard, struct request *request, const struct command *command);
/* The command of `request` was applied. */
void request_applied(struct shard *shard, struct request *request);

/* admit.c */
void admit_run(struct shard *shard, struct request *request);

/* call.c */
void people_run(struct shard *shard, struct request *request);
void people_free(struct people *people);
void calls_deinit(struct shard *shard);
/* About once a second: ends those that are overdue. */
void calls_expire(struct shard *shard, uint64_t now_ns);

/* catch_up.c */
void catch_up_answer(struct shard *shard, const struct letter *question);
/* More stream entries may be applied now. */
void catch_up_resume(struct shard *shard);
/* About once a second: refuses those who have waited too long. */
void catch_up_expire(struct shard *shard, uint64_t now_ns);
/* The shard is damaged: nothing will be applied any more. */
void catch_up_give_up(struct shard *shard);
void catch_up_deinit(struct shard *shard);

/* acknowledge.c */
void acknowledge_hear(struct shard *shard, const struct letter *letter);
/* Once per turn, before the log's flush, and once a second, while there is news. */
void acknowledge_flush(struct shard *shard);
void acknowledge_log(struct shard *shard);

/* follower_ask.c */
/* Something was applied that askers may wait for. */
void follower_wake(struct shard *shard);
/* About once a second: who fell too far behind is lost, who waited long enough is answered. */
void follower_tick(struct shard *shard);
/* The shard stops, or is damaged: who waits is answered. */
void follower_give_up(struct shard *shard);

/* resend.c */
/* Reads from the outbox what streams lack. */
void resend_read(struct shard *shard);

/* relay.c */
void relay_receive(struct shard *shard, struct letter *letter);
void relay_retry(struct shard *shard);
void relay_send_acks(struct shard *shard);

/* session.c */
void sessions_kick_all(struct shard *shard, uint16_t close_code, const char *reason);
enum result sessions_init(struct shard *shard);
void sessions_deinit(struct shard *shard);
/* Those that are open learn of the new epoch. */
void sessions_must_sync(struct shard *shard);

/* perform.c */
void perform_effects(struct shard *shard, struct effects *effects);

#endif
