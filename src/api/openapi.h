/* api/openapi.h - the OpenAPI 3 document, generated from the contract.
 * Thread: any; rendered once at start.  Depends: core/, api/envelope.h.  Start at: api/api.h */
#ifndef API_OPENAPI_H
#define API_OPENAPI_H

#include "core/cursor.h"

/* Appends the document. What it says of methods, fields and their meaning comes from the .proto (generated into the binary at build time). */
void openapi_render(struct writer *out, const char *server_version);

#endif
