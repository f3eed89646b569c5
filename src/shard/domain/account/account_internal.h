/* shard/domain/account/account_internal.h - what the files of this folder share: changing devices, granting tokens.
 * Thread:  the shard's worker.    Depends: shard/domain/account/account.h, shard/engine/request.h.  Start at: shard/domain/account/account.h */
#ifndef SHARD_ACCOUNT_ACCOUNT_INTERNAL_H
#define SHARD_ACCOUNT_ACCOUNT_INTERNAL_H

#include "shard/domain/account/account.h"
#include "shard/domain/delivery/inbox.h"
#include "shard/domain/limits.h"
#include "shard/domain/methods.h"
#include "shard/engine/request.h"

/* ---- account.c; apply only ---- */

/* Tombstones are kept up to this multiple of devices_per_user_max records in all; temporary devices, up to as many beside them. */
#define ACCOUNT_RECORDS_PER_DEVICE 4

/* The device, made when there was none. Pointers to other devices of the account are stale afterwards. */
struct device *account_add_device(struct account *account, struct slice device_id, const struct command *command);
void account_rename_device(struct device *device, struct slice name);
/* Removes expired devices, then those revoked first, while the account holds more records than it may; and likewise those unseen for longest
 * of its temporary ones, which are counted by themselves: throw-away clients push out no tombstone. Never `kept_id`, which the command is
 * about. Pointers to devices are stale afterwards. */
void account_trim_devices(struct account *account, struct slice kept_id, uint32_t devices_max, uint64_t time_ms, struct effects *effects);
/* May it still get new tokens? Not when it is revoked, nor when the refresh token of its last login has expired: a browser whose data
 * was wiped never comes back under its old name, and must not use up a place for ever. */
bool account_device_active(const struct device *device, uint64_t time_ms);
uint32_t account_active_count(const struct account *account, uint64_t time_ms);
void account_put(struct account *account, struct effects *effects);
void account_fill_user(Ringpost__V1__User *out, uint64_t user_id, char *name, char *display_name);

/* ---- admit.c ---- */

/* The account's shard lets a request pass: known, not revoked, within the rates; then on to the owner of its subject. */
void admit_run(struct shard *shard, struct request *request);

/* ---- device.c ---- */

/* Apply: ends the device with every token of it and its sessions, and tells the user's stream. for_device_id: which one takes its place.
 * Account and inbox are resident. */
void account_end_device(struct machine *machine, struct account *account, struct device *device, struct slice for_device_id,
                        const struct command *command, struct effects *effects);

/* ---- place.c ---- */

/* For a device that is not on the account's list: *frees is the device that gives its place, empty when there is room or nobody to give one.
 * False: what it looks at is being loaded, and the handler returns. */
bool account_find_place(struct shard *shard, struct request *request, const struct account *account, struct slice device_id,
                        struct slice *frees);

void account_propose_revoke(struct shard *shard, struct request *request, uint64_t user_id, struct slice device_id,
                            void (*then)(struct shard *, struct request *, enum error));
/* The actor's token was refused: if its device was revoked by a clock that was ahead, tokens from now on are not. */
void account_correct_revocation(struct shard *shard, const struct account *account, const struct actor_record *actor);

/* ---- grant.c ---- */

/* The secrets of one login or refresh between its proposal and its answer: kept in request->state, because they must not stand in the
 * log; wiped when the request ends. */
struct grant {
    struct token_refresh refresh; /* what the refresh token says */
    uint64_t refresh_expires_ms;
    struct writer refresh_token; /* NUL-terminated */
    struct writer access_token;  /* NUL-terminated */
    uint64_t access_expires_ms;
    uint8_t refresh_hash[TOKEN_HASH_SIZE];
    bool temporary; /* the device gets no refresh token */
};
/* The refresh token that `refresh` describes, of a new family when it names none; request->state is the grant. */
struct grant *grant_make(struct shard *shard, struct request *request, const struct token_refresh *refresh);
/* Fills access_token, once the grant is durable. */
void grant_mint_access(struct shard *shard, struct grant *grant, const struct account *account);

#endif
