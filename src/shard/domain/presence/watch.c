/* shard/domain/presence/watch.c - the watched side of watch.h, and the letters of both sides.
 * A `viewer` is one session of any shard as this shard knows it; it holds its `watchers`, one for each user or room it looks at. A
 * watcher is in two lists: its viewer's (to be replaced as a whole) and its target's (to be told). */
#include "shard/domain/presence/watch.h"
#include "shard/domain/areas.h"
#include "shard/domain/delivery/pushes.h"
#include "shard/domain/letters.h"
#include "shard/engine/memory.h"
#include "shard/domain/room/room.h"

#define WATCH_BUCKETS 8192

struct watched_room {
    struct watched_room *hash_next;
    uint64_t room_id;
    struct watcher *watchers; /* at least one */
};

struct watcher {
    struct watcher *next, **link;   /* of the same target */
    struct watcher *sibling;        /* of the same viewer */
    struct entity *seen_through;    /* pinned: the inbox looked at, or the membership that allows to look at the room */
    struct watched_room *room;      /* NULL: a user is looked at */
    uint64_t session_id, user_id;   /* who looks */
    uint32_t list_count;            /* in the first of a target's list: the list's length */
    uint16_t shard;                 /* of the session */
};

struct viewer {
    struct viewer *hash_next;
    uint64_t session_id;
    uint64_t call; /* of its newest WATCH: an older one that is still loading is void */
    struct watcher *watchers;
    uint16_t shard;
};

struct tally { /* one shard's letter while watchers are told */
    uint32_t count;
    uint8_t *at; /* where the next session id goes */
    struct letter *letter;
};

struct watch_table {
    struct viewer *viewers[WATCH_BUCKETS];
    struct watched_room *rooms[WATCH_BUCKETS];
    uint16_t shard_count;
    struct tally tallies[]; /* shard_count; all zero between calls */
};

static struct watch_table *watch_table_of(struct shard *shard) { return shard_machine(shard)->states[AREA_PRESENCE]; }

enum result watch_open(struct machine *machine, void **state)
{
    uint16_t shard_count = machine->options.shard_count;
    struct watch_table *table = calloc(1, sizeof *table + shard_count * sizeof(struct tally));
    *state = table;
    if (table == NULL) return RESULT_NOMEM;
    table->shard_count = shard_count;
    return RESULT_OK;
}

/* ---- viewers and watched rooms by their keys -------------------------------------------------------------------------- */

static uint32_t bucket_of(uint64_t a, uint64_t b)
{
    uint64_t mixed = (a ^ (b << 48)) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(mixed >> 32) % WATCH_BUCKETS;
}

static struct viewer **viewer_link(struct watch_table *table, uint16_t shard, uint64_t session_id)
{
    struct viewer **link = &table->viewers[bucket_of(session_id, shard)];
    while (*link != NULL && ((*link)->session_id != session_id || (*link)->shard != shard)) link = &(*link)->hash_next;
    return link;
}

static struct watched_room **room_link(struct watch_table *table, uint64_t room_id)
{
    struct watched_room **link = &table->rooms[bucket_of(room_id, 0)];
    while (*link != NULL && (*link)->room_id != room_id) link = &(*link)->hash_next;
    return link;
}

/* ---- watchers --------------------------------------------------------------------------------------------------------- */

static struct watcher **list_of(const struct watcher *watcher)
{
    return watcher->room != NULL ? &watcher->room->watchers : &inbox_of(watcher->seen_through)->watchers;
}

/* Frees the watcher that was made or left out of its viewer's list by the caller. */
static void watcher_remove(struct watch_table *table, struct machine *machine, struct watcher *watcher)
{
    struct watcher **list = list_of(watcher);
    uint32_t count = (*list)->list_count - 1;
    *watcher->link = watcher->next;
    if (watcher->next != NULL) watcher->next->link = watcher->link;
    if (*list != NULL) {
        (*list)->list_count = count;
    } else if (watcher->room != NULL) {
        ASSERT(count == 0);
        *room_link(table, watcher->room->room_id) = watcher->room->hash_next;
        free(watcher->room);
    }
    entity_unpin(machine->entities, &watcher->seen_through);
    free(watcher);
}

