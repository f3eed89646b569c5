/* shard/domain/room/owner_read.c - see owner_read.h. */
#include "shard/domain/room/owner_read.h"
#include "shard/domain/letters.h"
#include "shard/domain/records.h"
#include "shard/domain/room/gate.h"
#include "shard/domain/room/rooms.h"
#include "shard/domain/room/timeline.h"
#include "shard/engine/ids.h"
#include "shard/engine/memory.h"
#include "shard/engine/reading.h"

#define NAME_SIZE        16u
#define MARK_SIZE        25u
#define ROW_COST         512u /* names and numbers of one row as JSON */
#define OWN_MESSAGES_MAX 256u /* that are looked at behind a read mark */

struct wanted_message {
    uint64_t room_id, seq;
    size_t at; /* in read->bytes */
    uint32_t len;
    bool there;
};
struct wanted_head {
    struct owner_head head;
    size_t last_at;
    uint32_t last_len;
};

struct owner_read {
    uint64_t user_id;
    uint16_t shard;
    bool last_messages;
    uint32_t message_count, message_capacity, head_count, head_capacity;
    struct wanted_message *messages; /* owned */
    struct wanted_head *heads;       /* owned */
    struct writer bytes;             /* of records, out of the cache and of answers */
    void *page;
    void (*free_page)(void *page);
};

/* ---- what is wanted ---- */

struct owner_read *owner_read_create(uint16_t shard, uint64_t user_id, bool last_messages)
{
    struct owner_read *read = memory_alloc(sizeof *read);
    read->shard = shard;
    read->user_id = user_id;
    read->last_messages = last_messages;
    writer_init(&read->bytes, 0);
    return read;
}

void owner_read_destroy(void *state)
{
    struct owner_read *read = state;
    if (read == NULL) return;
    if (read->page != NULL) read->free_page(read->page);
    writer_deinit(&read->bytes);
    free(read->messages);
    free(read->heads);
    free(read);
}

static uint32_t grown(uint32_t capacity) { return capacity == 0 ? 16 : capacity * 2; }

void owner_read_message(struct owner_read *read, uint64_t room_id, uint64_t seq)
{
    if (read->message_count == read->message_capacity) {
        read->message_capacity = grown(read->message_capacity);
        read->messages = memory_resize(read->messages, read->message_capacity * sizeof *read->messages);
    }
    read->messages[read->message_count++] = (struct wanted_message){.room_id = room_id, .seq = seq};
}

void owner_read_head(struct owner_read *read, const struct owner_head *mark)
{
    if (read->head_count == read->head_capacity) {
        read->head_capacity = grown(read->head_capacity);
        read->heads = memory_resize(read->heads, read->head_capacity * sizeof *read->heads);
    }
    read->heads[read->head_count++] = (struct wanted_head){.head = *mark};
}

void owner_read_set_page(struct owner_read *read, void *page, void (*free_page)(void *page))
{
    read->page = page;
    read->free_page = free_page;
}

void *owner_read_page(const struct owner_read *read) { return read->page; }

bool owner_read_is_empty(const struct owner_read *read) { return read->message_count == 0 && read->head_count == 0; }

bool owner_read_message_of(const struct owner_read *read, uint32_t index, struct owner_message *message)
{
    ASSERT(index < read->message_count);
    const struct wanted_message *wanted = &read->messages[index];
    *message = (struct owner_message){.room_id = wanted->room_id, .seq = wanted->seq};
    if (wanted->there) message->record = slice_of(read->bytes.data + wanted->at, wanted->len);
    return wanted->there;
}

uint32_t owner_read_head_count(const struct owner_read *read) { return read->head_count; }

bool owner_read_head_of(const struct owner_read *read, uint32_t index, struct owner_head *head)
{
    ASSERT(index < read->head_count);
    const struct wanted_head *wanted = &read->heads[index];
    *head = wanted->head;
    if (wanted->last_len > 0) head->last = slice_of(read->bytes.data + wanted->last_at, wanted->last_len);
    return wanted->head.answered;
}

/* ---- the question ---- */

static bool asks_message(const struct owner_read *read, uint32_t i, uint16_t shard)
{
    return !read->messages[i].there && id_partition(read->messages[i].room_id) == shard;
}

