/* tests/fuzz/seeds_main.c - runs a fuzzer without libFuzzer: `seeds-NAME DIRECTORY [ROUNDS]` gives it every file of the directory, then
 * ROUNDS changed copies of each. The changes come from a fixed seed, so two runs do the same.
 * The inputs run in a child and lie in memory it shares with its parent: whatever kills the child, the parent still has the bytes, and
 * writes them to NAME.crash beside the program. Prints `ok` or `not ok`, exits 0 or 1. */
#include "core/check.h"
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define INPUT_SIZE_MAX 65536
#define SEEDS_MAX      256
#define ROUNDS_DEFAULT 10000
#define CHANGES_MAX    4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

struct input {
    size_t size;
    uint8_t bytes[INPUT_SIZE_MAX];
};
static struct input seeds[SEEDS_MAX];
static uint32_t seed_count;
static struct input *shared; /* the input under way, for the parent */
static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint32_t random_below(size_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return limit == 0 ? 0 : (uint32_t)((random_state >> 16) % limit);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void read_seed(const char *directory, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "rb");
    ASSERT(file != NULL && seed_count < SEEDS_MAX);
    struct input *seed = &seeds[seed_count++];
    seed->size = fread(seed->bytes, 1, sizeof seed->bytes, file);
    fclose(file);
}

static bool read_seeds(const char *directory)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, is_visible, alphasort);
    for (int i = 0; i < count; i++) {
        read_seed(directory, entries[i]->d_name);
        free(entries[i]);
    }
    if (count >= 0) free(entries);
    return seed_count > 0;
}

/* The bytes from `at` move by `distance`; what falls off the end is lost. */
static void shift(struct input *input, size_t at, long distance)
{
    size_t size = (size_t)((long)input->size + distance);
    if (size > INPUT_SIZE_MAX) size = INPUT_SIZE_MAX;
    size_t target = (size_t)((long)at + distance);
    if (target < size) memmove(input->bytes + target, input->bytes + at, size - target);
    input->size = size;
}

static void change_byte(struct input *input)
{
    static const uint8_t telling[] = {0, 1, 0x7f, 0x80, 0xff, '"', '\\', '{', '}', '[', ',', ':', '=', '&', '.', '\r', '\n', ' '};
    if (input->size == 0) return;
    uint8_t *byte = &input->bytes[random_below(input->size)];
    switch (random_below(3)) {
    case 0: *byte = (uint8_t)(*byte ^ (1u << random_below(8))); break;
    case 1: *byte = telling[random_below(sizeof telling)]; break;
    default: *byte = (uint8_t)random_below(256); break;
    }
}

static void cut(struct input *input)
{
    size_t at = random_below(input->size), len = random_below(input->size - at) + 1u;
    if (input->size == 0) return;
    shift(input, at + len, -(long)len);
}

/* A piece of some seed, put in between. */
static void insert_piece(struct input *input)
{
    const struct input *from = &seeds[random_below(seed_count)];
    size_t start = random_below(from->size), len = random_below(from->size - start), at = random_below(input->size);
    if (input->size + len > INPUT_SIZE_MAX) return;
    shift(input, at, (long)len);
    memcpy(input->bytes + at, from->bytes + start, len);
}

static void change(struct input *input)
{
    for (uint32_t left = 1 + random_below(CHANGES_MAX); left > 0; left--) {
        switch (random_below(6)) {
        case 0: cut(input); break;
        case 1: insert_piece(input); break;
        case 2: input->size = random_below(input->size + 1); break;
        default: change_byte(input); break;
        }
    }
}

/* In memory of exactly its size, so that AddressSanitizer sees a read behind the end. */
static void try_input(void)
{
    uint8_t *copy = malloc(shared->size + (shared->size == 0));
    ASSERT(copy != NULL);
    memcpy(copy, shared->bytes, shared->size);
    LLVMFuzzerTestOneInput(copy, shared->size);
    free(copy);
}

static void run_all(uint32_t rounds)
{
    shared->size = 0;
    try_input();
    for (uint32_t i = 0; i < seed_count; i++) {
        *shared = seeds[i];
        try_input();
    }
    for (uint32_t round = 0; round < rounds; round++) {
        for (uint32_t i = 0; i < seed_count; i++) {
            shared->size = seeds[i].size;
            memcpy(shared->bytes, seeds[i].bytes, seeds[i].size);
            change(shared);
            try_input();
        }
    }
}

static void keep_crash(const char *program)
{
    char path[4096];
    snprintf(path, sizeof path, "%s.crash", program);
    FILE *file = fopen(path, "wb");
    ASSERT(file != NULL);
    fwrite(shared->bytes, 1, shared->size, file);
    fclose(file);
    printf("the input of %zu bytes is in %s\n", shared->size, path);
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/'), *name = slash == NULL ? argv[0] : slash + 1;
    uint32_t rounds = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : ROUNDS_DEFAULT;
    if (argc < 2 || !read_seeds(argv[1])) {
        printf("not ok %s: no seeds in %s\n", name, argc < 2 ? "(directory missing)" : argv[1]);
        return 1;
    }
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT(shared != MAP_FAILED);
    fflush(NULL);
    pid_t child = fork();
    ASSERT(child >= 0);
    if (child == 0) {
        if (LLVMFuzzerInitialize != NULL) LLVMFuzzerInitialize(&argc, &argv);
        run_all(rounds);
        exit(0); /* not _exit: the leak checker reports at exit */
    }
    int status;
    ASSERT(waitpid(child, &status, 0) == child);
    bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!ok) keep_crash(argv[0]);
    printf("%s %s: %u seeds, %u inputs\n", ok ? "ok" : "not ok", name, seed_count, 1 + seed_count * (rounds + 1));
    return ok ? 0 : 1;
}
