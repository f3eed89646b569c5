/* core/core.h - what every other folder stands on; knows nothing about messaging.
 * Read in this order:
 *   result.h check.h        outcomes; invariants
 *   cursor.h record.h       flat bytes: reading, writing, records from a list of fields
 *   buf.h                   refcounted payloads
 *   timer.h spsc.h doorbell.h io.h   the parts of a loop turn
 *   clock.h host.h          time and randomness; cores and limits of the machine
 *   version.h               which version this is
 *   logger.h refusal.h metrics.h heap.h stack.h   what operators read
 *   config.h                what operators set
 * Threads: each header says. Includes: only core/ and libraries. */
#ifndef CORE_CORE_H
#define CORE_CORE_H
#include "core/buf.h"
#include "core/check.h"
#include "core/cursor.h"
#include "core/record.h"
#include "core/result.h"
#endif
