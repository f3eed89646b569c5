/* perf/users.h - the people of a benchmark: registered once per data directory, logged in with tokens minted here, as an app's
 * own backend would. Their ids are kept in a file of u64 so that every run of the generator finds the same people. */
#ifndef PERF_USERS_H
#define PERF_USERS_H

#include <stddef.h>
#include <stdint.h>

#define TOKEN_KEY_SIZE 32
#define TOKEN_TEXT_MAX 512

#define TOKEN_DEVICE   "bench" /* of everybody */

struct token_mint {
    uint8_t key[TOKEN_KEY_SIZE];
};
/* Reads DATA_DIR/keys/default. */
void token_mint_init(struct token_mint *mint, const char *data_dir);
/* A token for half an hour; returns its length. */
size_t token_mint_write(const struct token_mint *mint, uint64_t user_id, char text[TOKEN_TEXT_MAX]);

struct loop;
struct users {
    uint64_t *ids;
    uint32_t count;
    const char *path;
};
/* Loads the file, when there is one; `path` NULL: nobody is remembered. */
void users_init(struct users *users, const char *path);
void users_deinit(struct users *users);
/* Registers people until there are `count`; a plain broker's are just numbered. */
void users_need(struct users *users, struct loop *loop, uint32_t count);
/* Registers until there are `pairs` pairs of people who live on different shards, and returns the ids pair by pair; the caller frees. Which
 * shard that is stands in the upper 16 bits of the id. */
uint64_t *users_across(struct users *users, struct loop *loop, uint32_t pairs);

#endif