static void viewer_clear(struct watch_table *table, struct machine *machine, struct viewer *viewer)
{
    while (viewer->watchers != NULL) {
        struct watcher *watcher = viewer->watchers;
        viewer->watchers = watcher->sibling;
        watcher_remove(table, machine, watcher);
    }
}

static void viewer_remove(struct watch_table *table, struct machine *machine, struct viewer **link)
{
    struct viewer *viewer = *link;
    viewer_clear(table, machine, viewer);
    *link = viewer->hash_next;
    free(viewer);
}

void watch_close(struct machine *machine, void *state)
{
    struct watch_table *table = state;
    for (uint32_t i = 0; i < WATCH_BUCKETS; i++)
        while (table->viewers[i] != NULL) viewer_remove(table, machine, &table->viewers[i]);
    for (uint32_t i = 0; i < WATCH_BUCKETS; i++) ASSERT(table->rooms[i] == NULL);
    free(table);
}

/* `room` NULL: looks at the user whose inbox `seen_through` is. */
static void viewer_add(struct viewer *viewer, uint64_t user_id, struct watched_room *room, struct entity *seen_through)
{
    struct watcher *watcher = memory_alloc(sizeof *watcher);
    *watcher = (struct watcher){.sibling = viewer->watchers,
                                .seen_through = seen_through,
                                .room = room,
                                .session_id = viewer->session_id,
                                .user_id = user_id,
                                .shard = viewer->shard};
    viewer->watchers = watcher;
    entity_pin(seen_through);
    struct watcher **list = list_of(watcher);
    watcher->list_count = *list == NULL ? 1 : (*list)->list_count + 1;
    watcher->next = *list;
    watcher->link = list;
    if (watcher->next != NULL) watcher->next->link = &watcher->next;
    *list = watcher;
}

static bool has_place(const struct watcher *first) { return first == NULL || first->list_count < WATCHERS_MAX; }

static void viewer_add_room(struct watch_table *table, struct viewer *viewer, uint64_t user_id, struct entity *member)
{
    struct watched_room **link = room_link(table, member->key.a);
    if (*link == NULL) {
        *link = memory_alloc(sizeof **link);
        (*link)->room_id = member->key.a;
    }
    if (has_place((*link)->watchers)) viewer_add(viewer, user_id, *link, member);
}

/* ---- telling ---------------------------------------------------------------------------------------------------------- */

#define NOTIFY_OVERHEAD (sizeof(uint32_t) + sizeof(uint32_t)) /* count, field */

/* A member who left is still in the list of watchers until their session subscribes again. */
static bool may_see(const struct watcher *watcher, uint64_t except_user_id)
{
    return watcher->seen_through->exists && watcher->user_id != except_user_id;
}

static void tally_open(struct shard *shard, struct tally *tally, uint16_t to_shard, uint32_t field, struct slice packed)
{
    size_t ids_size = (size_t)tally->count * sizeof(uint64_t);
    tally->letter = letter_create(LETTER_NOTIFY, shard_number(shard), to_shard,
                                  (uint32_t)(ids_size + NOTIFY_OVERHEAD + packed.len));
    uint8_t *at = tally->letter->bytes;
    memcpy(at, &tally->count, sizeof tally->count);
    tally->at = at + sizeof tally->count;
    at = tally->at + ids_size;
    memcpy(at, &field, sizeof field);
    if (packed.len > 0) memcpy(at + sizeof field, packed.data, packed.len);
}

