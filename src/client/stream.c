/* client/stream.c - events on their way to the caller, and the user's stream without holes.
 * Happy path: a push whose sync_key is the last one plus one is queued as it came. Anything that says there is more than that (auth, a
 * key further on, `behind`) makes us sync page by page until we are where the server is; pushes of the stream that come meanwhile only
 * tell how far that is.
 * Failure modes: a queue that is not emptied stops reading from the server, which then says `behind`: memory stays bounded and nothing is
 * lost. A key the server no longer keeps, or one of before it was restored from a backup, becomes a RESET event: each key is shown with
 * the epoch that came with it, and nothing pushed is taken before the first sync of a connection was answered. */
#include "client/client_internal.h"
#include "core/check.h"
#include "core/clock.h"
#include <stdio.h>
#include <stdlib.h>

#define STREAM_PAGE_LENGTH 100u
#define STREAM_HEADS_MAX 128u /* large rooms that moved, of one sync; more is a RESET: the conversations say the same */
#define STREAM_SYNC_RETRY_MS 500

/* One frame may add a whole page, its heads and a note. */
#define STREAM_ROOM (STREAM_PAGE_LENGTH + STREAM_HEADS_MAX + 8u)
_Static_assert(STREAM_ROOM < CLIENT_EVENTS_MAX / 2, "a page must fit beside what waits already");

bool client_stream_has_room(const struct client *client)
{
    return client->event_count + STREAM_ROOM <= CLIENT_EVENTS_MAX;
}

static void stream_queue(struct client *client, struct client_event event)
{
    ASSERT(client->event_count < CLIENT_EVENTS_MAX);
    client->events[(client->event_head + client->event_count) % CLIENT_EVENTS_MAX] = event;
    client->event_count++;
}

void client_stream_note(struct client *client, enum client_event_kind kind)
{
    if (kind == CLIENT_EVENT_ONLINE) client->sync_wanted = client->following;
    if (client->event_count > 0) { /* of several in a row only the last one tells anything */
        struct client_event *last = &client->events[(client->event_head + client->event_count - 1) % CLIENT_EVENTS_MAX];
        if (last->kind == CLIENT_EVENT_ONLINE || last->kind == CLIENT_EVENT_OFFLINE) {
            last->kind = kind;
            return;
        }
    }
    stream_queue(client, (struct client_event){.kind = kind});
}

static void copy_epoch(char to[CLIENT_EPOCH_MAX + 1], const char *epoch) { snprintf(to, CLIENT_EPOCH_MAX + 1, "%s", epoch); }

/* The newest there is, which may be less than it was: a restored server. */
void client_stream_on_auth(struct client *client, uint64_t sync_key, const char *stream_epoch)
{
    client->newest_key = sync_key;
    copy_epoch(client->newest_epoch, stream_epoch);
    if (client->following && client->newest_key != client->sync_key) client->sync_wanted = true;
}

static void stream_on_newest(struct client *client, uint64_t sync_key)
{
    if (sync_key > client->newest_key) client->newest_key = sync_key;
    if (client->following && client->newest_key > client->sync_key) client->sync_wanted = true;
}

/* True when `event` is the next one of the stream. */
static bool stream_is_next(struct client *client, uint64_t sync_key)
{
    if (!client->following) return false; /* newest_key stays what it was at login: where `from now` begins */
    if (sync_key > client->newest_key) client->newest_key = sync_key;
    if (sync_key <= client->sync_key) return false;
    if (!client->syncing && !client->sync_wanted && sync_key == client->sync_key + 1) {
        client->sync_key = sync_key;
        return true;
    }
    client->sync_wanted = true;
    return false;
}

void client_stream_on_push(struct client *client, Ringpost__V1__Push *push)
{
    bool wanted = client->following;
    if (push->kind_case == RINGPOST__V1__PUSH__KIND_EVENT) {
        wanted = stream_is_next(client, push->event->sync_key);
    } else if (push->kind_case == RINGPOST__V1__PUSH__KIND_BEHIND) {
        stream_on_newest(client, push->behind->sync_key);
        client->sync_wanted = client->following; /* even with nothing new: the server waits for it */
        wanted = false;
    } else if (push->kind_case == RINGPOST__V1__PUSH__KIND__NOT_SET) {
        wanted = false;
    }
    if (wanted)
        stream_queue(client, (struct client_event){.kind = CLIENT_EVENT_PUSH, .push = push});
    else
        ringpost__v1__push__free_unpacked(push, NULL);
}

/* ---- sync ---- */

/* Moves the event out of the response into a push of its own; NULL when there is no memory. */
static Ringpost__V1__Push *stream_push_of(Ringpost__V1__Event **event)
{
    Ringpost__V1__Push *push = malloc(sizeof *push); /* as protobuf-c allocates: free_unpacked() gives it back */
    if (push == NULL) return NULL;
    ringpost__v1__push__init(push);
    push->kind_case = RINGPOST__V1__PUSH__KIND_EVENT;
    push->event = *event;
    *event = NULL;
    return push;
}

static void stream_reset(struct client *client, const Ringpost__V1__SyncResponse *page)
{
    bool other = page->reset_reason == RINGPOST__V1__RESET_REASON__OTHER_STREAM;
    stream_queue(client, (struct client_event){.kind = CLIENT_EVENT_RESET, .other_stream = other});
    client->resets_queued++;
    client->sync_key = client->newest_key = page->sync_key;
}

