/* tests/shard/shard_fixture.c - see shard_fixture.h. */
#include "shard/domain/domain.h"
#include "shard/shard_fixture.h"
#include "shard/domain/records.h"
#include "shard/engine/shard_internal.h"
#include <criterion/criterion.h>

struct shard_rig rig;

/* ---- the outside of the shards ---- */

static uint64_t port_now_ms(void *context)
{
    (void)context;
    uint64_t now_ms = rig.now_ms + (uint64_t)rig.clock_error_ms;
    rig.now_ms += rig.look_ms;
    return now_ms;
}

static uint64_t port_now_ns(void *context)
{
    (void)context;
    return rig.now_ms * 1000000;
}

static void port_random(void *context, void *out, size_t len)
{
    (void)context;
    memset(out, ++rig.random, len);
}

static void port_post(void *context, struct letter *letter)
{
    (void)context;
    letter->next = NULL;
    *rig.posted_last = letter;
    rig.posted_last = &letter->next;
}

static void port_reply(void *context, const struct letter *letter)
{
    (void)context;
    letter_free(rig.reply);
    rig.reply = letter_copy(letter);
    rig.reply_count++;
    rig.frames_before_reply = rig.frame_count;
}

static enum result port_hash(void *context, struct password_job *job)
{
    (void)context;
    if (rig.passwords_busy) return RESULT_BUSY;
    cr_assert_null(rig.hashing);
    rig.hashing = job;
    rig.hash_count++;
    return RESULT_OK;
}

static bool port_bind(void *context, const struct origin *origin, struct session *session)
{
    (void)context;
    (void)origin;
    if (rig.connection_gone) return false;
    rig.bound = session;
    return true;
}

static enum result port_send(void *context, struct session *session, struct slice head, struct buf *body, bool *above_soft)
{
    (void)context;
    *above_soft = rig.above_soft;
    if (rig.send_result != RESULT_OK) return rig.send_result;
    cr_assert_lt(rig.frame_count, RIG_FRAMES_MAX);
    struct rig_frame *frame = &rig.frames[rig.frame_count++];
    frame->session = session;
    writer_init(&frame->bytes, 0);
    writer_raw(&frame->bytes, head.data, head.len);
    writer_raw(&frame->bytes, body->data, body->len);
    return RESULT_OK;
}

static void port_end(void *context, struct session *session, uint16_t close_code, const char *reason)
{
    (void)context;
    (void)reason;
    rig.ended = session;
    rig.end_count++;
    rig.close_code = close_code;
}

/* ---- moving ---- */

static bool hash_password(void)
{
    struct password_job *job = rig.hashing;
    if (job == NULL || rig.passwords_held) return false;
    rig.hashing = NULL;
    struct slice password = slice_text(job->password);
    if (job->verify) job->fits = token_password_fits(job->hash, password);
    else job->result = token_password_hash(password, 1, 8192, job->hash);
    job->done(job);
    return true;
}

struct letter *rig_take_letter(void)
{
    struct letter *letter = rig.posted_first;
    if (letter == NULL) return NULL;
    rig.posted_first = letter->next;
    if (rig.posted_first == NULL) rig.posted_last = &rig.posted_first;
    letter->next = NULL;
    return letter;
}

bool rig_deliver(void)
{
    struct letter *letter = rig_take_letter();
    if (letter != NULL) shard_receive(rig.shards[letter->to_shard], letter);
    return letter != NULL;
}

static bool move_disk(uint16_t i)
{
    struct commitlog *log = shard_log(rig.shards[i]);
    bool maintains = log != NULL && commitlog_wants_maintenance(log);
    if (maintains) commitlog_maintain(log);
    return fake_disk_complete(rig.disks[i]) || maintains;
}

