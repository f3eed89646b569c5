/* shard/domain/timers.h - the numbers of the domain's kinds of timers: parts of keys in the store, for ever, never used again.
 * Thread: any.  Depends: nothing.  Start at: shard/engine/timers.h */
#ifndef SHARD_DOMAIN_TIMERS_H
#define SHARD_DOMAIN_TIMERS_H

enum domain_timer_kind {
    TIMER_WILL = 1,      /* id = user: the earliest of the wills that wait, or are being sent   mqtt/wills.c */
    TIMER_WILL_HELD = 2, /* id = user: the wills of connections that a crash has ended          mqtt/wills.c */
};

#endif