static void stream_take_page(struct client *client, Ringpost__V1__SyncResponse *page)
{
    if (page->reset) stream_reset(client, page);
    copy_epoch(client->sync_epoch, page->stream_epoch);
    /* What is queued was given by then; but what stands before a reset, in another stream perhaps. */
    if (client->resets_queued == 0) copy_epoch(client->taken_epoch, page->stream_epoch);
    for (size_t i = 0; i < page->n_events && i < STREAM_PAGE_LENGTH; i++) {
        uint64_t sync_key = page->events[i]->sync_key;
        if (sync_key <= client->sync_key) continue;
        Ringpost__V1__Push *push = stream_push_of(&page->events[i]);
        if (push == NULL) return; /* asked again from where we are */
        client->sync_key = sync_key;
        stream_queue(client, (struct client_event){.kind = CLIENT_EVENT_PUSH, .push = push});
    }
    if (page->n_events <= STREAM_PAGE_LENGTH && page->sync_key > client->sync_key) client->sync_key = page->sync_key;
    if (page->n_heads > STREAM_HEADS_MAX) {
        stream_queue(client, (struct client_event){.kind = CLIENT_EVENT_RESET});
        client->resets_queued++;
    }
    for (size_t i = 0; i < page->n_heads && page->n_heads <= STREAM_HEADS_MAX; i++) {
        const Ringpost__V1__RoomHead *head = page->heads[i];
        stream_queue(client, (struct client_event){.kind = CLIENT_EVENT_HEAD, .head_room_id = head->room_id,
                                                   .head_seq = head->head_seq, .read_seq = head->read_seq});
    }
}

static void stream_on_sync(void *context, enum result result, const Ringpost__V1__Response *response)
{
    struct client *client = context;
    ASSERT(client->syncing);
    client->syncing = false;
    if (client->sync_stale) {
        client->sync_stale = false;
        return;
    }
    uint64_t key_before = client->sync_key;
    if (result == RESULT_OK && response->error == NULL && response->result_case == RINGPOST__V1__RESPONSE__RESULT_SYNC) {
        /* The response is ours alone until this returns: its events are moved out, not copied. */
        stream_take_page(client, response->sync);
        client->sync_wanted = response->sync->has_more || client->newest_key > client->sync_key;
    }
    /* No step forward, by whatever reason, must not become a loop without a pause. */
    if (client->sync_wanted && client->sync_key == key_before)
        client->sync_at_ns = after_ms(clock_monotonic_ns(), STREAM_SYNC_RETRY_MS);
}

static bool stream_may_sync(const struct client *client)
{
    return client->following && client->sync_wanted && !client->syncing && client->state == CLIENT_READY && client_stream_has_room(client);
}

void client_stream_turn(struct client *client, uint64_t now_ns)
{
    if (!stream_may_sync(client) || now_ns < client->sync_at_ns) return;
    Ringpost__V1__SyncRequest sync;
    ringpost__v1__sync_request__init(&sync);
    Ringpost__V1__Request request;
    ringpost__v1__request__init(&request);
    sync.sync_key = client->sync_key;
    sync.stream_epoch = client->sync_epoch;
    sync.limit = STREAM_PAGE_LENGTH;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_SYNC;
    request.sync = &sync;
    if (client_call(client, &request, 0, stream_on_sync, client) == RESULT_OK)
        client->syncing = true;
    else
        client->sync_at_ns = after_ms(now_ns, STREAM_SYNC_RETRY_MS);
}

uint64_t client_stream_due_ns(const struct client *client)
{
    return stream_may_sync(client) ? client->sync_at_ns : CLIENT_NEVER;
}

/* ---- the caller's side ---- */

void client_stream_drop_all(struct client *client)
{
    struct client_event event;
    while (client_next(client, &event)) client_event_release(&event);
}

void client_follow(struct client *client, uint64_t sync_key, const char *stream_epoch)
{
    client_stream_drop_all(client);
    client->following = client->sync_wanted = true;
    client->sync_stale = client->syncing;
    client->sync_key = client->taken_key = sync_key;
    copy_epoch(client->sync_epoch, stream_epoch);
    copy_epoch(client->taken_epoch, stream_epoch);
    client->sync_at_ns = 0;
}

bool client_next(struct client *client, struct client_event *event)
{
    if (client->event_count == 0) return false;
    *event = client->events[client->event_head];
    client->event_head = (client->event_head + 1) % CLIENT_EVENTS_MAX;
    client->event_count--;
    if (event->kind == CLIENT_EVENT_RESET && --client->resets_queued == 0) copy_epoch(client->taken_epoch, client->sync_epoch);
    if (event->kind == CLIENT_EVENT_PUSH && event->push->kind_case == RINGPOST__V1__PUSH__KIND_EVENT)
        client->taken_key = event->push->event->sync_key;
    /* Everything queued is taken: what came without entries (a reset, a page that moved only the key) counts too. */
    if (client->event_count == 0 && client->following) client->taken_key = client->sync_key;
    return true;
}

void client_event_release(struct client_event *event)
{
    if (event->push != NULL) ringpost__v1__push__free_unpacked(event->push, NULL);
    event->push = NULL;
}

uint64_t client_taken_key(const struct client *client)
{
    return client->taken_key;
}

const char *client_taken_epoch(const struct client *client)
{
    return client->taken_epoch;
}

uint64_t client_newest_key(const struct client *client)
{
    return client->newest_key;
}

const char *client_newest_epoch(const struct client *client)
{
    return client->newest_epoch;
}
