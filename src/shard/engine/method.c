/* shard/engine/method.c - finding methods in the domain's table, which is in the order of their numbers. */
#include "shard/engine/method.h"

const struct method *method_by_number(const struct domain *domain, uint32_t number)
{
    uint32_t low = 0, high = domain->method_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (domain->methods[middle].number < number) low = middle + 1;
        else high = middle;
    }
    return low < domain->method_count && domain->methods[low].number == number ? &domain->methods[low] : NULL;
}

const struct method *method_by_path(const struct domain *domain, struct slice path)
{
    for (uint32_t i = 0; i < domain->method_count; i++)
        if (slice_equal(path, slice_text(domain->methods[i].path))) return &domain->methods[i];
    return NULL;
}
