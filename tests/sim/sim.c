/* tests/sim/sim.c - the program: runs seeds, compares hashes, and shows that planted bugs are noticed.
 *
 *   sim --seeds 1..200 [--steps N]       every seed one world; `ok sim seeds 1..200 trace=HASH`
 *   sim --seed 7 --trace                 one world, told step by step
 *   sim --seeds 1..20 --check-determinism  every seed twice: the same hash
 *   sim --bugs [NAME] --seeds 1..100     each planted bug: `ok planted NAME caught by seed N`, and the words it was caught with
 * A seed that fails ends the program with how to see it again. */
#include "api/api.h"
#include "core/logger.h"
#include "sim/guests.h"
#include "sim/oracle.h"
#include "sim/people.h"
#include "sim/place.h"
#include "sim/world.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STEPS_DEFAULT 30000
#define WORDS_MAX 1024

struct arguments {
    uint64_t first, last;
    uint32_t steps;
    bool trace, check_determinism, bugs;
    const char *bug; /* NULL: all */
};

struct totals {
    uint64_t crashes, restarts, rests, answers, refusals, pushes, messages, at_doors;
};

static uint64_t run_seed(uint64_t seed, uint32_t steps, enum plant plant, struct totals *totals)
{
    report_begin(seed, plant == PLANT_none ? NULL : plant_name(plant));
    struct world *world = world_create(seed, plant);
    uint64_t hash = world_run(world, steps);
    totals->crashes += world->crashes;
    totals->restarts += world->restarts;
    totals->rests += world->rests;
    totals->answers += world->people->answers;
    totals->refusals += world->people->refusals;
    totals->pushes += world->people->pushes;
    for (uint32_t i = 0; i < world->oracle->attempt_count; i++) totals->messages += world->oracle->attempts[i].acked;
    totals->at_doors += guests_acked_count(world->guests);
    world_destroy(world);
    return hash;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int run_seeds(const struct arguments *arguments)
{
    struct totals totals = {0};
    uint64_t all = 0;
    double started = seconds();
    for (uint64_t seed = arguments->first; seed <= arguments->last; seed++) {
        uint64_t hash = run_seed(seed, arguments->steps, PLANT_none, &totals);
        if (arguments->check_determinism && run_seed(seed, arguments->steps, PLANT_none, &totals) != hash) {
            printf("not ok sim seed %lu is another world the second time\n", (unsigned long)seed);
            return 1;
        }
        all = all * 1099511628211ull + hash;
        if (arguments->trace) printf("# seed %lu trace=%016lx\n", (unsigned long)seed, (unsigned long)hash);
    }
    printf("# %lu crashes, %lu restarts in good order, %lu rests; %lu answers, %lu refusals, %lu messages acknowledged, %lu at doors, %lu pushes; %.1f s\n",
           (unsigned long)totals.crashes, (unsigned long)totals.restarts, (unsigned long)totals.rests, (unsigned long)totals.answers,
           (unsigned long)totals.refusals, (unsigned long)totals.messages, (unsigned long)totals.at_doors, (unsigned long)totals.pushes, seconds() - started);
    printf("ok sim seeds %lu..%lu trace=%016lx%s\n", (unsigned long)arguments->first, (unsigned long)arguments->last, (unsigned long)all,
           arguments->check_determinism ? " twice" : "");
    return 0;
}

/* ---- planted bugs ----------------------------------------------------------------------------------------------------- */

/* In a process of its own, because a caught bug ends it. What it said of the bug comes back in `words`. */
static bool is_caught(const struct arguments *arguments, enum plant plant, uint64_t seed, char words[WORDS_MAX])
{
    int ends[2];
    words[0] = '\0';
    fflush(stdout);
    if (pipe(ends) != 0) return false;
    pid_t child = fork();
    if (child == 0) {
        struct totals totals = {0};
        if (dup2(ends[1], STDOUT_FILENO) < 0 || freopen("/dev/null", "w", stderr) == NULL) _exit(2);
        run_seed(seed, arguments->steps, plant, &totals);
        _exit(0);
    }
    close(ends[1]);
    size_t len = 0;
    for (ssize_t got; len < WORDS_MAX - 1 && (got = read(ends[0], words + len, WORDS_MAX - 1 - len)) > 0;) len += (size_t)got;
    words[len] = '\0';
    close(ends[0]);
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) return false;
    place_remove_of(child);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

static int run_bugs(const struct arguments *arguments)
{
    int failed = 0;
    for (enum plant plant = PLANT_none + 1; plant < PLANT_COUNT; plant++) {
        const char *name = plant_name(plant);
        if (arguments->bug != NULL && strcmp(arguments->bug, name) != 0) continue;
        char words[WORDS_MAX];
        uint64_t seed = arguments->first;
        while (seed <= arguments->last && !is_caught(arguments, plant, seed, words)) seed++;
        if (seed <= arguments->last) {
            printf("ok planted %s caught by seed %lu\n# %s", name, (unsigned long)seed, words);
        } else {
            printf("not ok planted %s is not caught by seeds %lu..%lu\n", name, (unsigned long)arguments->first,
                   (unsigned long)arguments->last);
            failed = 1;
        }
    }
    return failed;
}

/* ---- arguments -------------------------------------------------------------------------------------------------------- */

static int usage(void)
{
    fputs("usage: sim --seed N | --seeds A..B [--steps N] [--trace] [--check-determinism] [--bugs [NAME]]\n", stderr);
    return 64;
}

static bool parse_seeds(struct arguments *arguments, const char *text)
{
    char *end;
    arguments->first = arguments->last = strtoull(text, &end, 10);
    if (strncmp(end, "..", 2) == 0) arguments->last = strtoull(end + 2, &end, 10);
    return *text != '\0' && *end == '\0' && arguments->first <= arguments->last;
}

static bool parse(struct arguments *arguments, int count, char **values)
{
    for (int i = 1; i < count; i++) {
        const char *next = i + 1 < count ? values[i + 1] : "";
        bool has_next = next[0] != '\0' && next[0] != '-';
        if (strcmp(values[i], "--trace") == 0) {
            arguments->trace = true;
        } else if (strcmp(values[i], "--check-determinism") == 0) {
            arguments->check_determinism = true;
        } else if (strcmp(values[i], "--bugs") == 0) {
            arguments->bugs = true;
            if (has_next) arguments->bug = values[++i];
        } else if (strcmp(values[i], "--steps") == 0 && has_next) {
            arguments->steps = (uint32_t)strtoul(values[++i], NULL, 10);
        } else if ((strcmp(values[i], "--seeds") == 0 || strcmp(values[i], "--seed") == 0) && has_next) {
            if (!parse_seeds(arguments, values[++i])) return false;
        } else {
            return false;
        }
    }
    return arguments->last > 0 && arguments->steps > 0;
}

int main(int count, char **values)
{
    struct arguments arguments = {.steps = STEPS_DEFAULT};
    if (!parse(&arguments, count, values)) return usage();
    api_init();
    if (logger_start(LOGGER_ERROR, LOGGER_LOGFMT) != RESULT_OK) return 1;
    logger_stop(); /* only the level was wanted: what is broken here on purpose is warned of a thousand times */
    report.trace = arguments.trace;
    return arguments.bugs ? run_bugs(&arguments) : run_seeds(&arguments);
}
