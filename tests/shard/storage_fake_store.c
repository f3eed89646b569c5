/* tests/shard/storage_fake_store.c - the storage layer's store in memory, for tests of whole shards. */
#include "storage/fake_store.c"
