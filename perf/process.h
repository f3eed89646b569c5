/* perf/process.h - what a server and the kernel spend: read from /proc. A server is a process with all its descendants: an Erlang
 * node has helpers, others may fork. */
#ifndef PERF_PROCESS_H
#define PERF_PROCESS_H

#include <stdint.h>

struct spent { /* CPU time so far, and the clock */
    uint64_t server_user_ns, server_system_ns, generator_user_ns, generator_system_ns, at_ns;
};
/* `server_pid` 0: no server of ours. */
struct spent process_spent(int server_pid);

struct cost { /* between two moments */
    double seconds;
    double server_user_s, server_system_s, generator_user_s, generator_system_s; /* of CPU */
};
struct cost process_cost(const struct spent *before, const struct spent *after);

struct written { /* by the server, so far */
    uint64_t disk_bytes; /* what its writes made of pages that go to the disk, and what went there past the page cache (write_bytes) */
    uint64_t call_bytes; /* what its system calls wrote, wherever to: sockets, too (wchar) */
};
struct written process_written(int server_pid);

/* CPU time so far of the threads of the server's first process, added up by their names; returns how many names there are. */
#define THREADS_MAX 24
struct thread_spent {
    char name[16];
    uint64_t cpu_ns;
};
uint32_t process_threads(int server_pid, struct thread_spent threads[THREADS_MAX]);

struct memory {
    uint64_t resident_bytes; /* of the server; what its processes share counts in each */
    uint64_t kernel_bytes;   /* slab and TCP buffers of the whole machine */
};
struct memory process_memory(int server_pid);

#endif