bool rig_turn(void)
{
    bool moved = hash_password();
    if (!rig.letters_held) moved = rig_deliver() || moved;
    for (uint16_t i = 0; i < rig.shard_count; i++) {
        if (rig.shards[i] == NULL) continue;
        if (!rig.stores_held) moved = fake_store_step(rig.stores[i]) || moved;
        shard_flush(rig.shards[i]);
        if (!rig.disks_held) moved = move_disk(i) || moved;
        if (!rig.stores_held) moved = !fake_store_idle(rig.stores[i]) || moved;
        moved = shard_apply(rig.shards[i], 64) > 0 || moved;
    }
    if (rig.posted_first != NULL && !rig.letters_held) moved = true;
    return moved;
}

/* What the tick of a shard that writes nothing else does. */
static bool acknowledge(void)
{
    bool any = false;
    for (uint16_t i = 0; i < rig.shard_count; i++) {
        if (rig.shards[i] == NULL || rig.disks_held || !stream_has_news(rig.shards[i]->machine->streams)) continue;
        acknowledge_log(rig.shards[i]);
        any |= !stream_has_news(rig.shards[i]->machine->streams);
    }
    return any;
}

void rig_pump(void)
{
    while (rig_turn() || acknowledge()) continue;
}

/* ---- life ---- */

void rig_begin(uint16_t shard_count)
{
    cr_assert_leq(shard_count, RIG_SHARDS_MAX);
    api_init();
    rig = (struct shard_rig){.shard_count = shard_count,
                             .machine = {.domain = ringpost_domain(),
                                         .shard_count = shard_count,
                                         .limits[LIMIT_LARGE_TOLD] = 1,
                                    .limits[LIMIT_ROOM_MEMBERS_MAX] = 10,
                                         .limits[LIMIT_FANOUT_THRESHOLD] = 5,
                                         .limits[LIMIT_INBOX_EVENTS_MAX] = 100,
                                         .limits[LIMIT_DEVICES_PER_USER_MAX] = 3,
                                         .limits[LIMIT_DEDUP_ENTRIES] = 4096,
                                         .limits[LIMIT_REPEAT_WINDOW_MS] = 600000,
                                         .limits[LIMIT_REPEATS_PER_SENDER] = 100,
                                         .entities_max = 1000,
                                         .outbox_entries_max = 100,
                                         .timers_resident_max = 4,
                                    .body_cache_bytes = 64u << 10},
                             .limits = {.requests_parked_max = 100,
                                        .follower_backlog_max = 1000,
                                        .store_backlog_max_bytes = 1 << 20,
                                        .page_cost_max = 128u << 10,
                                        .clock_skew_max_ms = 5000},
                             .setup = {.options = {.body_size_max_bytes = 65536,
                                                   .rooms_per_user_max = 10,
                                                   .sessions_per_user_max = 4,
                                                   .access_token_ttl_s = 600,
                                                   .refresh_token_ttl_s = 3600,
                                                   .token_leeway_s = 30,
                                                   .refresh_grace_ms = 60000},
                                       .ports = {.hash_password = port_hash,
                                                 .session_bind = port_bind,
                                                 .session_send = port_send,
                                                 .session_end = port_end}},
                             .pool_size_bytes = 1 << 20,
                             .log_pending_max_bytes = 1 << 20,
                             .now_ms = UINT64_C(1700000000500)};
    rig.posted_last = &rig.posted_first;
}

void rig_open_shard(uint16_t number)
{
    struct shard_options options = {
        .machine = rig.machine,
        .limits = rig.limits,
        .ports = {.now_ms = port_now_ms,
                  .now_ns = port_now_ns,
                  .random = port_random,
                  .post = port_post,
                  .reply = port_reply},
        .setup = &rig.setup,
        .disk = fake_disk_base(rig.disks[number]),
        .store = fake_store_base(rig.stores[number]),
        .store_applied_index = fake_store_applied(rig.stores[number]),
        .log_pending_max_bytes = (uint32_t)rig.log_pending_max_bytes,
        .pool = rig.pool,
        .metrics = &rig.metrics,
        .token_keys = rig.keys,
    };
    options.machine.shard = number;
    if (rig.change_ports != NULL) rig.change_ports(&options.ports);
    uint64_t replayed = 0;
    char text[256] = "";
    cr_assert_eq(shard_open(&rig.shards[number], &options, &replayed, text, sizeof text), RESULT_OK, "%s", text);
}