static bool asks_head(const struct owner_read *read, uint32_t i, uint16_t shard)
{
    return !read->heads[i].head.answered && id_partition(read->heads[i].head.room_id) == shard;
}

bool owner_read_ask(const struct owner_read *read, uint16_t shard, struct writer *question)
{
    struct writer names, marks;
    writer_init(&names, 0);
    writer_init(&marks, 0);
    for (uint32_t i = 0; i < read->message_count; i++) {
        if (!asks_message(read, i, shard)) continue;
        writer_u64(&names, read->messages[i].room_id);
        writer_u64(&names, read->messages[i].seq);
    }
    for (uint32_t i = 0; i < read->head_count; i++) {
        if (!asks_head(read, i, shard)) continue;
        const struct owner_head *head = &read->heads[i].head;
        writer_u64(&marks, head->room_id);
        writer_u64(&marks, head->read_seq);
        writer_u64(&marks, head->hidden_seq);
        writer_u8(&marks, head->large);
    }
    bool asks = names.len > 0 || marks.len > 0;
    struct rooms_question_record record = {
        .user_id = read->user_id, .last_messages = read->last_messages, .names = writer_slice(&names), .marks = writer_slice(&marks)};
    if (asks) rooms_question_record_write(question, &record);
    writer_deinit(&names);
    writer_deinit(&marks);
    return asks;
}

static void take_from_cache(struct owner_read *read, const struct body_cache *cache, struct metrics *metrics)
{
    uint64_t hits = 0;
    struct slice record;
    for (uint32_t i = 0; i < read->message_count; i++) {
        struct wanted_message *message = &read->messages[i];
        if (!body_cache_get(cache, message->room_id, message->seq, &record)) continue;
        message->at = read->bytes.len;
        message->len = record.len;
        message->there = true;
        writer_raw(&read->bytes, record.data, record.len);
        hits++;
    }
    metrics_add(&metrics->body_cache_hits, hits);
    metrics_add(&metrics->body_cache_misses, read->message_count - hits);
}

static bool on_answer(struct shard *shard, struct request *request, struct letter *letter)
{
    (void)shard;
    return owner_read_take(request->lookup, letter->from_shard, letter_payload(letter));
}

bool owner_read_begin(struct shard *shard, struct request *request, struct owner_read *read, void (*then)(struct shard *, struct request *))
{
    struct machine *machine = request_machine(shard);
    ASSERT(request->lookup == read && read->shard == machine->options.shard);
    take_from_cache(read, rooms_of(machine)->bodies, shard_metrics(shard));
    struct writer question;
    writer_init(&question, 0);
    uint64_t call = 0;
    bool all = true;
    for (uint16_t owner = 0; owner < machine->options.shard_count; owner++) {
        writer_reset(&question);
        if (!owner_read_ask(read, owner, &question)) continue;
        if (all) call = request_call_begin(shard, request, on_answer, then);
        all = false;
        if (call == 0) break;
        request_call_ask(shard, call, letter_make(LETTER_ASK_ROOMS, shard_number(shard), owner, NULL, writer_slice(&question)));
    }
    writer_deinit(&question);
    return all;
}

/* ---- the answer ---- */

static bool record_is(struct slice record, uint64_t seq)
{
    struct message_record message;
    struct cursor c = cursor_of(record);
    return message_record_read(&message, &c) && cursor_done(&c) && (seq == 0 || message.seq == seq);
}

static size_t keep(struct owner_read *read, struct slice record)
{
    size_t at = read->bytes.len;
    if (record.len > 0) writer_raw(&read->bytes, record.data, record.len);
    return at;
}

/* The next of those asked of that shard, which answers in their order. */
static bool take_messages(struct owner_read *read, uint16_t shard, struct slice messages)
{
    struct cursor c = cursor_of(messages);
    for (uint32_t i = 0; i < read->message_count && cursor_left(&c) > 0; i++) {
        if (!asks_message(read, i, shard)) continue;
        struct wanted_message *message = &read->messages[i];
        uint64_t room_id = cursor_u64(&c);
        struct slice record = cursor_bytes(&c);
        if (c.bad || room_id != message->room_id || !record_is(record, message->seq)) return false;
        message->len = record.len;
        message->at = keep(read, record);
        message->there = true;
    }
    return cursor_done(&c);
}

