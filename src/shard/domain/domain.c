/* shard/domain/domain.c - the list of areas. */
#include "shard/domain/domain.h"
#include "core/check.h"
#include "shard/domain/methods.h"
#include <pthread.h>

extern const struct area delivery_area, account_area, room_area, chat_area, presence_area, mqtt_area;

static const struct area *const areas[] = {&engine_area, &delivery_area, &account_area, &room_area, &chat_area, &presence_area, &mqtt_area};

static struct domain domain;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void build(void)
{
    domain_build(&domain, areas, COUNT_OF(areas));
    domain.methods = methods;
    domain.method_count = method_count;
}

const struct domain *ringpost_domain(void)
{
    (void)pthread_once(&once, build);
    return &domain;
}