void rig_open(void)
{
    cr_assert_eq(buf_pool_create(&rig.pool, rig.pool_size_bytes), RESULT_OK);
    cr_assert_eq(token_keys_create(&rig.keys), RESULT_OK);
    cr_assert_eq(token_keys_add(rig.keys, "test", SLICE_TEXT("0123456789abcdef0123456789abcdef")), RESULT_OK);
    for (uint16_t i = 0; i < rig.shard_count; i++) {
        struct fake_disk_options disk = {
            .block_size_bytes = 4096, .segment_size_bytes = 1 << 20, .segments_max = rig.segments_max, .seed = 1};
        rig.disks[i] = fake_disk_create(&disk);
        rig.stores[i] = fake_store_create(1);
        rig_open_shard(i);
    }
}

static void close_sessions(struct shard *s)
{
    if (s == NULL) return;
    sessions_each(s, session_close);
    rig.bound = rig.ended = NULL;
}

void rig_close_shard(uint16_t number)
{
    close_sessions(rig.shards[number]);
    rig_pump();
    cr_expect(shard_idle(rig.shards[number]));
    shard_close(rig.shards[number]);
    rig.shards[number] = NULL;
}

void rig_close(void)
{
    rig.letters_held = rig.stores_held = rig.disks_held = rig.passwords_held = false;
    for (uint16_t i = 0; i < rig.shard_count; i++) close_sessions(rig.shards[i]);
    rig_pump();
    for (uint16_t i = 0; i < rig.shard_count; i++) {
        if (rig.shards[i] != NULL) rig_close_shard(i);
        fake_store_destroy(rig.stores[i]);
        fake_disk_destroy(rig.disks[i]);
    }
    rig_forget_frames();
    letter_free(rig.reply);
    token_keys_destroy(rig.keys);
    buf_pool_destroy(rig.pool);
}

/* ---- people and calls ---- */

uint64_t rig_add_user(uint16_t shard, const char *name)
{
    struct shard *s = rig.shards[shard];
    struct user_create_record record = {
        .name = slice_text(name), .display_name = slice_text(name), .password_hash = SLICE_TEXT("none")};
    uint64_t user_id = id_make(shard, ID_USER, shard_machine(s)->next_sequence[ID_USER]);
    struct writer bytes;
    writer_init(&bytes, 0);
    user_create_record_write(&bytes, &record);
    shard_propose_internal(s, COMMAND_USER_CREATE, 0, writer_slice(&bytes));
    writer_deinit(&bytes);
    rig_pump();
    cr_assert_eq(shard_machine(s)->next_sequence[ID_USER], (user_id & ID_SEQUENCE_MAX) + 1, "%s was not made", name);
    return user_id;
}

struct actor_record rig_actor(uint64_t user_id, const char *device_id)
{
    return (struct actor_record){.user_id = user_id,
                                 .issued_s = rig.now_ms / 1000,
                                 .expires_s = rig.now_ms / 1000 + rig.setup.options.access_token_ttl_s,
                                 .device_id = slice_text(device_id),
                                 .platform = SLICE_TEXT("test")};
}

void rig_know(uint64_t user_id, const char *device_id)
{
    Ringpost__V1__DevicesRequest in = RINGPOST__V1__DEVICES_REQUEST__INIT;
    struct actor_record actor = rig_actor(user_id, device_id);
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/account/devices", &in.base), ERROR_NONE);
    rig.reply_count = 0;
}

