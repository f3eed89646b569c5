/* shard/domain/methods.h - the table of methods: the map of the product.
 * Thread: read-only.              Depends: shard/engine/method.h.      Start at: shard/engine/shard.h
 * Nothing of it is written by hand: tools/contract.py makes METHODS of what schemas/ringpost/v1/ringpost.proto says of each method. */
#ifndef SHARD_METHODS_H
#define SHARD_METHODS_H

#include "ringpost/v1/ringpost.methods.h"
#include "shard/engine/method.h"

extern const struct method methods[];
extern const uint32_t method_count;

/* In the area's folder, a file each. */
#define METHOD_PROTOTYPE(name, ...) void handle_##name(struct shard *shard, struct request *request);
METHODS(METHOD_PROTOTYPE)
#undef METHOD_PROTOTYPE

#endif
