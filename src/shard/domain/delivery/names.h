/* shard/domain/delivery/names.h - lists of people are answered with the display names of now, whatever name was stored with a row of them.
 * Thread:  the shard's worker.    Depends: shard/engine/request.h.  Start at: shard/engine/request.h
 * Happy path: a packed page -> the ids in it -> one letter to each shard that owns some of them -> the page with the names they told. A shard
 * that does not tell leaves the names as they were stored: a list is worth more than the newest name of each. */
#ifndef SHARD_DELIVERY_NAMES_H
#define SHARD_DELIVERY_NAMES_H

#include "shard/engine/request.h"

/* Where they stand in the response: field numbers of the list, and in its messages of the user's id and name, in this order. */
struct names_place {
    uint32_t list, user_id, name;
};
/* Answers with `page`, a packed response of at most NAMES_MAX people. The request has no state of its own any more. */
#define NAMES_MAX 500u
void names_reply(struct shard *shard, struct request *request, struct slice page, const struct names_place *place);

/* An ASK_NAMES letter; takes it. */
void names_receive(struct shard *shard, struct letter *letter);

#endif
