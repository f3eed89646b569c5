/* tests/shard/machine_fixture.c - see machine_fixture.h. */
#include "shard/domain/domain.h"
#include "shard/machine_fixture.h"
#include "shard/domain/delivery/events.h"
#include "shard/engine/memory.h"
#include "shard/domain/room/timeline.h"
#include <criterion/criterion.h>

/* ---- the array that stands for the store ---- */

static int compare(struct slice a, struct slice b)
{
    uint32_t len = a.len < b.len ? a.len : b.len;
    int order = len == 0 ? 0 : memcmp(a.data, b.data, len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static struct slice row_key(const struct fixture_row *row)
{
    return slice_of(row->key, row->key_len);
}
static struct slice row_value(const struct fixture_row *row)
{
    return slice_of(row->value, row->value_len);
}

/* Index of the first row whose key is not before `key`. */
static uint32_t store_seek(const struct fixture_store *store, struct slice key)
{
    uint32_t low = 0, high = store->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (compare(row_key(&store->rows[middle]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool store_has(const struct fixture_store *store, uint32_t at, struct slice key)
{
    return at < store->count && slice_equal(row_key(&store->rows[at]), key);
}

static uint8_t *copy(struct slice bytes)
{
    uint8_t *data = memory_alloc(bytes.len + 1);
    if (bytes.len > 0) memcpy(data, bytes.data, bytes.len);
    return data;
}

static void row_free(struct fixture_row *row)
{
    free(row->key);
    free(row->value);
}

static void store_put(struct fixture_store *store, struct slice key, struct slice value)
{
    uint32_t at = store_seek(store, key);
    if (store_has(store, at, key)) {
        row_free(&store->rows[at]);
    } else {
        if (store->count == store->capacity) {
            store->capacity = store->capacity == 0 ? 64 : store->capacity * 2;
            store->rows = memory_resize(store->rows, store->capacity * sizeof *store->rows);
        }
        memmove(store->rows + at + 1, store->rows + at, (store->count - at) * sizeof *store->rows);
        store->count++;
    }
    store->rows[at] = (struct fixture_row){copy(key), copy(value), key.len, value.len};
}

static void store_delete(struct fixture_store *store, struct slice key)
{
    uint32_t at = store_seek(store, key);
    if (!store_has(store, at, key)) return;
    row_free(&store->rows[at]);
    store->count--;
    memmove(store->rows + at, store->rows + at + 1, (store->count - at) * sizeof *store->rows);
}

static void store_trim(struct fixture_store *store, struct slice until)
{
    uint32_t first = store_seek(store, slice_of(until.data, 9)), end = store_seek(store, until);
    for (uint32_t at = first; at < end; at++) row_free(&store->rows[at]);
    memmove(store->rows + first, store->rows + end, (store->count - end) * sizeof *store->rows);
    store->count -= end - first;
}

static void store_write_batch(struct fixture_store *store, struct slice operations)
{
    struct cursor c = cursor_of(operations);
    while (cursor_left(&c) > 0) {
        uint8_t operation = cursor_u8(&c);
        struct slice key = cursor_bytes(&c);
        if (operation == 1)
            store_put(store, key, cursor_bytes(&c));
        else if (operation == 2)
            store_delete(store, key);
        else
            store_trim(store, key);
        cr_assert(!c.bad && operation >= 1 && operation <= 3, "a batch that cannot be read");
    }
}

void fixture_write(struct fixture *fixture, struct slice operations) { store_write_batch(&fixture->store, operations); }

static enum result view_get(struct store_view *view, struct slice key, struct writer *value)
{
    const struct fixture_store *store = CONTAINER_OF(view, struct fixture_store, view);
    uint32_t at = store_seek(store, key);
    if (!store_has(store, at, key)) return RESULT_MISSING;
    if (value != NULL) writer_raw(value, store->rows[at].value, store->rows[at].value_len);
    return RESULT_OK;
}

static enum result view_scan(struct store_view *view, struct slice from, struct slice until,
                             bool (*each)(void *, struct slice, struct slice), void *context)
{
    const struct fixture_store *store = CONTAINER_OF(view, struct fixture_store, view);
    for (uint32_t at = store_seek(store, from); at < store->count; at++) {
        if (until.len > 0 && compare(row_key(&store->rows[at]), until) >= 0) break;
        if (!each(context, row_key(&store->rows[at]), row_value(&store->rows[at]))) break;
    }
    return RESULT_OK;
}

static enum result view_last(struct store_view *view, struct slice from, struct slice until, struct writer *key,
                             struct writer *value)
{
    const struct fixture_store *store = CONTAINER_OF(view, struct fixture_store, view);
    uint32_t at = until.len > 0 ? store_seek(store, until) : store->count;
    if (at == 0 || compare(row_key(&store->rows[at - 1]), from) < 0) return RESULT_MISSING;
    if (key != NULL) writer_raw(key, store->rows[at - 1].key, store->rows[at - 1].key_len);
    if (value != NULL) writer_raw(value, store->rows[at - 1].value, store->rows[at - 1].value_len);
    return RESULT_OK;
}

static const struct store_view_ops view_ops = {view_get, view_scan, view_last};

/* ---- life ---- */

struct machine_options fixture_options(uint16_t shard, uint16_t shard_count)
{
    return (struct machine_options){.domain = ringpost_domain(),
                                    .shard = shard,
                                    .shard_count = shard_count,
                                    .limits[LIMIT_LARGE_TOLD] = 1,
                                    .limits[LIMIT_ROOM_MEMBERS_MAX] = 500,
                                    .limits[LIMIT_FANOUT_THRESHOLD] = 100,
                                    .limits[LIMIT_INBOX_EVENTS_MAX] = 1000,
                                    .limits[LIMIT_DEVICES_PER_USER_MAX] = 8,
                                    .limits[LIMIT_DEDUP_ENTRIES] = DEDUP_CAPACITY_MIN,
                                    .limits[LIMIT_REPEAT_WINDOW_MS] = 600000,
                                    .limits[LIMIT_REPEATS_PER_SENDER] = 100,
                                    .entities_max = 10000,
                                    .outbox_entries_max = 1000,
                                    .timers_resident_max = 4,
                                    .body_cache_bytes = 64u << 10};
}

struct fixture *fixture_create(const struct machine_options *options)
{
    struct fixture *f = memory_alloc(sizeof *f);
    cr_assert_eq(machine_create(&f->machine, options, NULL), RESULT_OK);
    effects_init(&f->effects);
    writer_init(&f->log, 0);
    writer_init(&f->journal, 0);
    f->store.view.ops = &view_ops;
    f->now_ms = 1700000000000;
    return f;
}

void fixture_destroy(struct fixture *f)
{
    cr_assert_null(f->first, "commands were proposed and never applied");
    machine_destroy(f->machine);
    effects_deinit(&f->effects);
    writer_deinit(&f->log);
    writer_deinit(&f->journal);
    for (uint32_t i = 0; i < f->store.count; i++) row_free(&f->store.rows[i]);
    free(f->store.rows);
    free(f);
}

void fixture_put(struct fixture *f, const struct key *key, struct slice value)
{
    struct slice before;
    if (fixture_get(f, key, &before)) f->machine->hash.rows -= state_hash_row(key_slice(key), before);
    store_put(&f->store, key_slice(key), value);
    f->machine->hash.rows += state_hash_row(key_slice(key), value);
}

uint64_t fixture_add_user(struct fixture *f, const char *name)
{
    uint64_t user_id = id_make(f->machine->options.shard, ID_USER, 1000 + ++f->users);
    struct account_record account = {.name = slice_text(name),
                                     .display_name = slice_text(name),
                                     .password_hash = SLICE_TEXT("none"),
                                     .created_ms = f->now_ms};
    struct inbox_record inbox = {0};
    struct writer w;
    writer_init(&w, 0);
    account_record_write(&w, &account);
    struct key key = key_one(KEY_ACCOUNT, user_id);
    fixture_put(f, &key, writer_slice(&w));
    writer_reset(&w);
    inbox_record_write(&w, &inbox);
    key = key_one(KEY_INBOX, user_id);
    fixture_put(f, &key, writer_slice(&w));
    writer_deinit(&w);
    return user_id;
}

/* ---- commands ---- */

static struct command command_of(const struct fixture_command *p, uint64_t index)
{
    struct command command;
    cr_assert_eq(command_decode(&command, p->type, index, slice_of(p->body, p->len)), RESULT_OK);
    return command;
}

static void make_resident(struct fixture *f, const struct command *command, struct needs *needs)
{
    const struct command_row *row = domain_command(f->machine->options.domain, command->type);
    cr_assert_not_null(row);
    for (;;) {
        command_needs(row, needs, command);
        if (needs->missing_count == 0) return;
        cr_assert_eq(machine_load_missing(needs, &f->store.view), RESULT_OK);
    }
}

static enum error propose(struct fixture *f, uint16_t type, struct slice body)
{
    struct fixture_command *p = memory_alloc(sizeof *p + body.len);
    p->type = type;
    p->len = body.len;
    memcpy(p->body, body.data, body.len);
    needs_init(&p->needs, f->machine);
    struct command command = command_of(p, 0);
    make_resident(f, &command, &p->needs);
    enum error error = command_check(domain_command(f->machine->options.domain, type), f->machine, &command);
    if (error != ERROR_NONE) {
        needs_release(&p->needs);
        free(p);
        return error;
    }
    if (f->last != NULL)
        f->last->next = p;
    else
        f->first = p;
    f->last = p;
    return ERROR_NONE;
}

enum error fixture_propose(struct fixture *f, uint16_t type, uint64_t actor_id, struct slice record)
{
    struct command_record frame = {.time_ms = f->now_ms++, .actor_id = actor_id};
    struct writer body;
    writer_init(&body, 0);
    command_record_write(&body, &frame);
    writer_raw(&body, record.data, record.len);
    enum error error = propose(f, type, writer_slice(&body));
    writer_deinit(&body);
    return error;
}

enum error fixture_apply(struct fixture *f)
{
    struct fixture_command *p = f->first;
    cr_assert_not_null(p, "nothing was proposed");
    f->first = p->next;
    if (f->first == NULL) f->last = NULL;
    struct command command = command_of(p, f->machine->applied_index + 1);
    writer_u16(&f->log, p->type);
    writer_bytes(&f->log, slice_of(p->body, p->len));
    make_resident(f, &command, &p->needs); /* as the engine: an earlier command may have led to more */
    effects_begin(&f->effects, true);
    machine_apply(f->machine, &command, &f->effects);
    needs_release(&p->needs);
    free(p);
    return f->effects.error;
}

static void journal_add(struct writer *journal, struct slice operations)
{
    struct cursor c = cursor_of(operations);
    while (cursor_left(&c) > 0) {
        const uint8_t *start = c.at;
        uint8_t operation = cursor_u8(&c);
        cursor_bytes(&c);
        if (operation == 1) cursor_bytes(&c);
        if (operation != 3) writer_raw(journal, start, (size_t)(c.at - start));
    }
}

/* What was counted is what is there. */
static void check_rows(struct fixture *f)
{
    uint64_t rows;
    cr_assert_eq(state_hash_scan(f->machine->options.domain, &f->store.view, &rows), RESULT_OK);
    cr_expect_eq(f->machine->hash.rows, rows, "a row has changed, and the sum of the rows has not, or by something else");
}

void fixture_end_batch(struct fixture *f)
{
    writer_u16(&f->log, 0);
    machine_end_batch(f->machine, &f->effects);
    journal_add(&f->journal, writer_slice(&f->effects.puts));
    store_write_batch(&f->store, writer_slice(&f->effects.puts));
    writer_reset(&f->effects.puts);
    if (++f->batch_count < 64 || f->batch_count % 16 == 0) check_rows(f); /* it reads all there is */
    if (!f->forgetful) return;
    for (int i = 0; i < 16; i++) entity_table_trim(f->machine->entities); /* each call looks at a part */
}

enum error fixture_run(struct fixture *f, uint16_t type, uint64_t actor_id, struct slice record)
{
    cr_assert_null(f->first, "a batch is under way");
    enum error error = fixture_propose(f, type, actor_id, record);
    if (error != ERROR_NONE) return error;
    error = fixture_apply(f);
    fixture_end_batch(f);
    return error;
}

struct due_rows {
    const struct fixture *fixture;
    struct writer entries;
};

static bool take_due(void *context, struct timer_entry entry)
{
    struct due_rows *rows = context;
    if (!timer_is_due(rows->fixture->machine, entry, rows->fixture->now_ms)) return false;
    writer_u64(&rows->entries, entry.slot);
    writer_u64(&rows->entries, entry.id);
    return true;
}

void fixture_due(struct fixture *f)
{
    struct due_rows rows = {.fixture = f};
    const struct timer_entry ranges[] = {{0}, timer_entry_of(TIMER_CLOCK_MIN, 0, 0), {UINT64_MAX, UINT64_MAX}};
    writer_init(&rows.entries, 0);
    for (int i = 0; i < 2; i++) cr_assert_eq(timers_scan(&f->store.view, ranges[i], ranges[i + 1], take_due, &rows), RESULT_OK);
    if (rows.entries.len > 0) {
        struct due_record due = {.entries = writer_slice(&rows.entries)};
        cr_assert_eq(FIXTURE_RUN(f, 0, DUE, due, &due), ERROR_NONE);
    }
    writer_deinit(&rows.entries);
}

void *fixture_reply(struct fixture *f, const ProtobufCMessageDescriptor *descriptor)
{
    void *message = protobuf_c_message_unpack(descriptor, NULL, f->effects.reply.len, f->effects.reply.data);
    cr_assert_not_null(message, "the reply is no %s", descriptor->name);
    return message;
}

/* ---- looking ---- */

uint32_t fixture_effects(const struct fixture *f, uint32_t kind)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < f->effects.count; i++) count += f->effects.list[i].kind == kind;
    return count;
}


struct entity *fixture_entity(struct fixture *f, uint32_t kind, uint64_t a, uint64_t b)
{
    struct needs needs;
    needs_init(&needs, f->machine);
    struct entity *entity = needs_entity(&needs, kind, a, b);
    if (entity == NULL) {
        cr_assert_eq(machine_load_missing(&needs, &f->store.view), RESULT_OK);
        entity = needs_entity(&needs, kind, a, b);
    }
    needs_release(&needs);
    return entity;
}

bool fixture_get(const struct fixture *f, const struct key *key, struct slice *value)
{
    uint32_t at = store_seek(&f->store, key_slice(key));
    if (!store_has(&f->store, at, key_slice(key))) return false;
    *value = row_value(&f->store.rows[at]);
    return true;
}

uint32_t fixture_count(const struct fixture *f, uint8_t kind, uint64_t a)
{
    struct key from = key_one(kind, a), until = key_after(kind, a);
    return store_seek(&f->store, key_slice(&until)) - store_seek(&f->store, key_slice(&from));
}

static bool count_one(void *context, uint64_t number, struct slice record)
{
    uint32_t *count = context;
    (void)number, (void)record;
    ++*count;
    return true;
}

uint32_t fixture_messages(struct fixture *f, uint64_t room_id)
{
    uint32_t count = 0;
    cr_assert_eq(timeline_down(&f->store.view, room_id, UINT64_MAX, count_one, &count), RESULT_OK);
    return count;
}

uint32_t fixture_events(struct fixture *f, uint64_t user_id, uint64_t first_key)
{
    uint32_t count = 0;
    cr_assert_eq(events_scan(&f->store.view, user_id, first_key, count_one, &count), RESULT_OK);
    return count;
}

/* ---- again, and elsewhere ---- */

static void apply_batch(struct fixture *f)
{
    while (f->first != NULL) fixture_apply(f);
    fixture_end_batch(f);
}

void fixture_replay(const struct fixture *from, struct fixture *to, uint32_t batch_len)
{
    struct cursor c = cursor_of(writer_slice(&from->log));
    uint32_t waiting = 0;
    while (cursor_left(&c) > 0) {
        uint16_t type = cursor_u16(&c);
        if (type == 0 ? batch_len == 0 : batch_len > 0 && waiting == batch_len) {
            apply_batch(to);
            waiting = 0;
        }
        if (type == 0) continue;
        waiting++;
        /* A command that lost its race when it was applied must lose it again, not be refused here: no check before the
         * batch. */
        struct slice body = cursor_bytes(&c);
        struct fixture_command *p = memory_alloc(sizeof *p + body.len);
        p->type = type;
        p->len = body.len;
        memcpy(p->body, body.data, body.len);
        needs_init(&p->needs, to->machine);
        struct command command = command_of(p, 0);
        make_resident(to, &command, &p->needs);
        if (to->last != NULL)
            to->last->next = p;
        else
            to->first = p;
        to->last = p;
    }
    if (to->first != NULL) apply_batch(to);
    cr_assert(cursor_done(&c));
}

struct carried {
    struct fixture *const *shards;
    uint32_t entries;
};

static void carry(void *context, struct letter *letter)
{
    struct carried *carried = context;
    struct fixture *to = carried->shards[letter->to_shard];
    struct cursor c = cursor_of(letter_payload(letter));
    struct relay_record relay;
    cr_assert(relay_record_read(&relay, &c) && cursor_done(&c), "a stream letter that cannot be read");
    struct writer entries, record;
    writer_init(&entries, 0);
    writer_init(&record, 0);
    to->machine->carried = letter_payload(letter);
    cr_assert_eq(fixture_run(to, COMMAND_RELAY, 0, relay_kept(to->machine, letter_payload(letter), &entries, &record)), ERROR_NONE);
    to->machine->carried = SLICE_EMPTY;
    writer_deinit(&entries);
    writer_deinit(&record);
    carried->entries += relay.count;
    struct fixture *source = carried->shards[letter->from_shard];
    struct acknowledged_record has = {.peer = letter->to_shard, .index = relay.first + relay.count - 1};
    struct writer acks;
    writer_init(&acks, 0);
    acknowledged_record_write(&acks, &has);
    struct stream_ack_record ack = {.acks = writer_slice(&acks)};
    cr_assert_eq(FIXTURE_RUN(source, 0, STREAM_ACK, stream_ack, &ack), ERROR_NONE);
    writer_deinit(&acks);
    letter_free(letter);
}

void fixture_settle(struct fixture *const *shards, uint16_t count)
{
    struct carried carried = {.shards = shards};
    do {
        carried.entries = 0;
        for (uint16_t i = 0; i < count; i++) stream_pump(shards[i]->machine->streams, carry, &carried);
    } while (carried.entries > 0);
}
