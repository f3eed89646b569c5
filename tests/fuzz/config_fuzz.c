/* layers: core */
/* tests/fuzz/config_fuzz.c - any bytes as a configuration file: refused with one printable line, or taken; what is
 * taken and rendered loads again and renders to the same values. */
#include "core/check.h"
#include "core/config.h"
#include <stdio.h>
#include <string.h>

#define FILE_SIZE_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum result load(struct config *config, const uint8_t *data, size_t size, char *text, size_t text_size)
{
    static uint8_t copy[FILE_SIZE_MAX]; /* fmemopen() wants memory it may write */
    memcpy(copy, data, size);
    FILE *stream = fmemopen(copy, size, "r");
    ASSERT(stream != NULL);
    config_init_defaults(config);
    enum result res = config_load_stream(config, stream, "fuzz.conf", text, text_size);
    fclose(stream);
    return res;
}

static void expect_one_printable_line(const char *text)
{
    ASSERT(strncmp(text, "fuzz.conf:", 10) == 0);
    for (; *text != '\0'; text++) ASSERT(*text >= ' ' && *text < 0x7f);
}

/* The comment that says where a value comes from differs after loading again: lines, and defaults that are now in a
 * file. */
static void strip_origins(struct writer *text)
{
    size_t kept = 0;
    for (size_t i = 0; i < text->len; i++) {
        if (text->data[i] == ';')
            while (i < text->len && text->data[i] != '\n') i++;
        text->data[kept++] = text->data[i];
    }
    text->len = kept;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config config, again;
    char text[512] = "";
    if (size == 0 || size > FILE_SIZE_MAX / 2) return 0;
    enum result res = load(&config, data, size, text, sizeof text);
    if (res != RESULT_OK) {
        ASSERT(res == RESULT_MALFORMED);
        expect_one_printable_line(text);
        return 0;
    }
    struct writer first, second;
    writer_init(&first, FILE_SIZE_MAX);
    writer_init(&second, FILE_SIZE_MAX);
    config_render(&config, &first);
    ASSERT(!first.failed);
    ASSERT(load(&again, first.data, first.len, text, sizeof text) == RESULT_OK);
    config_render(&again, &second);
    strip_origins(&first);
    strip_origins(&second);
    ASSERT(slice_equal(writer_slice(&first), writer_slice(&second)));
    writer_deinit(&first);
    writer_deinit(&second);
    return 0;
}
