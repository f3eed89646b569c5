/* shard/engine/resend.c - posting again what another shard lacks: bundles that were posted are only in the store, and are read from its outbox.
 * Happy path: the pump finds that the next bundle is not in memory -> a job reads that one and what follows it -> they are supplied -> the
 * next pump posts them.
 * Limits: one job per peer, READ_BYTES_MAX of bundles in each, unless one is larger. What is acknowledged meanwhile is dropped.
 * Failure mode: a read that fails is tried again when the peer is asked again (stream.h); a damaged store ends the shard's service. */
#include "core/logger.h"
#include "shard/engine/memory.h"
#include "shard/engine/outbox.h"
#include "shard/engine/shard_internal.h"

#define READ_BYTES_MAX (256u << 10)

struct reading {
    struct store_job job;
    struct shard *shard;         /* of the worker; not while it runs */
    const struct domain *domain;
    uint16_t peer;
    uint64_t first;
    struct outbox_reader outbox; /* while it runs */
    struct writer bundles;       /* u64 first entry | u32 len | bundle, one after another */
    enum result result;
};

static bool take_row(void *context, struct slice key, struct slice value)
{
    struct reading *r = context;
    struct slice bundle;
    r->result = key.len == 17 ? outbox_read(&r->outbox, value, &bundle) : RESULT_CORRUPT;
    if (r->result != RESULT_OK) return false;
    writer_u64(&r->bundles, key_u64_at(key, 9));
    writer_bytes(&r->bundles, bundle);
    return r->bundles.len < READ_BYTES_MAX;
}

static void reading_run(struct store_job *job, struct store_view *view) /* storage thread */
{
    struct reading *r = CONTAINER_OF(job, struct reading, job);
    struct key from = key_two(KEY_OUTBOX, r->peer, r->first), until = key_after(KEY_OUTBOX, r->peer);
    outbox_reader_init(&r->outbox, r->domain, view);
    enum result result = store_scan(view, key_slice(&from), key_slice(&until), take_row, r);
    if (result != RESULT_OK) r->result = result;
    outbox_reader_deinit(&r->outbox);
}

static void reading_done(struct store_job *job)
{
    struct reading *r = CONTAINER_OF(job, struct reading, job);
    struct shard *s = r->shard;
    struct cursor c = cursor_of(writer_slice(&r->bundles));
    s->jobs_open--;
    if (r->result != RESULT_OK)
        LOG_ERROR("shard", "cannot read the outbox shard=%u peer=%u error=\"%s\"", s->options.machine.shard, r->peer, result_text(r->result));
    while (cursor_left(&c) > 0) {
        uint64_t first = cursor_u64(&c);
        stream_supply(s->machine->streams, r->peer, first, cursor_bytes(&c));
    }
    ASSERT(!c.bad);
    stream_end_reading(s->machine->streams, r->peer, r->result == RESULT_OK);
    writer_deinit(&r->bundles);
    free(r);
}

void resend_read(struct shard *s)
{
    for (uint16_t peer = 0; peer < s->options.machine.shard_count && !s->closing; peer++) {
        uint64_t first;
        if (!stream_begin_reading(s->machine->streams, peer, &first)) continue;
        struct reading *r = memory_alloc(sizeof *r);
        *r = (struct reading){.job = {.run = reading_run, .done = reading_done}, .shard = s, .domain = s->options.machine.domain, .peer = peer, .first = first};
        writer_init(&r->bundles, 0);
        s->jobs_open++;
        shard_submit(s, &r->job);
    }
}
