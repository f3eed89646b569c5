/* shard/domain/methods.c - one row per method of the contract. */
#include "shard/domain/methods.h"
#include "shard/domain/routes.h"

#define METHOD_ROW(name, number, path, owner, field, other_field, access, is_read, is_page, rate)                      \
    {number, #name, path, route_##owner, field, other_field, ACCESS_##access, is_read, RATE_##rate, handle_##name},
const struct method methods[] = {METHODS(METHOD_ROW)};
const uint32_t method_count = COUNT_OF(methods);
