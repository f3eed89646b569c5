/* shard/domain/account/hashing.c - see hashing.h. */
#include "shard/domain/account/hashing.h"
#include "core/check.h"
#include "shard/engine/memory.h"
#include <string.h>

struct hashing {
    struct password_job job;
    struct request *request;
    void (*then)(struct shard *, struct request *, struct password_job *);
};

static void hash_continue(struct shard *s, struct request *r, void *context)
{
    struct hashing *h = context;
    h->then(s, r, &h->job);
    free(h);
}

static void hash_done(struct password_job *job)
{
    struct hashing *h = CONTAINER_OF(job, struct hashing, job);
    request_job_end(job->shard, h->request, hash_continue, h);
}

void request_hash_password(struct shard *s, struct request *r, const char *password, const char *verify_hash,
                           void (*then)(struct shard *, struct request *, struct password_job *))
{
    struct hashing *h = memory_alloc(sizeof *h);
    h->request = r;
    h->then = then;
    h->job.done = hash_done;
    h->job.shard = s;
    h->job.address_class = r->letter->address_class;
    h->job.verify = verify_hash != NULL;
    size_t len = strlen(password);
    ASSERT(len < sizeof h->job.password);
    memcpy(h->job.password, password, len + 1);
    if (verify_hash != NULL) {
        ASSERT(strlen(verify_hash) < sizeof h->job.hash);
        memcpy(h->job.hash, verify_hash, strlen(verify_hash) + 1);
    }
    const struct domain_ports *ports = domain_ports(s);
    if (ports->hash_password(ports->context, &h->job) == RESULT_OK) {
        request_job_begin(s, r);
        return;
    }
    explicit_bzero(h, sizeof *h);
    free(h);
    request_refuse(s, r, ERROR_SERVER_BUSY);
}
