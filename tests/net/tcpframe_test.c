#include "core/check.h"
#include "net/tcpframe.h"
#include <criterion/criterion.h>

#define FRAME_MAX 1000

Test(tcpframe, magic)
{
    static const struct {
        const char *bytes;
        enum tcpframe_magic want;
    } cases[] = {
        {"", TCPFRAME_MAGIC_MORE},    {"R", TCPFRAME_MAGIC_MORE},       {"RPT", TCPFRAME_MAGIC_MORE},
        {"RPT1", TCPFRAME_MAGIC_YES}, {"RPT1x", TCPFRAME_MAGIC_YES},    {"RPT2", TCPFRAME_MAGIC_NO},
        {"G", TCPFRAME_MAGIC_NO},     {"REPORT / ", TCPFRAME_MAGIC_NO}, {"RPX", TCPFRAME_MAGIC_NO},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        cr_expect_eq(tcpframe_magic_check(slice_text(cases[i].bytes)), cases[i].want, "%s", cases[i].bytes);
}

static bool refused(const struct writer *out)
{
    return out->len > 0 && memchr(out->data, '!', out->len) != NULL;
}

/* Writes "F<payload>" for a frame, "H" for a heartbeat, "!" for a refusal. */
static void run(struct tcpframe_parser *parser, const uint8_t *data, size_t len, struct writer *out)
{
    struct slice in = slice_of(data, len), payload;
    for (;;) {
        switch (tcpframe_parser_feed(parser, &in, FRAME_MAX, &payload)) {
        case TCPFRAME_MORE: cr_assert_eq(in.len, 0); return;
        case TCPFRAME_FRAME:
            writer_raw(out, "F", 1);
            writer_raw(out, payload.data, payload.len);
            break;
        case TCPFRAME_HEARTBEAT: writer_raw(out, "H", 1); break;
        case TCPFRAME_TOO_LARGE: writer_raw(out, "!", 1); return;
        case TCPFRAME_NOMEM: cr_assert_fail("no memory"); return;
        }
    }
}

static const struct tcp_case {
    const char *name, *bytes;
    size_t len;
    const char *want;
} cases[] = {
    {"nothing", "", 0, ""},
    {"one frame", "\0\0\0\3abc", 7, "Fabc"},
    {"one byte", "\0\0\0\1x", 5, "Fx"},
    {"heartbeat", "\0\0\0\0", 4, "H"},
    {"two and a heartbeat between", "\0\0\0\3abc\0\0\0\0\0\0\0\2de", 17, "FabcHFde"},
    {"incomplete head", "\0\0\0", 3, ""},
    {"incomplete payload", "\0\0\0\5abc", 7, ""},
    {"over the limit", "\0\0\3\xE9x", 5, "!"},
    {"far over the limit", "\xFF\xFF\xFF\xFF", 4, "!"},
    {"a frame, then over the limit", "\0\0\0\1a\0\1\0\0", 9, "Fa!"},
};

Test(tcpframe, whole_and_at_every_pair_of_splits)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct tcp_case *c = &cases[i];
        const uint8_t *bytes = (const uint8_t *)c->bytes;
        for (size_t first = 0; first <= c->len; first++) {
            for (size_t second = first; second <= c->len; second++) {
                struct tcpframe_parser parser;
                struct writer out;
                tcpframe_parser_init(&parser);
                writer_init(&out, 0);
                run(&parser, bytes, first, &out);
                if (!refused(&out)) run(&parser, bytes + first, second - first, &out);
                if (!refused(&out)) run(&parser, bytes + second, c->len - second, &out);
                cr_expect(slice_equal(writer_slice(&out), slice_text(c->want)), "%s at %zu, %zu: %.*s", c->name, first,
                          second, (int)out.len, (const char *)out.data);
                writer_deinit(&out);
                tcpframe_parser_deinit(&parser);
            }
        }
    }
}

Test(tcpframe, whole_frame_is_handed_on_in_place)
{
    static const uint8_t bytes[] = "\0\0\0\3abc";
    struct tcpframe_parser parser;
    struct slice in = slice_of(bytes, 7), payload;
    tcpframe_parser_init(&parser);
    cr_expect_eq(tcpframe_parser_feed(&parser, &in, FRAME_MAX, &payload), TCPFRAME_FRAME);
    cr_expect_eq(payload.data, bytes + 4);
    cr_expect_eq(parser.payload.capacity, 0);
    tcpframe_parser_deinit(&parser);
}

Test(tcpframe, claimed_length_allocates_nothing)
{
    struct tcpframe_parser parser;
    uint8_t bytes[] = {0x7F, 0xFF, 0xFF, 0xFF, 'x'};
    struct slice in = slice_of(bytes, sizeof bytes), payload;
    tcpframe_parser_init(&parser);
    cr_expect_eq(tcpframe_parser_feed(&parser, &in, UINT32_MAX, &payload), TCPFRAME_MORE);
    cr_expect_leq(parser.payload.capacity, 256);
    tcpframe_parser_deinit(&parser);
}

Test(tcpframe, moves_at_every_split)
{
    static const uint8_t bytes[] = "\0\0\0\3abc\0\0\0\2de";
    size_t len = sizeof bytes - 1;
    for (size_t split = 0; split <= len; split++) {
        struct tcpframe_parser first, second;
        struct writer out;
        tcpframe_parser_init(&first);
        writer_init(&out, 0);
        run(&first, bytes, split, &out);
        cr_assert(tcpframe_parser_move(&second, &first));
        cr_expect(tcpframe_parser_idle(&first));
        run(&second, bytes + split, len - split, &out);
        cr_expect(slice_equal(writer_slice(&out), SLICE_TEXT("FabcFde")), "at %zu", split);
        writer_deinit(&out);
        tcpframe_parser_deinit(&first);
        tcpframe_parser_deinit(&second);
    }
}

Test(tcpframe, head_is_big_endian)
{
    uint8_t head[TCPFRAME_HEAD_SIZE];
    tcpframe_write_head(head, 0x01020304);
    cr_expect_eq(memcmp(head, "\1\2\3\4", 4), 0);
}
