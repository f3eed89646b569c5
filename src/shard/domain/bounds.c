/* shard/domain/bounds.c - see bounds.h: records whose fields have their largest lengths, measured by the records' own size functions. */
#include "shard/domain/bounds.h"
#include "api/envelope.h"
#include "core/check.h"
#include "shard/domain/domain.h"
#include "shard/domain/records.h"

uint32_t bounds_message(uint32_t body_size_max)
{
    return message_record_size(&(struct message_record){.sender_name = slice_of_len(NAME_SIZE_MAX),
                                                        .client_msg_id = slice_of_len(ENVELOPE_CLIENT_MSG_ID_MAX),
                                                        .body = slice_of_len(body_size_max),
                                                        .properties = slice_of_len(PROPERTIES_SIZE_MAX)});
}

uint32_t bounds_command(uint16_t type, uint32_t body_size_max)
{
    const struct domain *domain = ringpost_domain();
    const struct command_row *row = domain_command(domain, type);
    ASSERT(row != NULL);
    return command_record_size(&(struct command_record){0}) + row->size_max(domain, body_size_max);
}

uint32_t bounds_largest_command(uint32_t body_size_max)
{
    uint32_t largest = 0;
    for (uint16_t type = 0; type < COMMAND_TYPES_MAX; type++) {
        if (domain_command(ringpost_domain(), type) == NULL) continue;
        uint32_t size = bounds_command(type, body_size_max);
        if (size > largest) largest = size;
    }
    return largest;
}

#define JSON_FIELDS_SIZE_MAX 1024u /* names and numbers of one event */
#define JSON_ESCAPED_MAX     6u    /* bytes that one byte of a string becomes: \u0001 */

uint32_t bounds_largest_push(uint32_t body_size_max)
{
    uint32_t strings = PROPERTIES_SIZE_MAX + 3 * NAME_SIZE_MAX + ENVELOPE_CLIENT_MSG_ID_MAX;
    return (body_size_max + 2) / 3 * 4 + JSON_ESCAPED_MAX * strings + JSON_FIELDS_SIZE_MAX;
}

#define PAGE_COST_MAX    (512u << 10) /* whatever the connection would take: a page is read without a pause */
#define ANSWER_JSON_SIZE 256u /* of one that is no page */
#define HEAD_JSON_SIZE   80u  /* of a large room that moved; the last page of a sync names each */

static uint64_t page_rest(uint32_t body_size_max, uint32_t rooms_per_user_max)
{
    return bounds_largest_push(body_size_max) + (uint64_t)rooms_per_user_max * HEAD_JSON_SIZE;
}

static uint32_t clamp(uint64_t value, uint64_t max) { return (uint32_t)(value < max ? value : max); }

uint32_t bounds_page_cost(uint32_t span, uint32_t body_size_max, uint32_t rooms_per_user_max)
{
    uint64_t answers = DOOR_IN_FLIGHT_MAX * ANSWER_JSON_SIZE, rest = page_rest(body_size_max, rooms_per_user_max);
    uint64_t each = span > answers ? (span - answers) / DOOR_PAGES_IN_FLIGHT_MAX : 0;
    return each > rest ? clamp(each - rest, PAGE_COST_MAX) : 0;
}

uint32_t bounds_page_span(uint32_t body_size_max, uint32_t rooms_per_user_max)
{
    uint64_t each = page_rest(body_size_max, rooms_per_user_max) + 1;
    return clamp(DOOR_IN_FLIGHT_MAX * ANSWER_JSON_SIZE + DOOR_PAGES_IN_FLIGHT_MAX * each, UINT32_MAX);
}
