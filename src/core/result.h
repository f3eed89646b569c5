/* core/result.h - the one enum every fallible internal function returns.
 * Owns:    nothing.               Thread: any.
 * Depends: nothing.               Start at: core/core.h
 * The client API has its own table of stable codes (api/error.h); these never leave the process as text. */
#ifndef CORE_RESULT_H
#define CORE_RESULT_H

#define RESULT_LIST(X)                                                                                                 \
    X(OK, "ok")                                                                                                        \
    X(NOMEM, "out of memory")                                                                                          \
    X(BUSY, "limit reached")                                                                                           \
    X(MALFORMED, "cannot decode input")                                                                                \
    X(TOO_LARGE, "larger than the limit")                                                                              \
    X(DENIED, "not allowed")                                                                                           \
    X(MISSING, "no such thing")                                                                                        \
    X(EXISTS, "already there")                                                                                         \
    X(CLOSED, "peer closed")                                                                                           \
    X(TIMEOUT, "took too long")                                                                                        \
    X(IO, "system call failed")                                                                                        \
    X(FULL, "no space left on the disk")                                                                               \
    X(UNSUPPORTED, "this system cannot do it")                                                                         \
    X(CORRUPT, "bad bytes on disk")

#define RESULT_AS_ENUM(name, text) RESULT_##name,
enum result { RESULT_LIST(RESULT_AS_ENUM) RESULT_COUNT };
#undef RESULT_AS_ENUM

#define NODISCARD __attribute__((warn_unused_result))

/* The row's text; a static string. */
const char *result_text(enum result result);

/* Maps a positive errno value, once, where the system call returned. Unknown values are RESULT_IO. */
enum result result_from_errno(int error);

#endif
