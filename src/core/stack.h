/* core/stack.h - how much of the stacks of this process's threads is in memory.
 * Owns:    a list of the threads that entered; one that ends leaves it by itself.
 * Thread:  any.                   Depends: core/ only.           Start at: core/core.h */
#ifndef CORE_STACK_H
#define CORE_STACK_H

#include <stdint.h>

/* The calling thread's stack is counted from now on. Once per thread; beyond 4,096 threads nothing happens. */
void stack_enter(void);
/* Of all that entered. Asks the kernel once for each: for a page that people look at, not for a turn. */
uint64_t stack_resident_bytes(void);

#endif
