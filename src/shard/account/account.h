/* shard/account/account.h - the heavy part of a user: name, password hash, devices.
 * Thread:  the shard's worker (the user's home shard).  Depends: shard/machine.h.  Start at: shard/shard.h */
#ifndef SHARD_ACCOUNT_ACCOUNT_H
#define SHARD_ACCOUNT_ACCOUNT_H

#include "api/name.h"
#include "api/token.h"
#include "shard/machine.h"

struct request;
struct shard;

struct name { /* the directory: exists = taken */
    struct entity entity;
    uint64_t user_id;
};
extern const struct entity_type name_type;
static inline struct name *name_of(struct entity *e) { return CONTAINER_OF(e, struct name, entity); }

struct device {
    char device_id[TOKEN_DEVICE_MAX + 1];
    char platform[TOKEN_PLATFORM_MAX + 1];
    char *name; /* owned */
    uint64_t created_ms, last_seen_ms;
    uint64_t valid_after_s; /* tokens issued before are refused */
    uint64_t refresh_expires_ms;
    uint8_t refresh_hash[TOKEN_HASH_SIZE]; /* zeros: none */
    bool revoked;
};

struct account {
    struct entity entity;
    char *name, *display_name, *password_hash; /* owned */
    uint64_t created_ms;
    struct device *devices; /* owned array */
    uint32_t device_count;
};
extern const struct entity_type account_type;
static inline struct account *account_of(struct entity *e) { return CONTAINER_OF(e, struct account, entity); }

/* Shard and entity key of a user name, upper case read as lower case. Any bytes have a place; only valid names are ever put there. */
struct account_place {
    uint16_t shard;
    uint64_t hash_high, hash_low;
};
struct account_place account_place_of(struct slice name, uint16_t shard_count);
/* NULL when there is no such device. */
struct device *account_device(const struct account *account, struct slice device_id);
/* May a token of that device and that issue time still be used? NONE, DEVICE_REVOKED, USER_NOT_FOUND. A device never heard of is fine
 * (an app's backend minted the token), and so is a token made after its device was revoked: that is how one logs in again. */
enum error account_admits(const struct account *account, struct slice device_id, uint64_t issued_s);
void account_put_device(const struct account *account, const struct device *device, struct effects *effects);

/* Validation shared by doors and commands. */
/* A name that people see, of that field: cleaned into `out`. False: the request was refused. `required`: it may not be empty. */
bool account_clean_name(struct shard *shard, struct request *request, struct name_text *out, const char *field, const char *given,
                        bool required);
bool account_name_valid(struct slice name);      /* 1-32 of a-z 0-9 _ - . */
bool account_device_id_valid(struct slice id);   /* 1-64 of A-Z a-z 0-9 _ - . */
bool account_platform_valid(struct slice platform); /* 0-16 of the same */

#endif
