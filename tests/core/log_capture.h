/* tests/core/log_capture.h - what the process writes to stderr between two calls. One at a time. */
#ifndef TESTS_CORE_LOG_CAPTURE_H
#define TESTS_CORE_LOG_CAPTURE_H

void capture_start(void);
/* All that was written; the caller frees it. */
char *capture_end(void);

#endif
