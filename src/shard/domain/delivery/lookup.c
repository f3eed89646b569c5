/* shard/domain/delivery/lookup.c - see lookup.h. Happy path: one letter to each shard that owns some of the ids -> answers -> the request runs
 * again and finds them. */
#include "shard/domain/delivery/lookup.h"
#include "shard/domain/delivery/inbox.h"
#include "shard/domain/letters.h"
#include "shard/engine/memory.h"


#define ANSWER_FIELDS(F) F(u64, user_id) F(u8, exists) F(u32, group_count) F(u32, unanswered_count) F(bytes, name) F(bytes, user_name)
RECORD(answer, ANSWER_FIELDS)

struct user_lookup {
    struct user_found *users; /* in the order asked */
    uint32_t count;
    struct letter *letters; /* kept: names are borrowed from them */
};

static void lookup_free(void *state)
{
    struct user_lookup *p = state;
    while (p->letters != NULL) {
        struct letter *l = p->letters;
        p->letters = l->next;
        letter_free(l);
    }
    free(p->users);
    free(p);
}

static bool lookup_on_answer(struct shard *s, struct request *r, struct letter *letter)
{
    (void)s;
    struct user_lookup *p = r->lookup;
    struct letter *kept = letter_make(letter->kind, letter->from_shard, letter->to_shard, NULL, letter_payload(letter));
    kept->next = p->letters;
    p->letters = kept;
    struct cursor c = cursor_of(letter_payload(kept));
    while (cursor_left(&c) > 0) {
        struct answer_record record;
        if (!answer_record_read(&record, &c)) return false;
        for (uint32_t i = 0; i < p->count; i++)
            if (p->users[i].user_id == record.user_id)
                p->users[i] = (struct user_found){record.user_id, record.exists != 0, record.group_count, record.unanswered_count,
                                                       record.name, record.user_name};
    }
    return true;
}

/* One letter to each shard that owns some of the ids. */
static void lookup_ask(struct shard *s, uint64_t call, const uint64_t *ids, uint32_t count)
{
    struct writer w;
    writer_init(&w, 0);
    for (uint16_t shard = 0; shard < shard_machine(s)->options.shard_count; shard++) {
        writer_reset(&w);
        for (uint32_t i = 0; i < count; i++)
            if (id_partition(ids[i]) == shard) writer_u64(&w, ids[i]);
        if (w.len == 0) continue;
        struct letter *letter = letter_make(LETTER_ASK_USERS, shard_number(s), shard, NULL, writer_slice(&w));
        request_call_ask(s, call, letter);
    }
    writer_deinit(&w);
}

/* Some id is of a shard here: else nobody exists. */
static bool some_may_exist(struct shard *s, const uint64_t *ids, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (id_partition(ids[i]) < shard_machine(s)->options.shard_count) return true;
    return false;
}

bool users_look_up(struct shard *s, struct request *r, const uint64_t *ids, uint32_t count, const struct user_found **found)
{
    struct user_lookup *lookup = r->lookup;
    if (lookup != NULL) {
        ASSERT(lookup->count == count);
        *found = lookup->users;
        return true;
    }
    lookup = memory_alloc(sizeof *lookup);
    lookup->users = memory_alloc((size_t)count * sizeof *lookup->users + 1);
    lookup->count = count;
    for (uint32_t i = 0; i < count; i++) lookup->users[i].user_id = ids[i];
    r->lookup = lookup;
    r->free_lookup = lookup_free;
    *found = lookup->users;
    if (!some_may_exist(s, ids, count)) return true;
    uint64_t call = request_call_begin(s, r, lookup_on_answer, request_run);
    if (call != 0) lookup_ask(s, call, ids, count);
    return false;
}

/* The asked shard. */
static void lookup_run(struct shard *s, struct request *r)
{
    struct slice ids = letter_payload(r->letter);
    if (ids.len % 8 != 0) {
        request_refuse_letter(s, r);
        return;
    }
    struct cursor c = cursor_of(ids);
    while (cursor_left(&c) > 0) request_entity(s, r, ENTITY_INBOX, cursor_u64(&c), 0);
    if (request_waits(r)) return;
    struct writer w;
    writer_init(&w, 0);
    c = cursor_of(ids);
    while (cursor_left(&c) > 0) {
        uint64_t id = cursor_u64(&c);
        const struct inbox *inbox = inbox_of(request_entity(s, r, ENTITY_INBOX, id, 0));
        struct answer_record record = {.user_id = id, .exists = inbox->entity.exists, .group_count = inbox_group_count(inbox),
                                       .unanswered_count = inbox->unanswered_count};
        if (inbox->entity.exists) {
            record.name = slice_text(inbox->display_name);
            record.user_name = slice_text(inbox->name);
        }
        answer_record_write(&w, &record);
    }
    struct letter *letter =
        letter_make(LETTER_TELL_USERS, shard_number(s), r->letter->from_shard, NULL, writer_slice(&w));
    letter->number = r->letter->number;
    writer_deinit(&w);
    request_end(s, r);
    shard_post(s, letter);
}

void lookup_receive(struct shard *s, struct letter *letter) { request_start(s, letter, lookup_run); }
