/* tests/web/assets_test.c - the compiled-in files: found by exact path, typed, tagged, and what the page asks for is there. */
#include "web/assets.h"
#include "web/assets_internal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

Test(assets, slash_is_the_page)
{
    const struct web_asset *page = web_asset_find(SLICE_TEXT("/"));
    cr_assert_not_null(page);
    cr_expect_str_eq(page->path, "/index.html");
    cr_expect_eq(page, web_asset_find(SLICE_TEXT("/index.html")));
    cr_expect_eq(memcmp(page->body.data, "<!doctype html>", 15), 0);
}

Test(assets, every_entry_is_found_typed_and_tagged)
{
    cr_assert_gt(web_asset_count, 1);
    for (uint32_t i = 0; i < web_asset_count; i++) {
        const struct web_asset *asset = &web_assets[i];
        cr_expect_eq(web_asset_find(slice_text(asset->path)), asset, "%s", asset->path);
        cr_expect_eq(strlen(asset->etag), 34, "%s", asset->path);
        cr_expect(asset->etag[0] == '"' && asset->etag[33] == '"', "%s", asset->path);
        cr_expect_not_null(strstr(asset->content_type, "charset=utf-8"), "%s", asset->path);
        cr_expect_gt(asset->body.len, 0, "%s", asset->path);
    }
}

Test(assets, only_exact_paths_are_found)
{
    static const char *const paths[] = {
        "", "//", "/index", "/index.htm", "/index.html/", "/index.htmlx", "index.html", "/INDEX.HTML", "/../index.html", "/app", "/app/",
    };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        cr_expect_null(web_asset_find(slice_text(paths[i])), "%s", paths[i]);
}

/* Reads the next value of an attribute like src="…"; false at the end. */
static bool next_reference(struct slice page, const char *opening, uint32_t *at, char *out, size_t out_size)
{
    size_t opening_len = strlen(opening);
    for (uint32_t i = *at; i + opening_len < page.len; i++) {
        if (memcmp(page.data + i, opening, opening_len) != 0) continue;
        size_t start = i + opening_len;
        size_t len = 0;
        while (start + len < page.len && page.data[start + len] != '"') len++;
        cr_assert_lt(len, out_size);
        snprintf(out, out_size, "%.*s", (int)len, (const char *)page.data + start);
        *at = (uint32_t)(start + len);
        return true;
    }
    return false;
}

static bool page_has_id(struct slice page, const char *id)
{
    char attribute[256];
    int len = snprintf(attribute, sizeof attribute, "id=\"%s\"", id);
    return memmem(page.data, page.len, attribute, (size_t)len) != NULL;
}

Test(assets, the_page_refers_only_to_what_is_served)
{
    struct slice page = web_asset_find(SLICE_TEXT("/"))->body;
    static const char *const openings[] = {"src=\"", "href=\""};
    char reference[256];
    uint32_t file_count = 0, icon_count = 0;
    for (size_t i = 0; i < 2; i++) {
        for (uint32_t at = 0; next_reference(page, openings[i], &at, reference, sizeof reference);) {
            bool is_icon = reference[0] == '#';
            cr_expect(is_icon ? page_has_id(page, reference + 1) : web_asset_find(slice_text(reference)) != NULL, "%s", reference);
            icon_count += is_icon;
            file_count += !is_icon;
        }
    }
    cr_expect_geq(file_count, 3); /* the style, the script, the mark */
    cr_expect_geq(icon_count, 3);
}
