/* web/assets_internal.h - what the generated table gives to assets.c; for nobody else. */
#ifndef WEB_ASSETS_INTERNAL_H
#define WEB_ASSETS_INTERNAL_H

#include "web/assets.h"

extern const struct web_asset web_assets[]; /* in ascending order of path bytes */
extern const uint32_t web_asset_count;

#endif
