/* web/assets.c - finds a file of the web chat by its path: a binary search in the generated table, which is sorted. */
#include "web/assets.h"
#include "web/assets_internal.h"

#include <stdlib.h>
#include <string.h>

#define WEB_INDEX_PATH "/index.html"

static int asset_compare(const void *key, const void *element)
{
    const struct slice *path = key;
    const struct web_asset *asset = element;
    size_t asset_len = strlen(asset->path);
    size_t common_len = path->len < asset_len ? path->len : asset_len;
    int order = memcmp(path->data, asset->path, common_len);
    if (order != 0) return order;
    return (path->len > asset_len) - (path->len < asset_len);
}

const struct web_asset *web_asset_find(struct slice path)
{
    if (path.len == 0) return NULL;
    if (slice_equal(path, SLICE_TEXT("/"))) path = SLICE_TEXT(WEB_INDEX_PATH);
    return bsearch(&path, web_assets, web_asset_count, sizeof web_assets[0], asset_compare);
}
