/* shard/domain/delivery/names.c - see names.h. The owner of a user reads the name from the store, where everything applied is: users who are
 * not here need not be loaded for a list. */
#include "shard/domain/delivery/names.h"
#include "api/name.h"
#include "api/wire.h"
#include "shard/domain/letters.h"
#include "shard/domain/records.h"
#include "shard/engine/memory.h"
#include "shard/engine/reading.h"

struct named {
    uint64_t user_id;
    uint32_t start, len; /* in `told`; len 0: not told */
};

struct names { /* request->state */
    struct names_place place;
    struct writer page, told;
    struct named *users; /* owned; by user id, none twice */
    uint32_t count;
};

static void names_free(void *state)
{
    struct names *names = state;
    writer_deinit(&names->page);
    writer_deinit(&names->told);
    free(names->users);
    free(names);
}

static int by_user(const void *a, const void *b)
{
    uint64_t x = ((const struct named *)a)->user_id, y = ((const struct named *)b)->user_id;
    return (x > y) - (x < y);
}

static struct named *find(const struct names *names, uint64_t user_id)
{
    return bsearch(&(struct named){.user_id = user_id}, names->users, names->count, sizeof *names->users, by_user);
}

/* ---- the page: our own bytes ---- */

static void add_user_of(struct names *names, struct slice person)
{
    struct cursor c = cursor_of(person);
    struct wire_field field = {0};
    while (wire_next(&c, &field) && field.number < names->place.user_id) {}
    if (field.number != names->place.user_id) return; /* of nobody: a group among conversations */
    ASSERT(names->count < NAMES_MAX);
    names->users[names->count++] = (struct named){.user_id = field.value};
}

static void read_users(struct names *names)
{
    struct cursor c = cursor_of(writer_slice(&names->page));
    struct wire_field field;
    names->users = memory_alloc(NAMES_MAX * sizeof *names->users);
    while (wire_next(&c, &field))
        if (field.number == names->place.list) add_user_of(names, field.bytes);
    qsort(names->users, names->count, sizeof *names->users, by_user);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < names->count; i++)
        if (kept == 0 || names->users[kept - 1].user_id != names->users[i].user_id) names->users[kept++] = names->users[i];
    names->count = kept;
}

/* The fields of `person`, with the name that was told in the place of the one that is there. */
static void write_person(const struct names *names, struct slice person, struct writer *out)
{
    struct cursor c = cursor_of(person);
    struct wire_field field;
    const struct named *user = NULL;
    for (const uint8_t *start = c.at; wire_next(&c, &field); start = c.at) {
        if (field.number == names->place.user_id) user = find(names, field.value);
        if (field.number == names->place.name && user != NULL && user->len > 0)
            wire_write_bytes(out, field.number, slice_of(names->told.data + user->start, user->len));
        else
            writer_raw(out, start, (size_t)(c.at - start));
    }
}

static void reply(struct shard *shard, struct request *request)
{
    const struct names *names = request->state;
    struct writer out;
    writer_init(&out, 0);
    struct cursor c = cursor_of(writer_slice(&names->page));
    struct wire_field field;
    for (const uint8_t *start = c.at; wire_next(&c, &field); start = c.at) {
        if (field.number != names->place.list) {
            writer_raw(&out, start, (size_t)(c.at - start));
            continue;
        }
        size_t person = wire_message_begin(&out, field.number);
        write_person(names, field.bytes, &out);
        wire_nest_end(&out, person);
    }
    ASSERT(!c.bad);
    if (out.failed) request_refuse(shard, request, ERROR_SERVER_BUSY);
    else request_reply_packed(shard, request, writer_slice(&out));
    writer_deinit(&out);
}

/* ---- asking ---- */

static bool take_answer(struct shard *shard, struct request *request, struct letter *letter)
{
    (void)shard;
    struct names *names = request->state;
    struct cursor c = cursor_of(letter_payload(letter));
    struct person_record person;
    while (cursor_left(&c) > 0) {
        if (!person_record_read(&person, &c)) return false;
        struct named *user = find(names, person.user_id);
        if (user == NULL || id_partition(person.user_id) != letter->from_shard || person.name.len > NAME_SIZE_MAX) return false;
        user->start = (uint32_t)names->told.len;
        user->len = person.name.len;
        writer_raw(&names->told, person.name.data, person.name.len);
    }
    return true;
}

static void ask(struct shard *shard, const struct names *names, uint64_t call)
{
    struct writer ids;
    writer_init(&ids, 0);
    for (uint32_t i = 0; i < names->count; i++) { /* those of one shard stand together */
        uint64_t user_id = names->users[i].user_id;
        writer_u64(&ids, user_id);
        if (i + 1 < names->count && id_partition(names->users[i + 1].user_id) == id_partition(user_id)) continue;
        request_call_ask(shard, call, letter_make(LETTER_ASK_NAMES, shard_number(shard), id_partition(user_id), NULL, writer_slice(&ids)));
        writer_reset(&ids);
    }
    writer_deinit(&ids);
}

void names_reply(struct shard *shard, struct request *request, struct slice page, const struct names_place *place)
{
    ASSERT(request->state == NULL);
    struct names *names = memory_alloc(sizeof *names);
    names->place = *place;
    writer_init(&names->page, 0);
    writer_init(&names->told, 0);
    writer_raw(&names->page, page.data, page.len);
    read_users(names);
    request->state = names;
    request->free_state = names_free;
    if (names->count == 0) {
        reply(shard, request);
        return;
    }
    uint64_t call = request_call_begin(shard, request, take_answer, reply);
    if (call == 0) return;
    request_call_forgive(shard, call);
    ask(shard, names, call);
}

/* ---- the owner's side ---- */

static void read_names(struct read_job *job, struct store_view *view) /* storage thread */
{
    const struct slice *ids = (const void *)job->params; /* in the request's letter */
    struct cursor c = cursor_of(*ids);
    struct writer value;
    writer_init(&value, 0);
    while (cursor_left(&c) > 0 && job->error == ERROR_NONE) {
        struct person_record person = {.user_id = cursor_u64(&c)};
        struct key key = key_one(KEY_ACCOUNT, person.user_id);
        struct account_record account;
        bool found;
        enum result result = reading_get(view, &key, &value, &found);
        if (result != RESULT_OK || (found && !account_record_is(&account, writer_slice(&value)))) job->error = ERROR_INTERNAL;
        if (!found || job->error != ERROR_NONE) continue;
        person.name = account.display_name;
        person_record_write(&job->reply, &person);
    }
    writer_deinit(&value);
}

static void tell(struct shard *shard, struct request *request, struct read_job *job)
{
    struct letter *letter = letter_make(LETTER_TELL_NAMES, shard_number(shard), request->letter->from_shard, NULL, writer_slice(&job->reply));
    letter->number = request->letter->number;
    request_end(shard, request);
    shard_post(shard, letter);
}

static void names_run(struct shard *shard, struct request *request)
{
    struct slice ids = letter_payload(request->letter);
    if (ids.len % sizeof(uint64_t) != 0 || ids.len > NAMES_MAX * sizeof(uint64_t)) request_refuse_letter(shard, request);
    else request_read_then(shard, request, read_names, &ids, sizeof ids, tell);
}

void names_receive(struct shard *shard, struct letter *letter) { request_start(shard, letter, names_run); }
