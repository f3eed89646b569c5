/* perf/process.c - see the header. A process that is gone has spent nothing: the caller measures differences and ends anyway. */
#include "perf/process.h"
#include "perf/perf.h"
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static uint64_t clock_ticks_ns(unsigned long long ticks)
{
    return ticks * (NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK));
}

static uint64_t cpu_ns_of(int pid)
{
    char path[64], text[1024];
    unsigned long long user, system;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL) return 0;
    size_t len = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[len] = '\0';
    /* The second field is a name in parentheses that may hold spaces; utime and stime are the 12th and 13th after it. */
    const char *rest = strrchr(text, ')');
    if (rest == NULL || sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) != 2) return 0;
    return clock_ticks_ns(user + system);
}

struct spent process_spent(int server_pid)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    uint64_t own_us = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
                      (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    return (struct spent){cpu_ns_of(server_pid), own_us * 1000, perf_now_ns()};
}

struct cores process_cores(const struct spent *before, const struct spent *after)
{
    double elapsed = (double)(after->at_ns - before->at_ns);
    if (elapsed <= 0 || after->server_cpu_ns < before->server_cpu_ns) return (struct cores){0};
    return (struct cores){(double)(after->server_cpu_ns - before->server_cpu_ns) / elapsed,
                          (double)(after->generator_cpu_ns - before->generator_cpu_ns) / elapsed};
}

/* The number after `key` in a file of "key: number kB" lines; 0 when it is not there. */
static uint64_t kilobytes_in(const char *path, const char *key)
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
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/status", server_pid);
    return (struct memory){
        .resident_bytes = kilobytes_in(path, "VmRSS:") * 1024,
        .kernel_bytes = kilobytes_in("/proc/meminfo", "Slab:") * 1024 + tcp_buffer_pages() * (uint64_t)sysconf(_SC_PAGESIZE),
    };
}
