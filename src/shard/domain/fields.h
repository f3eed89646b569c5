/* shard/domain/fields.h - fields of requests that several areas have in common.
 * Thread:  the shard's worker.    Depends: api/name.h.           Start at: shard/engine/request.h */
#ifndef SHARD_DOMAIN_FIELDS_H
#define SHARD_DOMAIN_FIELDS_H

#include "api/name.h"
#include <stdbool.h>

struct request;
struct shard;

/* A name that people see, of that field: cleaned into `out`. False: the request was refused. `required`: it may not be empty. */
bool field_clean_name(struct shard *shard, struct request *request, struct name_text *out, const char *field, const char *given,
                        bool required);

#endif
