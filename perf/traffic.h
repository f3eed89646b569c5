/* perf/traffic.h - people in groups who send to each other; every arrival is checked and timed.
 * Owns:    the groups, their members' sessions, what is under way, the counts.
 *
 * Closed loop (`rate` 0): each sender keeps `window` messages under way. A message leaves the window when it is acknowledged AND has
 * reached every other member that is online, so the speed is that of delivery, not of acceptance.
 * Open loop (`rate` > 0): messages are due at fixed times whatever the server does; a latency counts from the time a message was
 * due, so a server that stalls is charged for everything that had to wait (no coordinated omission). */
#ifndef PERF_TRAFFIC_H
#define PERF_TRAFFIC_H

#include "perf/histogram.h"
#include "perf/stamp.h"
#include "perf/workload.h"

struct traffic_plan {
    uint32_t groups, members, senders; /* members: of each group; senders: its first ones send */
    uint32_t window;
    uint32_t body_bytes;
    uint64_t id_base;      /* added to a sender's sequences for the ids of its requests: two traffics may share sessions */
    double rate;           /* messages a second of all senders together */
    uint64_t messages_max; /* stop after so many acknowledgements; 0: by time */
    uint32_t messages_each; /* a sender is done after so many; 0: never */
    bool direct;           /* two members who write to each other's user, not to a room */
    bool across;           /* direct: the two live on different shards */
    bool readers_offline;  /* only senders stay connected */
};

struct traffic_counts {
    uint64_t sent, acked, delivered, echoed; /* echoed: to the sender's own session, as the server does */
    uint64_t refused;                        /* "try again": not lost, not sent either */
    uint64_t redelivered;                    /* twice, with the DUP flag of QoS 1, which promises no more */
    uint64_t duplicated, reordered, corrupted, rejected; /* faults; rejected: refused for good */
};

struct pending { /* a message under way */
    uint64_t intended_ns;
    uint32_t readers_left;
    bool acked;
};

struct member {
    struct session *session; /* NULL: offline */
    struct traffic_group *group;
    struct sender *sender;      /* NULL: only reads */
    struct arrivals *arrivals;  /* one per sender of the group */
    uint64_t user_id, peer_id;  /* peer: direct only */
    uint64_t sync_key_start;
    uint64_t since_ns; /* what should have been sent before is checked, not timed: the member was away */
    uint32_t index;
};

struct sender {
    struct member *member;
    struct pending *pending; /* ring by sequence */
    uint32_t next, oldest;   /* sequences: oldest is the first not finished, next was not sent yet; from 1 */
    uint64_t resume_ns;      /* not before; 0: not paused */
};

struct traffic_group {
    uint64_t room_id; /* 0: two who write to each other */
    struct traffic *traffic;
    struct member *members;
    uint32_t index;
};

struct traffic {
    struct traffic_plan plan;
    struct loop *loop;
    uint32_t run, pending_mask, sender_count, paused_count, online_readers; /* readers: of one message */
    struct traffic_group *groups;
    struct member *members;
    struct sender *senders;
    struct arrivals *arrivals;
    struct traffic_counts total, measured;
    bool measuring, stopping;
    uint64_t due_from_ns, due_until_ns; /* open loop: what is timed was due then, whenever it arrives */
    uint64_t unsent;                    /* open loop: was due, but the window was full until the end */
    bool expects_end; /* the server is about to be killed */
    struct histogram ack_latency, delivery_latency;
    /* Each acknowledgement of a message; NULL: of no interest. */
    void (*on_acked)(void *context, struct sender *sender, uint32_t sequence, const struct answer *answer);
    /* Every tick_ns while it runs, at the end of a turn; NULL: of no interest. */
    void (*on_tick)(void *context);
    uint64_t tick_ns, next_tick_ns;
    /* `sender` may be able to send; NULL: it fills its window. */
    void (*on_space)(void *context, struct sender *sender);
    void *context;
};

/* Registers people and makes the rooms. */
struct traffic *traffic_prepare(struct bench *bench, const struct traffic_plan *plan);
/* Prepares and logs everybody in, with sessions that are the traffic's. */
struct traffic *traffic_create(struct bench *bench, const struct traffic_plan *plan);
/* As whom a member comes. */
struct login traffic_login(const struct traffic *traffic, const struct member *member);
/* For sessions that are somebody else's: who tells the traffic what happens, and sends. */
bool traffic_may_send(const struct traffic *traffic, const struct sender *sender);
void traffic_send(struct traffic *traffic, struct sender *sender, uint64_t intended_ns);
void traffic_on_answer(struct traffic *traffic, struct member *member, const struct answer *answer);
void traffic_resume_paused(struct traffic *traffic);

/* Sends for `seconds`; counts and times what happens meanwhile when `measure`. */
void traffic_run(struct traffic *traffic, double seconds, bool measure);
/* Stops sending and waits until nothing is under way, for as long as something still arrives. */
void traffic_settle(struct traffic *traffic);
/* What was sent and is still not acknowledged, or acknowledged and not delivered to everybody. */
struct traffic_missing {
    uint64_t unacknowledged, lost;
};
struct traffic_missing traffic_missing(const struct traffic *traffic);
/* Counts an arrival that came by a page instead of a push. */
void traffic_on_arrival(struct traffic *traffic, struct member *member, const struct incoming *message);
/* All faults of the messages, and those of the sessions, into the report. */
void traffic_report_faults(const struct traffic *traffic, struct report *report);
void traffic_report_sessions(const struct loop *loop, struct report *report);
/* Ends all sessions; destroy does it too. */
void traffic_close(struct traffic *traffic);
void traffic_destroy(struct traffic *traffic);

#endif
