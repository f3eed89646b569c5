/* shard/engine/follower_page.h - entries out of the store, a bounded page at a time, each with what it names as that is now.
 * Owns:    the bytes of the page.
 * Thread:  a job's: the storage thread.   Depends: shard/engine/follower.h.  Start at: shard/engine/follower.h
 *
 *   a page   +---------+--------------------+---------+---  FollowerEntry: schemas/ringpost/v1/operator.proto
 *            | u32 len | FollowerEntry 1    | u32 len | ...  in the order of the shard
 *            +---------+--------------------+---------+---
 *
 * Kinds that are not wanted are passed over and looked up nowhere; `next` is behind them. */
#ifndef SHARD_FOLLOWER_PAGE_H
#define SHARD_FOLLOWER_PAGE_H

#include "shard/engine/follower.h"

struct follower_page {
    const struct domain *domain;
    uint16_t shard;
    struct follower_place place; /* behind it */
    uint64_t kinds;              /* a bit for each kind that is wanted */
    uint32_t entries_max;        /* looked at, wanted or not, and places where there was none */
    uint32_t bytes_max;          /* of the page; the entry that reaches it is the last */
    bool bodies;                 /* false: what is named is not looked up; the entry has the ids alone */
    /* The answer. */
    struct follower_place next;  /* behind the last entry looked at */
    uint32_t count;              /* entries in the page */
    struct writer bytes;         /* the caller's; appended to */
};

/* OK, IO, CORRUPT: also when an entry behind the place is not there. */
NODISCARD enum result follower_page_read(struct follower_page *page, struct store_view *view);

#endif
