/* perf/process.h - what a process and the kernel spend: read from /proc. */
#ifndef PERF_PROCESS_H
#define PERF_PROCESS_H

#include <stdint.h>

struct spent { /* CPU time so far, and the clock */
    uint64_t server_cpu_ns, generator_cpu_ns, at_ns;
};
struct spent process_spent(int server_pid);
/* Cores kept busy between two moments; 1.0 is one whole core. */
struct cores {
    double server, generator;
};
struct cores process_cores(const struct spent *before, const struct spent *after);

struct memory {
    uint64_t resident_bytes;      /* of the server */
    uint64_t kernel_bytes;        /* slab and TCP buffers of the whole machine */
};
struct memory process_memory(int server_pid);

#endif
