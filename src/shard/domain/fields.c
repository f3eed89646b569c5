/* shard/domain/fields.c - see fields.h. */
#include "shard/domain/fields.h"
#include "shard/engine/request.h"
#include <stdio.h>

bool field_clean_name(struct shard *shard, struct request *request, struct name_text *out, const char *field, const char *given,
                        bool required)
{
    const char *refusal = name_clean(out, slice_text(given));
    if (refusal == NULL && required && out->len == 0) refusal = "must be given";
    if (refusal == NULL) return true;
    char text[128];
    snprintf(text, sizeof text, "%s: %s", field, refusal);
    request_refuse_because(shard, request, ERROR_BAD_FIELD, text);
    return false;
}