/* One letter to each shard with sessions that look, however many they are. */
static void watch_tell(struct shard *shard, const struct watcher *first, uint64_t except_user_id, uint32_t field,
                       struct slice packed)
{
    struct watch_table *table = watch_table_of(shard);
    const struct shard_ports *ports = shard_ports(shard);
    for (const struct watcher *w = first; w != NULL; w = w->next)
        if (may_see(w, except_user_id)) table->tallies[w->shard].count++;
    for (const struct watcher *w = first; w != NULL; w = w->next) {
        if (!may_see(w, except_user_id)) continue;
        struct tally *tally = &table->tallies[w->shard];
        if (tally->letter == NULL) tally_open(shard, tally, w->shard, field, packed);
        memcpy(tally->at, &w->session_id, sizeof w->session_id);
        tally->at += sizeof w->session_id;
    }
    for (uint16_t i = 0; i < table->shard_count; i++) {
        struct letter *letter = table->tallies[i].letter;
        table->tallies[i] = (struct tally){0};
        if (letter != NULL) ports->post(ports->context, letter);
    }
}

/* Packs the Presence of the inbox's user. */
static void presence_pack(const struct inbox *inbox, uint64_t last_seen_ms, struct writer *out)
{
    char *platforms[WATCH_PLATFORMS_MAX];
    uint32_t count = 0;
    for (struct session *s = inbox->sessions; s != NULL && count < WATCH_PLATFORMS_MAX; s = s->next) {
        bool is_known = session_platform(s)[0] == '\0';
        for (uint32_t i = 0; i < count && !is_known; i++) is_known = strcmp(platforms[i], session_platform(s)) == 0;
        if (!is_known) platforms[count++] = s->device_id + s->platform_at;
    }
    Ringpost__V1__Presence presence;
    ringpost__v1__presence__init(&presence);
    presence.user_id = inbox->entity.key.a;
    presence.online = inbox->sessions != NULL;
    presence.last_seen_ms = presence.online ? 0 : last_seen_ms;
    presence.platforms = platforms;
    presence.n_platforms = count;
    presence.display_name = inbox->display_name;
    envelope_pack(out, &presence.base);
}

static void presence_tell(struct shard *shard, const struct inbox *inbox, uint64_t last_seen_ms)
{
    if (inbox->watchers == NULL) return;
    struct writer packed;
    writer_init(&packed, 0);
    presence_pack(inbox, last_seen_ms, &packed);
    watch_tell(shard, inbox->watchers, 0, RINGPOST__V1__PUSH__KIND_PRESENCE, writer_slice(&packed));
    writer_deinit(&packed);
}

void presence_changed(struct shard *shard, struct inbox *inbox)
{
    presence_tell(shard, inbox, shard_now_ms(shard)); /* last_seen_ms is told before the log has it */
}

void watch_perform(struct shard *shard, const struct effects *effects)
{
    if ((effects->kinds >> PUSH_USER & 1) == 0) return;
    for (uint32_t i = 0; i < effects->count; i++) {
        if (effects->list[i].kind != PUSH_USER) continue;
        const struct inbox *inbox = inbox_of(effects->list[i].entity);
        presence_tell(shard, inbox, inbox->last_seen_ms);
    }
}

void watch_tell_typing(struct shard *shard, uint64_t room_id, uint64_t user_id, struct slice packed_notice)
{
    struct watched_room *room = *room_link(watch_table_of(shard), room_id);
    if (room != NULL) watch_tell(shard, room->watchers, user_id, RINGPOST__V1__PUSH__KIND_TYPING, packed_notice);
}

/* ---- WATCH ------------------------------------------------------------------------------------------------------------ */

static bool watch_read(const struct letter *letter, struct watch_record *watch)
{
    struct cursor cursor = cursor_of(letter_payload(letter));
    return watch_record_read(watch, &cursor) && cursor_done(&cursor) && watch->user_ids.len % sizeof(uint64_t) == 0 &&
           watch->room_ids.len % sizeof(uint64_t) == 0;
}

