/* net/netblock.c - see netblock.h. Failure: what is not exactly an address or a block is none. */
#include "net/netblock.h"
#include <arpa/inet.h>

#define MAPPED_BITS 96u

static struct in6_addr mapped(struct in_addr v4)
{
    struct in6_addr address = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
    memcpy(address.s6_addr + 12, &v4, sizeof v4);
    return address;
}

bool address_parse(struct in6_addr *address, struct slice text)
{
    char copy[INET6_ADDRSTRLEN];
    struct in_addr v4;
    if (text.len == 0 || text.len >= sizeof copy || memchr(text.data, '\0', text.len) != NULL) return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    if (inet_pton(AF_INET6, copy, address) == 1) return true;
    if (inet_pton(AF_INET, copy, &v4) != 1) return false;
    *address = mapped(v4);
    return true;
}

static bool is_port(struct slice text)
{
    if (text.len < 2 || text.len > 6 || text.data[0] != ':') return false;
    for (uint32_t i = 1; i < text.len; i++)
        if (text.data[i] < '0' || text.data[i] > '9') return false;
    return true;
}

bool address_parse_forwarded(struct in6_addr *address, struct slice text)
{
    if (text.len == 0 || address_parse(address, text)) return text.len > 0;
    bool bracketed = text.data[0] == '[';
    const uint8_t *end = memchr(text.data, bracketed ? ']' : ':', text.len);
    if (end == NULL) return false;
    uint32_t at = (uint32_t)(end - text.data);
    struct slice host = bracketed ? slice_of(text.data + 1, at - 1) : slice_of(text.data, at);
    struct slice rest = bracketed ? slice_of(end + 1, text.len - at - 1) : slice_of(end, text.len - at);
    if (!address_parse(address, host) || (rest.len > 0 && !is_port(rest))) return false;
    return IN6_IS_ADDR_V4MAPPED(address) != bracketed;
}

const char *netblock_parse(struct netblock *block, struct slice text)
{
    const uint8_t *slash = text.len == 0 ? NULL : memchr(text.data, '/', text.len);
    uint32_t host_len = slash == NULL ? text.len : (uint32_t)(slash - text.data);
    if (!address_parse(&block->address, slice_of(text.data, host_len))) return "is no IPv4 or IPv6 address";
    bool v4 = IN6_IS_ADDR_V4MAPPED(&block->address);
    uint32_t bits = 0, most = v4 ? 128 - MAPPED_BITS : 128;
    uint32_t digits = slash == NULL ? 0 : text.len - host_len - 1;
    if (slash != NULL && (digits == 0 || digits > 3)) return "needs a number of bits behind the /";
    for (uint32_t i = 0; i < digits; i++) {
        uint8_t digit = slash[1 + i];
        if (digit < '0' || digit > '9') return "needs a number of bits behind the /";
        bits = bits * 10 + (uint32_t)(digit - '0');
    }
    if (slash == NULL) bits = most;
    if (bits > most) return v4 ? "has more than 32 bits" : "has more than 128 bits";
    block->bits = (uint8_t)(bits + (v4 ? MAPPED_BITS : 0));
    struct in6_addr rest = block->address;
    for (uint32_t i = 0; i < block->bits; i++) rest.s6_addr[i / 8] &= (uint8_t)~(0x80u >> i % 8);
    static const struct in6_addr nothing;
    return memcmp(&rest, &nothing, sizeof rest) == 0 ? NULL : "has bits set beyond those that its / counts: leave out the / for this one address";
}

bool netblock_has(const struct netblock *block, const struct in6_addr *address)
{
    uint32_t whole = block->bits / 8, left = block->bits % 8;
    if (memcmp(&block->address, address, whole) != 0) return false;
    uint8_t mask = (uint8_t)(0xff00u >> left);
    return left == 0 || ((block->address.s6_addr[whole] ^ address->s6_addr[whole]) & mask) == 0;
}
