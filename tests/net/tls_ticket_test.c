#include "net/tls_ticket.h"
#include "core/check.h"
#include <criterion/criterion.h>
#include <string.h>

#define HOUR_MS 3600000ull

struct sealed {
    uint8_t name[TLS_TICKET_NAME_SIZE], iv[TLS_TICKET_IV_SIZE], tag[TLS_TICKET_TAG_SIZE], bytes[16];
};

static struct tls_ticket_frame frame_of(struct sealed *sealed)
{
    return (struct tls_ticket_frame){sealed->name, sealed->iv, sealed->tag};
}

static struct sealed seal(struct tls_tickets *tickets, uint64_t now_ms)
{
    struct sealed sealed = {.bytes = "a session's keys"};
    struct tls_ticket_frame frame = frame_of(&sealed);
    cr_assert_eq(tls_tickets_seal(tickets, now_ms, &frame, sealed.bytes, sizeof sealed.bytes), RESULT_OK);
    cr_assert_neq(memcmp(sealed.bytes, "a session's keys", sizeof sealed.bytes), 0);
    return sealed;
}

static enum tls_ticket_opened open_sealed(struct tls_tickets *tickets, uint64_t now_ms, struct sealed sealed)
{
    struct tls_ticket_frame frame = frame_of(&sealed);
    enum tls_ticket_opened opened = tls_tickets_open(tickets, now_ms, &frame, sealed.bytes, sizeof sealed.bytes);
    if (opened != TLS_TICKET_REFUSED) cr_expect_eq(memcmp(sealed.bytes, "a session's keys", sizeof sealed.bytes), 0);
    return opened;
}

Test(tls_ticket, opens_for_two_periods)
{
    static const struct { const char *name; uint64_t hours[3]; enum tls_ticket_opened want; } cases[] = {
        /* times of the seal's neighbours: another ticket is sealed at each, then ours is opened at the last */
        { "at once",                            { 0,  0,  0}, TLS_TICKET_FRESH   },
        { "at the end of the period",           { 1,  5, 11}, TLS_TICKET_FRESH   },
        { "in the next period",                 {11, 12, 13}, TLS_TICKET_OLD     },
        { "in the one after that",              {12, 24, 25}, TLS_TICKET_REFUSED },
        { "long after, nobody came meanwhile",  { 1,  1, 48}, TLS_TICKET_REFUSED },
        { "one period after, nobody came",      { 1,  1, 20}, TLS_TICKET_OLD     },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct tls_tickets *tickets;
        cr_assert_eq(tls_tickets_create(&tickets, 1000), RESULT_OK);
        struct sealed ours = seal(tickets, 1000);
        for (size_t k = 0; k < 2; k++) (void)seal(tickets, 1000 + cases[i].hours[k] * HOUR_MS);
        cr_expect_eq(open_sealed(tickets, 1000 + cases[i].hours[2] * HOUR_MS, ours), cases[i].want, "%s", cases[i].name);
        tls_tickets_destroy(tickets);
    }
}

Test(tls_ticket, refuses_what_it_did_not_seal)
{
    struct tls_tickets *tickets, *others;
    cr_assert_eq(tls_tickets_create(&tickets, 0), RESULT_OK);
    cr_assert_eq(tls_tickets_create(&others, 0), RESULT_OK);
    struct sealed good = seal(tickets, 0);
    for (size_t at = 0; at < sizeof good; at++) {
        struct sealed bad = good;
        ((uint8_t *)&bad)[at] ^= 1;
        bool unused = at >= offsetof(struct sealed, iv) + 12 && at < offsetof(struct sealed, tag);
        unused |= at >= offsetof(struct sealed, tag) + 16 && at < offsetof(struct sealed, bytes);
        cr_expect_eq(open_sealed(tickets, 0, bad), unused ? TLS_TICKET_FRESH : TLS_TICKET_REFUSED, "byte %zu", at);
    }
    cr_expect_eq(open_sealed(others, 0, good), TLS_TICKET_REFUSED);
    tls_tickets_destroy(tickets);
    tls_tickets_destroy(others);
}
