/* tests/shard/net_harness.c - the net layer's peers on the loopback, for tests of doors. */
#include "net/harness.c"