static bool take_heads(struct owner_read *read, uint16_t shard, struct slice heads)
{
    struct cursor c = cursor_of(heads);
    for (uint32_t i = 0; i < read->head_count && cursor_left(&c) > 0; i++) {
        if (!asks_head(read, i, shard)) continue;
        struct wanted_head *wanted = &read->heads[i];
        uint64_t room_id = cursor_u64(&c);
        wanted->head.head_seq = cursor_u64(&c);
        uint64_t read_seq = cursor_u64(&c);
        struct slice last = cursor_bytes(&c);
        bool good = !c.bad && room_id == wanted->head.room_id && read_seq >= wanted->head.read_seq;
        if (!good || (last.len > 0 && !record_is(last, wanted->head.head_seq))) return false;
        wanted->head.read_seq = read_seq;
        wanted->last_len = last.len;
        wanted->last_at = keep(read, last);
        wanted->head.answered = true;
    }
    return cursor_done(&c);
}

bool owner_read_take(struct owner_read *read, uint16_t shard, struct slice answer)
{
    struct rooms_answer_record record;
    struct cursor c = cursor_of(answer);
    if (!rooms_answer_record_read(&record, &c) || !cursor_done(&c)) return false;
    return take_messages(read, shard, record.messages) && take_heads(read, shard, record.heads) && !read->bytes.failed;
}

/* ---- the owner ---- */

struct reading {
    struct store_view *view;
    struct rooms_question_record question;
    uint64_t cost, cost_max;
    struct timeline_reader timelines;
    struct writer messages, heads, last, row;
};

/* At least one row is answered. */
static bool is_full(struct reading *r, uint32_t len)
{
    bool full = r->cost > 0 && r->cost + len + ROW_COST > r->cost_max;
    r->cost += len + ROW_COST;
    return full;
}

static enum result read_messages(struct reading *r)
{
    struct cursor c = cursor_of(r->question.names);
    enum result result = RESULT_OK;
    while (cursor_left(&c) > 0 && result == RESULT_OK) {
        uint64_t room_id = cursor_u64(&c), seq = cursor_u64(&c);
        struct slice record;
        result = timeline_reader_get(&r->timelines, room_id, seq, &record);
        if (result != RESULT_OK || is_full(r, record.len)) break;
        writer_u64(&r->messages, room_id);
        writer_bytes(&r->messages, record);
    }
    return result;
}

/* One's own message is read when all before it was (view.c); of a large room the home shard does not hear of each. */
static enum result skip_own(struct reading *r, uint64_t room_id, uint64_t head_seq, uint64_t *read_seq)
{
    enum result result = RESULT_OK;
    uint64_t until = head_seq - *read_seq < OWN_MESSAGES_MAX ? head_seq : *read_seq + OWN_MESSAGES_MAX;
    while (*read_seq < until) {
        struct slice record;
        struct message_record message;
        result = timeline_reader_get(&r->timelines, room_id, *read_seq + 1, &record);
        if (result != RESULT_OK) break;
        struct cursor c = cursor_of(record);
        if (!message_record_read(&message, &c)) return RESULT_CORRUPT;
        if (message.sender_id != r->question.user_id) break;
        ++*read_seq;
    }
    return result;
}

/* What the room hides from the member now: the one who asks may not have heard yet that the user left and came back, or that the room
 * has changed. */
static enum result read_hidden(struct reading *r, struct slice member_row, struct owner_head *head)
{
    struct member_record member;
    struct room_record room;
    if (!member_record_is(&member, member_row)) return RESULT_CORRUPT;
    struct key key = key_one(KEY_ROOM, head->room_id);
    bool found;
    enum result result = reading_get(r->view, &key, &r->row, &found);
    if (result != RESULT_OK || !found) return result;
    if (!room_record_is(&room, writer_slice(&r->row))) return RESULT_CORRUPT;
    uint64_t hidden_seq = gate_hidden_seq(room.since_join != 0, member.joined_seq);
    if (hidden_seq > head->hidden_seq) head->hidden_seq = hidden_seq;
    return RESULT_OK;
}