static void send_packed(const struct actor_record *actor, uint16_t shard, uint64_t session_id, const char *path,
                        struct slice packed)
{
    const struct method *method = method_by_path(ringpost_domain(), slice_text(path));
    cr_assert_not_null(method, "%s", path);
    uint16_t to = actor == NULL ? shard : id_partition(actor->user_id);
    bool is_auth = method->handle == handle_auth;
    if (session_id != 0 && !is_auth) {
        struct origin origin = {0};
        session_request(session_find(rig.shards[to], session_id), method, packed, &origin);
        return;
    }
    struct letter *letter = letter_make(LETTER_REQUEST, to, to, actor, packed);
    letter->method = method->number;
    letter->number = session_id;
    letter->admitted = actor == NULL || is_auth;
    shard_receive(rig.shards[to], letter);
}

void rig_send(const struct actor_record *actor, uint16_t shard, uint64_t session_id, const char *path,
              const ProtobufCMessage *message)
{
    struct writer packed;
    writer_init(&packed, 0);
    envelope_pack(&packed, message);
    send_packed(actor, shard, session_id, path, writer_slice(&packed));
    writer_deinit(&packed);
}

enum error rig_call_packed(const struct actor_record *actor, uint16_t shard, uint64_t session_id, const char *path,
                           struct slice packed)
{
    letter_free(rig.reply);
    rig.reply = NULL;
    rig.reply_count = 0;
    send_packed(actor, shard, session_id, path, packed);
    rig_pump();
    cr_expect_leq(rig.reply_count, 1, "answered once");
    return rig.reply == NULL ? ERROR_COUNT : (enum error)rig.reply->error;
}

enum error rig_call(const struct actor_record *actor, uint16_t shard, uint64_t session_id, const char *path,
                    const ProtobufCMessage *message)
{
    struct writer packed;
    writer_init(&packed, 0);
    envelope_pack(&packed, message);
    enum error error = rig_call_packed(actor, shard, session_id, path, writer_slice(&packed));
    writer_deinit(&packed);
    return error;
}

void *rig_replied(const ProtobufCMessageDescriptor *descriptor)
{
    cr_assert_not_null(rig.reply);
    cr_assert_eq(rig.reply->error, ERROR_NONE, "%s", error_row((enum error)rig.reply->error)->reason);
    struct slice payload = letter_payload(rig.reply);
    void *message = protobuf_c_message_unpack(descriptor, NULL, payload.len, payload.data);
    cr_assert_not_null(message);
    return message;
}

struct session *rig_come(uint64_t user_id, const char *device_id)
{
    Ringpost__V1__AuthRequest in = RINGPOST__V1__AUTH_REQUEST__INIT;
    struct actor_record actor = rig_actor(user_id, device_id);
    rig.bound = NULL;
    cr_assert_eq(rig_call(&actor, 0, 0, "/v1/account/auth", &in.base), ERROR_NONE);
    cr_assert_not_null(rig.bound);
    return rig.bound;
}

enum error rig_say(uint64_t from, uint64_t to, const char *client_msg_id, const char *text)
{
    Ringpost__V1__SendRequest in = RINGPOST__V1__SEND_REQUEST__INIT;
    char id[65], body[256];
    in.to_user_id = to;
    in.client_msg_id = strcpy(id, client_msg_id);
    in.body.len = strlen(text);
    in.body.data = memcpy(body, text, in.body.len);
    struct actor_record actor = rig_actor(from, "phone");
    return rig_call(&actor, 0, 0, "/v1/chat/send", &in.base);
}

/* ---- frames ---- */

Ringpost__V1__Envelope *rig_frame(uint32_t n)
{
    cr_assert_lt(n, rig.frame_count);
    const struct writer *bytes = &rig.frames[n].bytes;
    Ringpost__V1__Envelope *frame = ringpost__v1__envelope__unpack(NULL, bytes->len, bytes->data);
    cr_assert_not_null(frame);
    return frame;
}

void rig_forget_frames(void)
{
    for (uint32_t i = 0; i < rig.frame_count; i++) writer_deinit(&rig.frames[i].bytes);
    rig.frame_count = 0;
}
