/* perf/process.c - see the header. A process that is gone has spent nothing: the caller measures differences and ends anyway. */
#include "perf/process.h"
#include "perf/perf.h"
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define TREE_MAX    256
#define TREE_LEVELS 4

/* ---- the tree of processes ---- */

struct stat_line {
    int parent;
    uint64_t user_ns, system_ns;
};

static uint64_t clock_ticks_ns(unsigned long long ticks)
{
    return ticks * (NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK));
}

/* `name`: 16 bytes, or NULL. */
static bool stat_read_at(const char *path, struct stat_line *line, char *name)
{
    char text[1024];
    unsigned long long user, system;
    FILE *file = fopen(path, "r");
    if (file == NULL) return false;
    size_t len = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[len] = '\0';
    /* The second field is a name in parentheses that may hold spaces; the parent is the 2nd after it, utime and stime the 12th and 13th. */
    const char *rest = strrchr(text, ')'), *first = strchr(text, '(');
    if (rest == NULL || first == NULL) return false;
    if (name != NULL) snprintf(name, 16, "%.*s", (int)(rest - first - 1), first + 1);
    int found = sscanf(rest + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &line->parent, &user, &system);
    if (found != 3) return false;
    line->user_ns = clock_ticks_ns(user);
    line->system_ns = clock_ticks_ns(system);
    return true;
}

static bool stat_read(int pid, struct stat_line *line)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    return stat_read_at(path, line, NULL);
}

struct tree {
    int pids[TREE_MAX];
    uint32_t count;
};

static bool tree_has(const struct tree *tree, int pid)
{
    for (uint32_t i = 0; i < tree->count; i++)
        if (tree->pids[i] == pid) return true;
    return false;
}

/* One more generation: everybody whose parent is in the tree. False: there was none. */
static bool tree_grow(struct tree *tree)
{
    uint32_t before = tree->count;
    DIR *proc = opendir("/proc");
    if (proc == NULL) perf_die("/proc: %s", strerror(errno));
    for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
        struct stat_line line;
        int pid = atoi(entry->d_name);
        if (pid <= 0 || tree_has(tree, pid) || !stat_read(pid, &line) || !tree_has(tree, line.parent)) continue;
        if (tree->count == TREE_MAX) perf_die("a server of more than %d processes", TREE_MAX);
        tree->pids[tree->count++] = pid;
    }
    (void)closedir(proc);
    return tree->count > before;
}

static void tree_of(struct tree *tree, int root)
{
    tree->count = 0;
    if (root <= 0) return;
    tree->pids[tree->count++] = root;
    for (uint32_t level = 0; level < TREE_LEVELS && tree_grow(tree); level++) {}
}

/* ---- CPU ---- */

static uint64_t time_ns(struct timeval time) { return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_usec * 1000; }

struct spent process_spent(int server_pid)
{
    struct tree tree;
    struct rusage usage;
    struct spent spent = {0};
    tree_of(&tree, server_pid);
    for (uint32_t i = 0; i < tree.count; i++) {
        struct stat_line line;
        if (!stat_read(tree.pids[i], &line)) continue;
        spent.server_user_ns += line.user_ns;
        spent.server_system_ns += line.system_ns;
    }
    (void)getrusage(RUSAGE_SELF, &usage);
    spent.generator_user_ns = time_ns(usage.ru_utime);
    spent.generator_system_ns = time_ns(usage.ru_stime);
    spent.at_ns = perf_now_ns();
    return spent;
}

/* ---- threads ---- */

static uint32_t add_thread(struct thread_spent *threads, uint32_t count, const char *name, uint64_t cpu_ns)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(threads[i].name, name) != 0) continue;
        threads[i].cpu_ns += cpu_ns;
        return count;
    }
    if (count == THREADS_MAX) return count;
    snprintf(threads[count].name, sizeof threads[count].name, "%s", name);
    threads[count].cpu_ns = cpu_ns;
    return count + 1;
}

uint32_t process_threads(int server_pid, struct thread_spent threads[THREADS_MAX])
{
    char path[64], name[16];
    uint32_t count = 0;
    snprintf(path, sizeof path, "/proc/%d/task", server_pid);
    DIR *tasks = server_pid > 0 ? opendir(path) : NULL;
    if (tasks == NULL) return 0;
    for (struct dirent *entry; (entry = readdir(tasks)) != NULL;) {
        struct stat_line line;
        char stat_path[96];
        int task = atoi(entry->d_name);
        snprintf(stat_path, sizeof stat_path, "/proc/%d/task/%d/stat", server_pid, task);
        if (task > 0 && stat_read_at(stat_path, &line, name)) count = add_thread(threads, count, name, line.user_ns + line.system_ns);
    }
    (void)closedir(tasks);
    return count;
}

static double seconds_between(uint64_t before_ns, uint64_t after_ns)
{
    return after_ns > before_ns ? (double)(after_ns - before_ns) / 1e9 : 0;
}

struct cost process_cost(const struct spent *before, const struct spent *after)
{
    return (struct cost){.seconds = seconds_between(before->at_ns, after->at_ns),
                         .server_user_s = seconds_between(before->server_user_ns, after->server_user_ns),
                         .server_system_s = seconds_between(before->server_system_ns, after->server_system_ns),
                         .generator_user_s = seconds_between(before->generator_user_ns, after->generator_user_ns),
                         .generator_system_s = seconds_between(before->generator_system_ns, after->generator_system_ns)};
}

/* ---- what /proc tells by name ---- */

/* The number after `key` in a file of "key: number" lines; 0 when it is not there. */
static uint64_t number_in(const char *path, const char *key)
{
    char line[256];
    unsigned long long value = 0;
    size_t len = strlen(key);
    FILE *file = fopen(path, "r");
    if (file == NULL) return 0;
    while (value == 0 && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, key, len) == 0) (void)!sscanf(line + len, "%llu", &value);
    (void)fclose(file);
    return value;
}

struct written process_written(int server_pid)
{
    struct tree tree;
    struct written written = {0};
    tree_of(&tree, server_pid);
    for (uint32_t i = 0; i < tree.count; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/io", tree.pids[i]);
        written.call_bytes += number_in(path, "wchar:");
        written.disk_bytes += number_in(path, "write_bytes:");
    }
    return written;
}

/* ---- memory ---- */

static uint64_t tcp_buffer_pages(void)
{
    char line[256];
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/net/sockstat", "r");
    if (file == NULL) return 0;
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "TCP:", 4) == 0) (void)!sscanf(line, "TCP: inuse %*u orphan %*u tw %*u alloc %*u mem %llu", &pages);
    (void)fclose(file);
    return pages;
}

struct memory process_memory(int server_pid)
{
    struct tree tree;
    struct memory memory = {
        .kernel_bytes = number_in("/proc/meminfo", "Slab:") * 1024 + tcp_buffer_pages() * (uint64_t)sysconf(_SC_PAGESIZE)};
    tree_of(&tree, server_pid);
    for (uint32_t i = 0; i < tree.count; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/status", tree.pids[i]);
        memory.resident_bytes += number_in(path, "VmRSS:") * 1024;
    }
    return memory;
}
