/* core/logger.h - bounded structured logging that never blocks a shard.
 * Owns:    a ring of fixed-size lines per writing thread and one thread that writes them to stderr (or a file).
 * Thread:  logger_write() any thread that called logger_attach(); the rest at start and stop.
 * Depends: core/ only.            Start at: core/core.h
 * A line: time, level, module, message, key=value pairs; text (logfmt) or JSON by option. When a ring is full the line is
 * dropped and counted, and the count is written as soon as there is room. */
#ifndef CORE_LOGGER_H
#define CORE_LOGGER_H

#include "core/result.h"
#include <stdbool.h>
#include <stdint.h>

enum logger_level { LOGGER_DEBUG, LOGGER_INFO, LOGGER_WARN, LOGGER_ERROR };
enum logger_format { LOGGER_LOGFMT, LOGGER_JSON };
#define LOGGER_LINE_MAX 512        /* bytes; longer messages are cut and marked with "..." */
#define LOGGER_RING_LINES 1024     /* per thread */

NODISCARD enum result logger_start(enum logger_level level, enum logger_format format);
/* Writes what is left and ends the thread. */
void logger_stop(void);
/* Gives the calling thread its ring; before it, lines go straight to stderr (start-up only). `name` is copied, <= 15 bytes. */
NODISCARD enum result logger_attach(const char *name);
uint64_t logger_dropped_count(void);

/* `module` a literal; `format` gives "message key=value key=\"two words\"" : the part before the first key= is the message. */
void logger_write(enum logger_level level, const char *module, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool logger_enabled(enum logger_level level);

#define LOG_DEBUG(module, ...)                                                                                         \
    do {                                                                                                               \
        if (logger_enabled(LOGGER_DEBUG)) logger_write(LOGGER_DEBUG, module, __VA_ARGS__);                             \
    } while (0)
#define LOG_INFO(module, ...) logger_write(LOGGER_INFO, module, __VA_ARGS__)
#define LOG_WARN(module, ...) logger_write(LOGGER_WARN, module, __VA_ARGS__)
#define LOG_ERROR(module, ...) logger_write(LOGGER_ERROR, module, __VA_ARGS__)

#endif
