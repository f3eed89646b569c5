/* tests/shard/thread_sanitizer_runner.c - the core layer's runner, for this layer's tests under ThreadSanitizer. */
#include "core/thread_sanitizer_runner.c"