static enum result read_head(struct reading *r, struct owner_head *head)
{
    struct key member = key_two(KEY_MEMBER, head->room_id, r->question.user_id);
    bool found;
    enum result result = reading_get(r->view, &member, &r->row, &found);
    writer_reset(&r->last);
    if (result == RESULT_OK && found && r->question.last_messages != 0) result = read_hidden(r, writer_slice(&r->row), head);
    if (result != RESULT_OK || !found) return result;
    result = timeline_newest(r->view, head->room_id, r->question.last_messages != 0 ? &r->last : NULL, &head->head_seq);
    if (head->head_seq <= head->hidden_seq) writer_reset(&r->last);
    if (result == RESULT_OK && head->large && head->head_seq > head->read_seq) result = skip_own(r, head->room_id, head->head_seq, &head->read_seq);
    return result;
}

static enum result read_heads(struct reading *r)
{
    struct cursor c = cursor_of(r->question.marks);
    enum result result = RESULT_OK;
    while (cursor_left(&c) > 0 && result == RESULT_OK) {
        struct owner_head head = {.room_id = cursor_u64(&c)};
        head.read_seq = cursor_u64(&c);
        head.hidden_seq = cursor_u64(&c);
        head.large = cursor_u8(&c) != 0;
        result = read_head(r, &head);
        if (result != RESULT_OK || (r->question.last_messages != 0 && is_full(r, (uint32_t)r->last.len))) break;
        writer_u64(&r->heads, head.room_id);
        writer_u64(&r->heads, head.head_seq);
        writer_u64(&r->heads, head.read_seq);
        writer_bytes(&r->heads, writer_slice(&r->last));
    }
    return result;
}

static bool question_read(struct rooms_question_record *out, struct slice bytes)
{
    struct cursor c = cursor_of(bytes);
    return rooms_question_record_read(out, &c) && cursor_done(&c) && out->names.len % NAME_SIZE == 0 && out->marks.len % MARK_SIZE == 0;
}

enum result owner_read_rows(struct store_view *view, struct slice question, uint32_t cost_max, struct writer *answer)
{
    struct reading r = {.view = view, .cost_max = cost_max};
    if (!question_read(&r.question, question)) return RESULT_MALFORMED;
    struct writer *const writers[] = {&r.messages, &r.heads, &r.last, &r.row};
    for (size_t i = 0; i < COUNT_OF(writers); i++) writer_init(writers[i], 0);
    timeline_reader_init(&r.timelines, view);
    enum result result = read_messages(&r);
    if (result == RESULT_OK) result = read_heads(&r);
    struct rooms_answer_record record = {.messages = writer_slice(&r.messages), .heads = writer_slice(&r.heads)};
    if (result == RESULT_OK) rooms_answer_record_write(answer, &record);
    if (result == RESULT_OK && answer->failed) result = RESULT_NOMEM;
    timeline_reader_deinit(&r.timelines);
    for (size_t i = 0; i < COUNT_OF(writers); i++) writer_deinit(writers[i]);
    return result;
}

static void answer_read(struct read_job *job, struct store_view *view) /* storage thread */
{
    const struct slice *question = (const void *)job->params; /* in the request's letter */
    enum result result = owner_read_rows(view, *question, job->page_cost_max, &job->reply);
    if (result != RESULT_OK) job->error = ERROR_INTERNAL;
}

static void answer_send(struct shard *shard, struct request *request, struct read_job *job)
{
    struct letter *letter =
        letter_make(LETTER_TELL_ROOMS, shard_number(shard), request->letter->from_shard, NULL, writer_slice(&job->reply));
    letter->number = request->letter->number;
    request_end(shard, request);
    shard_post(shard, letter);
}

static void answer_run(struct shard *shard, struct request *request)
{
    struct slice question = letter_payload(request->letter);
    struct rooms_question_record record;
    if (!question_read(&record, question)) request_refuse_letter(shard, request);
    else request_read_then(shard, request, answer_read, &question, sizeof question, answer_send);
}

void owner_read_receive(struct shard *shard, struct letter *letter) { request_start(shard, letter, answer_run); }
