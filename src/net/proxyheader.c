/* net/proxyheader.c - see proxyheader.h. Failure: what is not exactly one of the two forms is BAD as soon as a byte shows it. */
#include "net/proxyheader.h"
#include "net/netblock.h"

#define LINE_SIZE_MAX       107u
#define SIGNATURE_SIZE      12u
#define BINARY_SIZE_MIN     16u
#define COMMAND_LOCAL       0x20u /* with the version */
#define COMMAND_PROXY       0x21u
#define FAMILY_TCP4         0x11u
#define FAMILY_TCP6         0x21u
#define TCP4_ADDRESSES_SIZE 12u
#define TCP6_ADDRESSES_SIZE 36u

static const uint8_t signature[SIGNATURE_SIZE] = {0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A};

static bool begins(struct slice bytes, const void *prefix, uint32_t size)
{
    uint32_t len = bytes.len < size ? bytes.len : size;
    return len == 0 || memcmp(bytes.data, prefix, len) == 0;
}

/* ---- version 1 --------------------------------------------------------------------------------------------------- */

/* The word up to the next space, or all that is left. */
static struct slice next_word(struct slice *line)
{
    const uint8_t *space = line->len == 0 ? NULL : memchr(line->data, ' ', line->len);
    uint32_t len = space == NULL ? line->len : (uint32_t)(space - line->data);
    struct slice word = slice_of(line->data, len);
    *line = space == NULL ? SLICE_EMPTY : slice_of(space + 1, line->len - len - 1);
    return word;
}

static bool parse_port(struct slice text, uint16_t *port)
{
    uint32_t number = 0;
    if (text.len == 0 || text.len > 5 || (text.len > 1 && text.data[0] == '0')) return false;
    for (uint32_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') return false;
        number = number * 10 + (uint32_t)(text.data[i] - '0');
    }
    *port = (uint16_t)number;
    return number <= UINT16_MAX;
}

static bool parse_words(struct slice line, struct proxyheader *out)
{
    struct in6_addr destination;
    uint16_t destination_port;
    struct slice family = next_word(&line);
    if (slice_equal(family, SLICE_TEXT("UNKNOWN"))) return true;
    bool v4 = slice_equal(family, SLICE_TEXT("TCP4"));
    if (!v4 && !slice_equal(family, SLICE_TEXT("TCP6"))) return false;
    out->stated = address_parse(&out->source, next_word(&line)) && address_parse(&destination, next_word(&line)) &&
                  parse_port(next_word(&line), &out->port) && parse_port(line, &destination_port);
    /* Of TCP6 a mapped address is a client's that came over IPv4. */
    return out->stated && (!v4 || (IN6_IS_ADDR_V4MAPPED(&out->source) && IN6_IS_ADDR_V4MAPPED(&destination)));
}

static enum proxyheader_found parse_line(struct slice bytes, struct proxyheader *out)
{
    uint32_t most = bytes.len < LINE_SIZE_MAX ? bytes.len : LINE_SIZE_MAX;
    const uint8_t *end = memchr(bytes.data, '\n', most);
    if (end == NULL) return bytes.len < LINE_SIZE_MAX ? PROXYHEADER_MORE : PROXYHEADER_BAD;
    uint32_t len = (uint32_t)(end - bytes.data);
    if (len < 7 || end[-1] != '\r') return PROXYHEADER_BAD;
    out->size = len + 1;
    return parse_words(slice_of(bytes.data + 6, len - 7), out) ? PROXYHEADER_WHOLE : PROXYHEADER_BAD;
}

/* ---- version 2 --------------------------------------------------------------------------------------------------- */

static uint16_t u16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

/* False: the addresses are cut short, or it is no stream. */
static bool parse_addresses(uint8_t family, const uint8_t *at, uint32_t len, struct proxyheader *out)
{
    bool stream = (family & 0x0Fu) == 1, unspecified = family == 0, named = (family >> 4) == 3; /* AF_UNIX has no address for us */
    if (unspecified || (named && stream)) return true;
    if (family == FAMILY_TCP4 && len >= TCP4_ADDRESSES_SIZE) {
        out->source = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
        memcpy(out->source.s6_addr + 12, at, 4);
        out->port = u16(at + 8);
    } else if (family == FAMILY_TCP6 && len >= TCP6_ADDRESSES_SIZE) {
        memcpy(&out->source, at, sizeof out->source);
        out->port = u16(at + 32);
    } else {
        return false;
    }
    out->stated = true;
    return true;
}

static enum proxyheader_found parse_binary(struct slice bytes, struct proxyheader *out)
{
    if (bytes.len > SIGNATURE_SIZE && bytes.data[12] != COMMAND_LOCAL && bytes.data[12] != COMMAND_PROXY) return PROXYHEADER_BAD;
    if (bytes.len < BINARY_SIZE_MIN) return PROXYHEADER_MORE;
    uint32_t len = u16(bytes.data + 14);
    if (BINARY_SIZE_MIN + len > PROXYHEADER_SIZE_MAX) return PROXYHEADER_BAD;
    if (bytes.len < BINARY_SIZE_MIN + len) return PROXYHEADER_MORE;
    out->size = BINARY_SIZE_MIN + len;
    if (bytes.data[12] == COMMAND_LOCAL) return PROXYHEADER_WHOLE;
    return parse_addresses(bytes.data[13], bytes.data + BINARY_SIZE_MIN, len, out) ? PROXYHEADER_WHOLE : PROXYHEADER_BAD;
}

enum proxyheader_found proxyheader_parse(struct slice bytes, struct proxyheader *out)
{
    *out = (struct proxyheader){0};
    if (bytes.len == 0) return PROXYHEADER_MORE;
    if (begins(bytes, signature, SIGNATURE_SIZE)) return bytes.len < SIGNATURE_SIZE ? PROXYHEADER_MORE : parse_binary(bytes, out);
    if (begins(bytes, "PROXY ", 6)) return bytes.len < 6 ? PROXYHEADER_MORE : parse_line(bytes, out);
    return PROXYHEADER_BAD;
}
