/* tests/shard/storage_fake_disk.c - the storage layer's disk in memory, for tests of whole shards. */
#include "storage/fake_disk.c"