/* The next entity that the ids name; false after the last. *entity is NULL while it is being loaded. */
static bool next_user(struct shard *shard, struct request *request, struct cursor *ids, struct entity **entity)
{
    if (cursor_left(ids) == 0) return false;
    *entity = request_entity(shard, request, ENTITY_INBOX, cursor_u64(ids), 0);
    return true;
}

static bool next_member(struct shard *shard, struct request *request, const struct watch_record *watch, struct cursor *ids,
                        struct entity **entity)
{
    if (cursor_left(ids) == 0) return false;
    *entity = request_entity(shard, request, ENTITY_MEMBER, cursor_u64(ids), watch->user_id);
    return true;
}

/* Loads all that is looked at, then says whether it may be. */
static enum error watch_check(struct shard *shard, struct request *request, const struct watch_record *watch)
{
    struct entity *entity = NULL;
    struct cursor users = cursor_of(watch->user_ids), rooms = cursor_of(watch->room_ids);
    enum error error = ERROR_NONE;
    while (next_user(shard, request, &users, &entity)) continue;
    while (next_member(shard, request, watch, &rooms, &entity))
        if (entity != NULL && !entity->exists) error = ERROR_ROOM_NOT_FOUND;
    return error;
}

/* All resident. */
static void watch_install(struct shard *shard, struct request *request, const struct watch_record *watch)
{
    const struct letter *letter = request->letter;
    struct watch_table *table = watch_table_of(shard);
    struct viewer *viewer = *viewer_link(table, letter->from_shard, watch->session_id);
    if (viewer == NULL || viewer->call != letter->number) return; /* overtaken while it waited */
    viewer_clear(table, request_machine(shard), viewer);
    struct entity *entity = NULL;
    struct cursor users = cursor_of(watch->user_ids), rooms = cursor_of(watch->room_ids);
    while (next_user(shard, request, &users, &entity))
        if (entity->exists && has_place(inbox_of(entity)->watchers)) viewer_add(viewer, watch->user_id, NULL, entity);
    while (next_member(shard, request, watch, &rooms, &entity)) viewer_add_room(table, viewer, watch->user_id, entity);
}

static void watch_answer(struct shard *shard, struct request *request, const struct watch_record *watch, struct writer *out)
{
    struct writer packed;
    writer_init(&packed, 0);
    struct entity *entity = NULL;
    struct cursor users = cursor_of(watch->user_ids);
    while (next_user(shard, request, &users, &entity)) {
        if (!entity->exists) continue;
        writer_reset(&packed);
        presence_pack(inbox_of(entity), inbox_of(entity)->last_seen_ms, &packed);
        struct presence_record record = {.user_id = entity->key.a, .packed = writer_slice(&packed)};
        presence_record_write(out, &record);
    }
    writer_deinit(&packed);
}

static void watch_run(struct shard *shard, struct request *request)
{
    struct watch_record watch;
    bool read = watch_read(request->letter, &watch);
    ASSERT(read); /* on_watch() has looked */
    enum error error = watch_check(shard, request, &watch);
    if (request_waits(request)) return;
    struct writer answer;
    writer_init(&answer, 0);
    writer_u8(&answer, (uint8_t)error);
    if (error == ERROR_NONE) {
        if (watch.session_id != 0) watch_install(shard, request, &watch);
        watch_answer(shard, request, &watch, &answer);
    }
    struct letter *letter =
        letter_make(LETTER_WATCHED, shard_number(shard), request->letter->from_shard, NULL, writer_slice(&answer));
    letter->number = request->letter->number;
    shard_ports(shard)->post(shard_ports(shard)->context, letter);
    writer_deinit(&answer);
    request_end(shard, request);
}

/* ---- letters ---------------------------------------------------------------------------------------------------------- */

static void refuse_letter(struct shard *shard, struct letter *letter)
{
    shard_note_letter(shard, letter);
    letter_free(letter);
}

