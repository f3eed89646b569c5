/* shard/domain/mqtt/will_ends.c - see will_ends.h.
 * Happy path: will_end_run: kept, proposed -> written: forgotten. Failure modes: refused, it stays kept, and will_ends_tick proposes it until it is
 * written or finds that there is no such will. It may be in the log twice then: the second time there is nothing that is held. */
#include "shard/domain/mqtt/will_ends.h"
#include "shard/domain/commands.h"
#include "shard/domain/mqtt/wills.h"
#include "shard/engine/memory.h"
#include "shard/engine/request.h"

#define BUCKETS 4096u /* a power of two; epochs are random */

struct will_ends {
    struct will_end *buckets[BUCKETS];
    uint32_t count;
    uint32_t next; /* bucket that the next tick begins with */
};

/* ---- the table -------------------------------------------------------------------------------------------------------- */

enum result will_ends_open(struct machine *machine, void **state)
{
    (void)machine;
    *state = memory_alloc(sizeof(struct will_ends));
    return RESULT_OK;
}

void will_ends_close(struct machine *machine, void *state)
{
    (void)machine;
    struct will_ends *ends = state;
    for (uint32_t i = 0; i < BUCKETS; i++) {
        while (ends->buckets[i] != NULL) will_ends_forget(ends, ends->buckets[i]->epoch);
    }
    ASSERT(ends->count == 0);
    free(ends);
}

static struct will_end **link_of(struct will_ends *ends, uint64_t epoch)
{
    struct will_end **link = &ends->buckets[epoch % BUCKETS];
    while (*link != NULL && (*link)->epoch != epoch) link = &(*link)->hash_next;
    return link;
}

bool will_ends_keep(struct will_ends *ends, const struct will_end *end)
{
    struct will_end **link = link_of(ends, end->epoch);
    if (*link != NULL) return true;
    if (ends->count == WILL_ENDS_MAX) return false;
    *link = memory_alloc(sizeof **link);
    **link = *end;
    (*link)->hash_next = NULL;
    ends->count++;
    return true;
}

const struct will_end *will_ends_find(const struct will_ends *ends, uint64_t epoch)
{
    const struct will_end *end = ends->buckets[epoch % BUCKETS];
    while (end != NULL && end->epoch != epoch) end = end->hash_next;
    return end;
}

void will_ends_forget(struct will_ends *ends, uint64_t epoch)
{
    struct will_end **link = link_of(ends, epoch), *end = *link;
    if (end == NULL) return;
    *link = end->hash_next;
    free(end);
    ends->count--;
}

uint32_t will_ends_count(const struct will_ends *ends) { return ends->count; }

/* ---- saying it, and again ------------------------------------------------------------------------------------------------ */

struct will_record will_end_record(const struct will_end *end)
{
    return (struct will_record){.state = end->word, .epoch = end->epoch, .expiry_s = end->expiry_s};
}

static uint64_t again_ms(const struct shard *shard) { return shard_now_ns(shard) / 1000000 + WILL_END_AGAIN_MS; }

static void written(struct shard *shard, struct request *request, enum error error)
{
    if (error != ERROR_NONE) {
        request_refuse(shard, request, error);
        return;
    }
    struct will_record in = RECORD_OF(will, letter_payload(request->letter));
    will_ends_forget(will_ends_of(shard_machine(shard)), in.epoch);
    request_reply_packed(shard, request, SLICE_EMPTY);
}

void will_end_run(struct shard *shard, struct request *request, const struct will_record *in)
{
    struct will_end end = {.user_id = request->actor.user_id,
                           .epoch = in->epoch,
                           .again_ms = again_ms(shard),
                           .expiry_s = in->expiry_s,
                           .word = in->state};
    (void)will_ends_keep(will_ends_of(shard_machine(shard)), &end);
    request_propose_then(shard, request, COMMAND_MQTT_WILL, letter_payload(request->letter), written);
}

/* The letter has the record. Refused, it ends, and its time comes again. */
static void again_run(struct shard *shard, struct request *request)
{
    struct entity *wills = request_entity(shard, request, ENTITY_WILLS, request->actor.user_id, 0);
    if (wills == NULL) return;
    struct will_record in = RECORD_OF(will, letter_payload(request->letter));
    if (wills_held(wills_of(wills), in.epoch) == NULL) written(shard, request, ERROR_NONE);
    else request_propose_then(shard, request, COMMAND_MQTT_WILL, letter_payload(request->letter), written);
}

static void say_again(struct shard *shard, const struct will_end *end)
{
    struct will_record record = will_end_record(end);
    struct actor_record actor = {.user_id = end->user_id};
    struct writer payload;
    writer_init(&payload, 0);
    will_record_write(&payload, &record);
    request_start(shard, letter_make(LETTER_OWN, shard_number(shard), shard_number(shard), &actor, writer_slice(&payload)), again_run);
    writer_deinit(&payload);
}

/* How many of the bucket were said. */
static uint32_t say_due(struct shard *shard, struct will_end *first)
{
    uint32_t said = 0;
    uint64_t now_ms = shard_now_ns(shard) / 1000000;
    for (struct will_end *end = first, *next; end != NULL; end = next) {
        next = end->hash_next; /* it may be forgotten at once, and no other one is */
        if (end->again_ms > now_ms) continue;
        end->again_ms = again_ms(shard);
        say_again(shard, end);
        said++;
    }
    return said;
}

void will_ends_tick(struct shard *shard)
{
    struct will_ends *ends = will_ends_of(shard_machine(shard));
    uint32_t said = 0;
    for (uint32_t i = 0; i < BUCKETS && said < WILL_ENDS_AT_ONCE && ends->count > 0; i++)
        said += say_due(shard, ends->buckets[ends->next++ % BUCKETS]);
}
