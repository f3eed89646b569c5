/* shard/domain/account/account.h - the heavy part of a user: name, password hash, devices.
 * Thread:  the shard's worker (the user's home shard).  Depends: shard/engine/machine.h.  Start at: shard/engine/shard.h */
#ifndef SHARD_ACCOUNT_ACCOUNT_H
#define SHARD_ACCOUNT_ACCOUNT_H

#include "api/name.h"
#include "api/token.h"
#include "shard/engine/letter.h"
#include "shard/domain/entities.h"
#include "shard/engine/machine.h"

struct request;
struct shard;

struct name { /* the directory: exists = taken */
    struct entity entity;
    uint64_t user_id;
};
extern const struct entity_type name_type;
static inline struct name *name_of(struct entity *e) { return ENTITY_CAST(struct name, ENTITY_NAME, e); }

struct device {
    char device_id[TOKEN_DEVICE_MAX + 1];
    char platform[TOKEN_PLATFORM_MAX + 1];
    char *name; /* owned */
    uint64_t created_ms, last_seen_ms;
    uint64_t generation;    /* of tokens that this server makes for it; those of another are refused */
    uint64_t valid_after_s; /* tokens of a backend that were issued before are refused */
    uint64_t refresh_expires_ms;
    uint8_t refresh_hash[TOKEN_HASH_SIZE]; /* zeros: none */
    uint64_t refresh_family;               /* 0: none, or of an older version */
    uint32_t refresh_number;
    uint64_t refreshed_ms;
    bool revoked;
    bool temporary; /* takes no place: there while it is connected */
    uint64_t row_hash; /* state_hash.h */
};

struct account {
    struct entity entity;
    char *name, *display_name, *password_hash; /* owned */
    uint64_t created_ms;
    struct device *devices; /* owned array */
    uint32_t device_count;
};
extern const struct entity_type account_type;
static inline struct account *account_of(struct entity *e) { return ENTITY_CAST(struct account, ENTITY_ACCOUNT, e); }

/* Shard and entity key of a user name, upper case read as lower case. Any bytes have a place; only valid names are ever put there. */
struct account_place {
    uint16_t shard;
    uint64_t hash_high, hash_low;
};
struct account_place account_place_of(struct slice name, uint16_t shard_count);
/* NULL when there is no such device. */
struct device *account_device(const struct account *account, struct slice device_id);
/* May the actor's token still be used? NONE, DEVICE_REVOKED, USER_NOT_FOUND. One that this server made counts for one generation of its
 * device, whatever the clocks said. One that an app's backend minted is judged by its time: a device never heard of is fine, and so is
 * a token issued after its device was revoked. */
enum error account_admits(const struct account *account, const struct actor_record *actor);
/* The door of everything an actor asks for, whose account is resident: `then` runs with NONE, at once or when the device was put on the
 * list because this is the first that is seen of it; or with why not. It must answer and end the request. */
void account_let_in(struct shard *shard, struct request *request, struct account *account,
                    void (*then)(struct shard *shard, struct request *request, enum error error));
/* Refuses what account_let_in() has not let in. */
void account_refuse_token(struct shard *shard, struct request *request, enum error error);
void account_put_device(const struct account *account, struct device *device, struct effects *effects);

/* Validation shared by doors and commands. */
bool account_name_valid(struct slice name);      /* 1-32 of a-z 0-9 _ - . */
bool account_device_id_valid(struct slice id);   /* 1-64 of A-Z a-z 0-9 _ - . */
bool account_platform_valid(struct slice platform); /* 0-16 of the same */

#endif
