/* api/openapi_internal.h - the comments of the contract, generated from schemas/ by tools/contract.py.
 * Thread: any, constant.          Depends: nothing.              Start at: api/openapi.h */
#ifndef API_OPENAPI_INTERNAL_H
#define API_OPENAPI_INTERNAL_H

#include <stddef.h>

struct openapi_comment {
    const char *type;   /* "SendRequest"; "" for the file itself */
    const char *member; /* a field or an enum's value; "" for the type itself */
    const char *text;
};
extern const struct openapi_comment openapi_comments[];
extern const size_t openapi_comment_count;

#endif
