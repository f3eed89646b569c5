/* core/heap.h - what malloc holds: by whom it was asked, and how much it has of the system beyond that.
 * Owns:    nothing; malloc is jemalloc's, for the whole process (builds with sanitizers have their own, which tells nothing).
 * Thread:  any.                   Depends: core/ only, libjemalloc.   Start at: core/core.h
 *
 * jemalloc, because memory that a crowd of slow readers or a flushed memtable took goes back to the system (HEAP_CONFIG), and because
 * it says exactly what it holds, by arena: the workers have arenas of their own, so what their part of the server takes is known
 * without an account of each object. */
#ifndef CORE_HEAP_H
#define CORE_HEAP_H

#include <stdint.h>

/* What is freed goes back to the system within ten seconds, by a thread of its own, whether or not its arena is used meanwhile. */
#define HEAP_CONFIG "background_thread:true,dirty_decay_ms:10000,muzzy_decay_ms:0"

struct heap_stats {
    uint64_t resident_bytes;          /* of the system; at most: pages never touched count */
    uint64_t allocated_bytes;         /* given out */
    uint64_t workers_allocated_bytes; /* of it by the threads that called heap_enter_worker(), whoever has it now */
};

/* The calling thread allocates from an arena of its own from now on, which is counted with the workers'. */
void heap_enter_worker(void);
/* What the calling thread was given less what it gave back, ever: two loads. The difference between two moments is what was kept of what it did
 * meanwhile. 0 when nothing is known. */
int64_t heap_thread_bytes(void);
/* Takes some ten microseconds. All zero when nothing is known. */
struct heap_stats heap_read(void);

#endif
