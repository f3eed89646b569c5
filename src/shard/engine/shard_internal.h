/* shard/engine/shard_internal.h - what the engine's own files share; the domain includes request.h instead. */
#ifndef SHARD_SHARD_INTERNAL_H
#define SHARD_SHARD_INTERNAL_H

#include "shard/engine/method.h"
#include "shard/engine/request.h"
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
    bool forgives;
    uint64_t until_ns;
    bool (*on_answer)(struct shard *shard, struct request *request, struct letter *letter);
    void (*then)(struct shard *shard, struct request *request);
};

struct shard {
    struct shard_options options;
    struct machine *machine;
    struct commitlog *log;
    struct effects effects;
    struct writer scratch;          /* the command being proposed */
    struct writer record;           /* shard_scratch() */
    struct writer kept;             /* of a bundle of stream entries what the log keeps */
    struct envelope_arena *arena;   /* of the handler being run */
    struct request *running;
    struct letter *reply;           /* the answer being given, and how large its memory is */
    uint32_t reply_size;
    struct request_block *free_blocks;
    uint32_t free_block_count;
    struct pending *pending_first, *pending_last;
    uint64_t durable_index;
    struct due {
        bool under_way;          /* a DUE command */
        uint64_t not_before_ns;  /* of the next one; 0: at once */
        uint64_t fired, late;    /* timers, before it */
    } due;
    bool limits_owed;               /* the log has no room yet for the limits of this start */
    uint64_t ticked_index;          /* the log's last one at the last tick */
    uint64_t last_time_ms; /* of the newest command in the log */
    uint32_t requests_open, requests_parked; /* parked: waiting for the store or a stream, or stalled */
    struct request *stalled_first, *stalled_last; /* writes of sessions that wait for room, in the order they came */
    struct request *retried;        /* of them, the one being run again */
    bool batch_open;                /* commands were applied whose puts the store does not have */
    uint32_t jobs_open;             /* with the storage or the password thread */
    struct loading **loading;       /* buckets by entity key; request.c */
    struct source *sources;         /* shard_count of them */
    bool acks_owed;
    struct request *behind, *behind_last; /* wait for stream entries, in the order they came; catch_up.c */
    struct follower_ask *asks_parked; /* nothing is behind their places yet */
    struct call *calls;
    uint64_t *call_askees;          /* of each call a bit set of the shards that have not answered yet */
    uint32_t call_capacity, call_count;
    uint64_t next_call;
    bool closing;
    bool incarnation_due;           /* it comes before whatever else is logged */
    uint32_t incarnation_random;
    const char *damage;             /* NULL: none; the store's own text */
};

#define LOADING_BUCKETS 4096

/* shard.c */
/* NONE: this start is in the log, or in its open batch. */
enum error shard_incarnate(struct shard *shard);

/* request.c */
enum result requests_init(struct shard *shard);
void requests_deinit(struct shard *shard);
/* Of a damaged shard: whatever waits for the log is refused. */
void requests_give_up(struct shard *shard);
/* It waits, in that stage, and counts until it is resumed: it is RUNNING then, and the caller's to go on with. False: too many do, and it was
 * refused. */
bool request_wait(struct shard *shard, struct request *request, enum request_state stage);
void request_resume(struct shard *shard, struct request *request);
/* Runs those again that waited for room. */
void requests_retry(struct shard *shard);
/* NONE: in the log batch (stage LOGGED). With needs missing: NONE too, stage still RUNNING. Else the refusal; nothing changed. */
enum error request_try_propose(struct shard *shard, struct request *request, uint16_t type, struct slice record,
                               void (*then)(struct shard *, struct request *, enum error));
/* Puts a command nobody asked for into the log batch, whatever the limits; needs nothing. */
enum error request_append_own(struct shard *shard, uint16_t type, struct slice record);
/* An earlier command of the log may have led this one to entities its check did not need (the direct room of two people). True: all
 * are resident and pinned. False: they are being loaded; ask again in a later turn. */
bool request_ready(struct shard *shard, struct request *request, const struct command *command);
/* What the time of a command would be that is proposed now. */
uint64_t request_time_ms(const struct shard *shard);
/* The command of `request` was applied. */
void request_applied(struct shard *shard, struct request *request);

/* call.c */
void calls_deinit(struct shard *shard);
/* About once a second: ends those that are overdue. */
void calls_expire(struct shard *shard, uint64_t now_ns);

/* catch_up.c */
void catch_up_answer(struct shard *shard, const struct letter *question);
/* Commands were applied, of streams perhaps. */
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

/* due.c: once per turn */
void due_turn(struct shard *shard);

/* relay.c */
void relay_receive(struct shard *shard, struct letter *letter);
void relay_retry(struct shard *shard);
void relay_send_acks(struct shard *shard);

#endif
