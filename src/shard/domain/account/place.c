/* shard/domain/account/place.c - an account is full, and another device logs in: who gives its place?
 * A device that has no connection and no MQTT session that is kept for it; of those the one unseen for longest. So throw-away devices
 * (private windows, MQTT clients with a clean session) never lock a person out, and nothing that is in use ends.
 * Connections are no part of the state, so the choice is made before the log and stands in the command. */
#include "shard/domain/account/account_internal.h"
#include "shard/domain/mqtt/state.h"
#include "shard/domain/delivery/session.h"

static bool is_connected(const struct inbox *inbox, const struct device *device)
{
    for (const struct session *session = inbox->sessions; session != NULL; session = session->next)
        if (strcmp(session->device_id, device->device_id) == 0) return true;
    return false;
}

static bool is_kept_for(const struct mqtt_state *state, const struct device *device, uint64_t now_ms)
{
    struct mqtt_session_record kept;
    return state->entity.exists && mqtt_state_find(state, slice_text(device->device_id), &kept) && !mqtt_session_over(&kept, now_ms);
}

bool account_find_place(struct shard *shard, struct request *request, const struct account *account, struct slice device_id,
                        struct slice *frees)
{
    const struct shard_ports *ports = shard_ports(shard);
    uint64_t now_ms = ports->now_ms(ports->context), user_id = account->entity.key.a;
    const struct device *known = account_device(account, device_id), *longest = NULL;
    *frees = SLICE_EMPTY;
    if (known != NULL && account_device_active(known, now_ms)) return true;
    if (account_active_count(account, now_ms) < machine_limit(request_machine(shard), LIMIT_DEVICES_PER_USER_MAX)) return true;
    struct entity *inbox = request_entity(shard, request, ENTITY_INBOX, user_id, 0);
    struct entity *state = request_entity(shard, request, ENTITY_MQTT, user_id, 0);
    (void)request_entity(shard, request, ENTITY_WILLS, user_id, 0); /* what ending a device touches: pinned before the password is tried */
    if (request_waits(request)) return false;
    for (uint32_t i = 0; i < account->device_count; i++) {
        const struct device *device = &account->devices[i];
        bool idle = account_device_active(device, now_ms) && !is_connected(inbox_of(inbox), device) &&
                    !is_kept_for(mqtt_state_of(state), device, now_ms);
        if (idle && (longest == NULL || device->last_seen_ms < longest->last_seen_ms)) longest = device;
    }
    if (longest != NULL) *frees = slice_text(longest->device_id);
    return true;
}
