/* api/openapi.h - the OpenAPI 3 document, generated from the descriptors and the HTTP routes.
 * Thread: any; rendered once at start.  Depends: core/, api/envelope.h.  Start at: api/api.h */
#ifndef API_OPENAPI_H
#define API_OPENAPI_H

#include "core/cursor.h"
#include <stdbool.h>

struct openapi_route { /* one method as HTTP shows it */
    uint32_t method;   /* field number in Request.method */
    const char *path;  /* "/v1/chat/send" */
    bool is_read;      /* also as GET with the fields in the query */
    bool needs_token;
};

/* Appends the document. Descriptions come from the comments in the .proto (generated into the binary at build time). */
void openapi_render(struct writer *out, const struct openapi_route *routes, uint32_t route_count, const char *server_version);

#endif
