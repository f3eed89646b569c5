/* shard/domain/domain.h - the product: all areas, as the engine gets them.
 * Thread:  any.                   Depends: shard/engine/domain.h.  Start at: shard/engine/shard.h
 * An area is a folder here. Its area.c names its rows; domain.c names the areas. */
#ifndef SHARD_DOMAIN_DOMAIN_H
#define SHARD_DOMAIN_DOMAIN_H

#include "shard/engine/domain.h"

const struct domain *ringpost_domain(void);

#endif
