/* shard/engine/shard.h - the engine of one shard: request -> check -> propose -> durable -> apply -> effects.
 * Owns:    its machine, commit log and store handle; requests and commands under way.
 * Thread:  its worker; shard_open on any one thread before.
 * Depends: core/, storage/, api/ (not net/: the outside is `struct shard_ports`, so that the simulator can be it).
 * Reading order of this folder: ids.h keys.h records.h | entity.h command.h effects.h domain.h machine.h | letter.h relay.h stream.h
 *   dedup.h follower.h | shard.h request.h method.h. The engine knows no chat: what the product can do comes in the tables of domain.h, from
 *   shard/domain/, one folder for each area. Beside it: shard/door/ (sockets, HTTP, MQTT), shard/worker/ (threads, start, mailbox).
 *
 * A write:  shard_receive(REQUEST) -> method handler: unpack, make the command -> request_propose(): needs resident? (else the
 * request waits for the load) -> check -> commitlog_append … commitlog says durable … -> shard_apply(): machine_apply in log
 * order -> store batch, reply letter, stream letters, and the effects that areas carry out (pushes). */
#ifndef SHARD_SHARD_H
#define SHARD_SHARD_H

#include "core/buf.h"
#include "shard/engine/letter.h"
#include "shard/engine/machine.h"
#include "storage/commitlog.h"

struct domain_setup;
struct shard;
struct token_keys;

/* The outside. Every function is called on the worker, never nested in another port. */
struct shard_ports {
    void *context;
    uint64_t (*now_ms)(void *context); /* the trusted time (core/clock.h): it may go back */
    uint64_t (*now_ns)(void *context);
    void (*random)(void *context, void *out, size_t len);
    void (*post)(void *context, struct letter *letter);  /* takes; to shard letter->to_shard, in order per pair */
    void (*reply)(void *context, const struct letter *letter); /* borrows; a REPLY, to letter->origin */
};

struct shard_limits { /* options that the engine (not apply) keeps */
    uint32_t requests_parked_max; /* of those without a session; the others are bounded by what is read, see door.h */
    uint64_t store_backlog_max_bytes;
    uint32_t page_cost_max; /* of an answer that is a page, see reading.h */
    uint32_t follower_backlog_max; /* entries; who is behind by more is lost */
    uint32_t clock_skew_max_ms; /* a log whose newest time is farther ahead goes back to the clock */
};

struct shard_options {
    struct machine_options machine;
    struct shard_limits limits;
    struct shard_ports ports;
    const struct domain_setup *setup;   /* what the areas are given: shard/domain/setup.h; borrowed; NULL: it never serves */
    struct disk *disk;                  /* of the commit log; borrowed */
    bool log_made_before;               /* see commitlog_options */
    bool look_only;                     /* the machine is recovered, to be looked at; nothing is logged, and it never serves */
    struct store *store;                /* borrowed */
    uint64_t store_applied_index;
    uint32_t log_pending_max_bytes;
    struct buf_pool *pool;              /* of the worker; borrowed */
    struct metrics *metrics;            /* of the worker */
    const struct token_keys *token_keys;
};

/* Opens the log, replays what the store lacks, fills the outboxes. OK: *out serves as soon as letters come. CORRUPT/IO with
 * `text`. Blocks. *replayed gets the number of commands applied. */
NODISCARD enum result shard_open(struct shard **out, const struct shard_options *options, uint64_t *replayed, char *text,
                                 size_t text_size);
/* NULL, or what of its store is damaged: then it serves nothing, now and after every start, until that is replaced. What is asked of it
 * is refused SHARD_DAMAGED, entries of streams wait at their source, the log keeps what the store lacks. A shard that is damaged when it
 * is opened opens all the same, for the sake of the others. */
const char *shard_damage(const struct shard *shard);
/* The doors should stop reading from its sessions: half of requests_parked_max requests wait for the store or for another shard, or writes
 * wait for room. It ends without anybody's help: when the store, the other shard or the disk has answered. */
bool shard_is_full(const struct shard *shard);
/* Writes wait for room; shard_flush() looks for it, nothing else tells. */
bool shard_is_stalled(const struct shard *shard);
/* No command or request under way. */
bool shard_idle(const struct shard *shard);
/* From now on writes are refused NOT_READY; turns go on until shard_quiet: no job of ours is elsewhere, the disk
 * writes nothing of ours. */
void shard_begin_close(struct shard *shard);
bool shard_quiet(const struct shard *shard);
/* Writes are refused as on a full disk, from before it serves: the start could not be written down yet. */
void shard_set_shut(struct shard *shard, bool shut);
/* When all are quiet, once: the log is sealed (commitlog_seal), and quiet again when it is. */
void shard_seal(struct shard *shard);
/* Only when quiet. What is durable and not yet applied is applied at the next start. */
void shard_close(struct shard *shard);

/* A letter for this shard; takes it. */
void shard_receive(struct shard *shard, struct letter *letter);
/* Turn stage: applies up to `budget` newly durable commands and carries out their effects. Returns how many. */
uint32_t shard_apply(struct shard *shard, uint32_t budget);
/* Turn stage: hands the open log batch to the disk, posts stream entries, trims caches. */
void shard_flush(struct shard *shard);
/* Until a turn has something to do by itself, a timer that is due; at most `most_ms`. */
uint32_t shard_wait_ms(const struct shard *shard, uint32_t most_ms);
/* About once a second: expired tokens, log trimming, a seal behind what came before a second of silence. */
void shard_tick(struct shard *shard);

struct machine *shard_machine(struct shard *shard);
/* A letter, or what it says, is nothing that a shard would write: counted, and a line in the log. */
void shard_note_letter(struct shard *shard, const struct letter *letter);
/* For the metrics. */
void shard_report_repeats(const struct shard *shard, struct dedup_report *out);
struct commitlog *shard_log(struct shard *shard);
uint16_t shard_number(const struct shard *shard);

#endif
