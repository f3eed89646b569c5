/* shard/domain/account/hashing.h - a request that waits for a password to be hashed, off the worker.
 * Owns:    the job, until its answer.  Thread: the shard's worker.  Depends: shard/domain/setup.h.  Start at: shard/domain/account/login.c */
#ifndef SHARD_ACCOUNT_HASHING_H
#define SHARD_ACCOUNT_HASHING_H

#include "shard/domain/setup.h"

struct password_job { /* argon2id off the worker; embedded in its owner, pinned until done */
    void (*done)(struct password_job *job); /* on the worker */
    struct shard *shard;
    uint16_t address_class;      /* whose share of the queue it takes: login_limit_class() */
    bool verify;                 /* false: make a hash of `password` */
    bool fits;                   /* verify: the answer */
    enum result result;          /* OK; BUSY and the like never reach done: submit refuses */
    char password[257];          /* NUL-terminated; wiped when done */
    char hash[128];
    struct password_job *next;
};

/* Off to argon2id; then(…) runs with the finished job when it is done. `verify_hash`: what the password is held against; NULL: it is hashed.
 * Refuses SERVER_BUSY by itself. */
void request_hash_password(struct shard *shard, struct request *request, const char *password, const char *verify_hash,
                           void (*then)(struct shard *shard, struct request *request, struct password_job *job));

#endif
