/* shard/domain/account/grant.c - the tokens of a login or refresh: made before the command, handed out after it is durable. */
#include "shard/domain/account/account_internal.h"
#include "shard/engine/memory.h"
#include "shard/domain/setup.h"
#include <sodium.h>

#define MS_PER_SECOND 1000u

static void wipe(struct writer *writer)
{
    if (writer->data != NULL) sodium_memzero(writer->data, writer->capacity);
    writer_deinit(writer);
}

static void grant_free(void *state)
{
    struct grant *grant = state;
    wipe(&grant->refresh_token);
    wipe(&grant->access_token);
    free(grant);
}

struct grant *grant_make(struct shard *shard, struct request *request, const struct token_refresh *refresh)
{
    const struct shard_ports *ports = shard_ports(shard);
    if (request->state != NULL) request->free_state(request->state); /* the handler runs again */
    struct grant *grant = memory_alloc(sizeof *grant);
    request->state = grant;
    request->free_state = grant_free;
    grant->refresh = *refresh;
    while (grant->refresh.family == 0) ports->random(ports->context, &grant->refresh.family, sizeof grant->refresh.family);
    grant->refresh_expires_ms =
        ports->now_ms(ports->context) + (uint64_t)domain_options(shard)->refresh_token_ttl_s * MS_PER_SECOND;
    writer_init(&grant->refresh_token, 0);
    writer_init(&grant->access_token, 0);

    token_refresh_make(shard_token_keys(shard), &grant->refresh, &grant->refresh_token);
    token_hash(writer_slice(&grant->refresh_token), grant->refresh_hash);
    writer_u8(&grant->refresh_token, '\0');
    return grant;
}

void grant_mint_access(struct shard *shard, struct grant *grant, const struct account *account)
{
    const struct shard_ports *ports = shard_ports(shard);
    const struct device *device = account_device(account, slice_text(grant->refresh.device_id));
    uint64_t now_s = ports->now_ms(ports->context) / MS_PER_SECOND;
    struct token_claims claims = {.user_id = grant->refresh.user_id, .issued_s = now_s, .own = true};
    memcpy(claims.device_id, grant->refresh.device_id, sizeof claims.device_id);
    if (device != NULL) { /* else it was forgotten since: the token is of no generation */
        claims.generation = device->generation;
        memcpy(claims.platform, device->platform, sizeof claims.platform);
    }
    claims.expires_s = claims.issued_s + domain_options(shard)->access_token_ttl_s;
    grant->access_expires_ms = claims.expires_s * MS_PER_SECOND;
    token_mint(shard_token_keys(shard), &claims, &grant->access_token);
    writer_u8(&grant->access_token, '\0');
}
