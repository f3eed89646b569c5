/* tests/sim/letters.h - how letters get from shard to shard: through the mailbox of the real workers, each shard being a worker of its own.
 * Owns:    the mailbox, and the letters of clients until their shard takes them.
 * Thread:  one.                   Depends: sim/world.h.          Start at: sim/world.h
 *
 * What a shard posts is seen by the others after its turn has ended (letters_publish). Letters of a pair come in order; how late, and how
 * many at a time, is a matter of chance, and now and then a shard takes none for a long while. Then more are under way than the mailbox
 * is made for: it takes them all the same, and the shards that are owed an answer stop listening to their clients until it has room.
 *
 * In some profiles the shards are on different hosts: what one says to another may be lost, come again, or come late, so that others
 * overtake it (profile.h says how often); so may a request that a shard forwards, and the answer to it, but these never come again: a link
 * does not repeat them (shard/engine/letter.h). What a client says to its own shard, and hears from it, arrives. When the world settles
 * nothing more is lost, and what is late arrives. */
#ifndef TESTS_SIM_LETTERS_H
#define TESTS_SIM_LETTERS_H

#include "sim/world.h"

void letters_create(struct world *world);
void letters_destroy(struct world *world);
/* The process dies: all that are under way are gone. */
void letters_lose(struct world *world);
/* Takes the letter. */
void letters_post(struct world *world, struct letter *letter);
bool letters_are_lossy(const struct world *world);
/* That of a shard to a client of another one's host. */
bool letters_answer_is_lost(struct world *world, uint16_t from, uint16_t home);
/* The shard's turn ends. */
void letters_publish(struct world *world, uint16_t shard);
/* Some letters, at most `max`, reach the shard; false: there were none, or it takes none now. */
bool letters_deliver(struct world *world, uint16_t to, uint32_t max);
/* The oldest letter for the shard that is under way, whatever keeps it; NULL: there is none. */
struct letter *letters_take_any(struct world *world, uint16_t to);
/* Too many of its letters are under way: it does not listen to its clients. */
bool letters_congested(const struct world *world, uint16_t shard);
/* After all have published. */
bool letters_under_way(const struct world *world, uint16_t to);

#endif
