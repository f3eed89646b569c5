/* core/host.c - limits are raised twice: past the hard limit, which only a privileged process may, else up to it. */
#include "core/host.h"
#include "core/check.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* The main thread's cores: it is never pinned, so they are those of the process. */
static void host_cores(cpu_set_t *cores)
{
    if (sched_getaffinity(getpid(), sizeof *cores, cores) == 0 && CPU_COUNT(cores) > 0) return;
    CPU_ZERO(cores); /* more cores than the set holds; the first one is always there */
    CPU_SET(0, cores);
}

uint32_t host_core_count(void)
{
    cpu_set_t cores;
    host_cores(&cores);
    return (uint32_t)CPU_COUNT(&cores);
}

enum result host_pin_thread(uint32_t index)
{
    cpu_set_t cores, mine;
    host_cores(&cores);
    size_t skip = index % (size_t)CPU_COUNT(&cores), core = 0;
    while (!CPU_ISSET(core, &cores) || skip-- > 0) core++;
    CPU_ZERO(&mine);
    CPU_SET(core, &mine);
    int error = pthread_setaffinity_np(pthread_self(), sizeof mine, &mine);
    return error == 0 ? RESULT_OK : result_from_errno(error);
}

/* The soft limit afterwards. */
static uint64_t host_raise(int resource, uint64_t needed)
{
    struct rlimit limit;
    ASSERT(getrlimit((__rlimit_resource_t)resource, &limit) == 0);
    if (limit.rlim_cur >= needed) return limit.rlim_cur;
    struct rlimit wanted = {needed, limit.rlim_max > needed ? limit.rlim_max : needed};
    if (setrlimit((__rlimit_resource_t)resource, &wanted) == 0) return needed;
    wanted = (struct rlimit){limit.rlim_max, limit.rlim_max};
    return setrlimit((__rlimit_resource_t)resource, &wanted) == 0 ? limit.rlim_max : limit.rlim_cur;
}

enum result host_raise_open_files(uint64_t needed, uint64_t *reached, char *text, size_t text_size)
{
    *reached = host_raise(RLIMIT_NOFILE, needed);
    if (*reached >= needed) return RESULT_OK;
    snprintf(text, text_size,
             "the open-file limit of %llu is too small: %llu are needed. Remedy: LimitNOFILE=%llu (systemd), "
             "--ulimit nofile=%llu (docker), or, set by root, ulimit -n %llu in the shell that starts it",
             (unsigned long long)*reached, (unsigned long long)needed, (unsigned long long)needed,
             (unsigned long long)needed, (unsigned long long)needed);
    return RESULT_BUSY;
}

_Static_assert(RLIM_INFINITY == HOST_UNLIMITED, "no limit");

uint64_t host_raise_locked_memory(void) { return host_raise(RLIMIT_MEMLOCK, RLIM_INFINITY); }

uint64_t host_limit(enum host_limit which)
{
    struct rlimit limit;
    ASSERT(getrlimit(which == HOST_ADDRESS_SPACE ? RLIMIT_AS : RLIMIT_FSIZE, &limit) == 0);
    return limit.rlim_cur;
}

void host_ignore_file_size_signal(void) { signal(SIGXFSZ, SIG_IGN); }