void watch_receive(struct shard *shard, struct letter *letter)
{
    struct watch_record watch;
    if (!watch_read(letter, &watch)) {
        refuse_letter(shard, letter);
        return;
    }
    if (watch.session_id != 0) {
        struct viewer **link = viewer_link(watch_table_of(shard), letter->from_shard, watch.session_id);
        if (*link == NULL) {
            *link = memory_alloc(sizeof **link);
            (*link)->session_id = watch.session_id;
            (*link)->shard = letter->from_shard;
        }
        if ((*link)->call < letter->number) (*link)->call = letter->number; /* else it is late */
    }
    request_start(shard, letter, watch_run);
}

void watch_receive_unwatch(struct shard *shard, struct letter *letter)
{
    struct watch_table *table = watch_table_of(shard);
    struct viewer **link = viewer_link(table, letter->from_shard, letter->number);
    struct cursor cursor = cursor_of(letter_payload(letter));
    uint64_t call = cursor_u64(&cursor);
    if (*link != NULL && (*link)->call <= call) viewer_remove(table, request_machine(shard), link);
    letter_free(letter);
}

static void post_unwatch(struct shard *shard, uint16_t to, uint64_t session_id, uint64_t call)
{
    struct letter *letter = letter_make(LETTER_UNWATCH, shard_number(shard), to, NULL, slice_of((const uint8_t *)&call, sizeof call));
    letter->number = session_id;
    shard_ports(shard)->post(shard_ports(shard)->context, letter);
}

static bool list_has(const struct watch_list *list, uint16_t shard)
{
    for (uint32_t i = 0; list != NULL && i < list->shard_count; i++)
        if (list->shards[i] == shard) return true;
    return false;
}

/* What sessions are shown as it came. */
static bool notice_is_good(struct shard *shard, const struct session_frame *frame)
{
    bool typing = frame->push_field == RINGPOST__V1__PUSH__KIND_TYPING;
    if (!typing && frame->push_field != RINGPOST__V1__PUSH__KIND_PRESENCE) return false;
    ProtobufCMessage *message = NULL;
    enum result result = envelope_unpack(
        shard_arena(shard), typing ? &ringpost__v1__typing_notice__descriptor : &ringpost__v1__presence__descriptor, frame->packed, &message);
    envelope_arena_reset(shard_arena(shard));
    return result == RESULT_OK;
}

void watch_receive_notify(struct shard *shard, struct letter *letter)
{
    struct cursor cursor = cursor_of(letter_payload(letter));
    uint32_t count = cursor_u32(&cursor);
    const uint8_t *first = cursor_take(&cursor, (size_t)count * sizeof(uint64_t));
    struct session_frame frame = {.push_field = cursor_u32(&cursor)};
    frame.packed = slice_of(cursor.at, cursor.bad ? 0 : cursor_left(&cursor));
    if (cursor.bad || (letter->foreign && !notice_is_good(shard, &frame))) {
        refuse_letter(shard, letter);
        return;
    }
    struct cursor ids = cursor_of(slice_of(first, count * (uint32_t)sizeof(uint64_t)));
    while (cursor_left(&ids) > 0) {
        uint64_t session_id = cursor_u64(&ids);
        struct session *session = session_find(shard, session_id);
        if (session != NULL && list_has(session->watching, letter->from_shard)) session_push_frame(session, &frame, true);
        else post_unwatch(shard, letter->from_shard, session_id, request_last_call(shard));
    }
    session_frame_done(&frame);
    letter_free(letter);
}

/* ---- the watching side ------------------------------------------------------------------------------------------------ */

void watch_list_replace(struct session *session, struct watch_list *next)
{
    struct watch_list *old = session->watching;
    for (uint32_t i = 0; old != NULL && i < old->shard_count; i++)
        if (!list_has(next, old->shards[i])) post_unwatch(session->shard, old->shards[i], session->id, old->call);
    free(old);
    session->watching = next;
}

void watch_forget(struct session *session)
{
    if (session->watching != NULL) watch_list_replace(session, NULL);
}
