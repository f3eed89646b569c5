/* web/assets.h - the files of the web chat, compiled into the binary: nothing to install, no path built from input.
 * Owns:    nothing; every asset is static and lives as long as the process.
 * Thread:  any.                   Depends: core/ only.           Start at: here
 * The files stand in web/ at the top of the tree; mk/web.mk turns them into $(BUILD)/generated/web_assets.c. */
#ifndef WEB_ASSETS_H
#define WEB_ASSETS_H

#include "core/cursor.h"

struct web_asset {
    const char *path;         /* "/app/main.js": the path of the URL, as it is compared */
    const char *content_type; /* with its charset */
    const char *etag;         /* strong, in its quotes: a hash of the body */
    struct slice body;
};

/* What a page of the web chat may load and do: only files of this server, no inline script or style, sockets to anywhere
 * (the page's own origin as ws: or wss:, which 'self' does not cover in every browser), never inside a frame of another site. */
#define WEB_CONTENT_SECURITY_POLICY                                                                                    \
    "default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"

/* The asset at `path` (no query part; "/" is the page itself), or NULL. */
const struct web_asset *web_asset_find(struct slice path);

#endif
