/* api/api.h - the client contract as bytes: protobuf, JSON, errors, tokens. Knows no sockets, no disks, no shards.
 * Read in this order:
 *   error.h      the one table of error codes
 *   envelope.h   frames: finding the method and payload of a request, building responses and pushes
 *   json.h       the Protobuf JSON mapping, generic over the descriptors
 *   token.h      access tokens (JWT) and opaque refresh tokens
 *   openapi.h    the OpenAPI document, generated from the descriptors
 * Generated:  ringpost/v1/ringpost.pb-c.h from schemas/.
 * Threads: any, no global state but tables built at first use by api_init(). Includes: core/ only. */
#ifndef API_API_H
#define API_API_H
#include "api/envelope.h"
#include "api/error.h"
#include "api/json.h"
#include "api/token.h"
#endif
