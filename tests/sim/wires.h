/* tests/sim/wires.h - core/io.h without a kernel: sockets whose other ends are in the simulator, in one thread, from the seed.
 * Owns:    a wire per connection, until both ends have let go of it; the operations that are armed.
 * Thread:  one.                   Depends: core/io.h, whose functions are defined here.   Start at: sim/doors.h
 *
 * Everything completes in any order, later or never: what comes is cut anywhere, a send takes some of its bytes and none while the other end
 * does not read, a multishot receive ends when it likes, a cancel comes before or after its victim. The other end goes at any byte: what
 * it sent last is lost, or arrives. */
#ifndef TESTS_SIM_WIRES_H
#define TESTS_SIM_WIRES_H

#include "core/cursor.h"
#include "core/io.h"
#include "sim/dice.h"

struct wire;

/* Of every io that is made from now on. `short_sends_lie`: planted bug. */
void wires_begin(struct dice *dice, bool short_sends_lie);
/* Whether any byte or end has moved since the last time this was asked. */
bool wires_moved(void);

/* A connection to whoever accepts at that io. Ended by wire_leave(). */
struct wire *wire_connect(struct io *io);
void wire_send(struct wire *wire, struct slice bytes);
/* Appends at most `most` bytes that have arrived. */
void wire_receive(struct wire *wire, struct writer *out, uint32_t most);
/* Nothing comes any more, and all that came was received. */
bool wire_is_over(const struct wire *wire);
/* No further byte is sent; what comes is read. */
void wire_end(struct wire *wire);
/* This end is gone: with `politely` what it sent arrives first. */
void wire_leave(struct wire *wire, bool politely);

#endif
