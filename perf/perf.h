/* perf/perf.h - the load generator: what stands where.
 *
 * A program of its own: it knows the server by its doors only (sockets, the schema, the documented token) and shares no code
 * with it, so a mistake in one is seen by the other. One thread, one core, epoll.
 *
 *   load.c         the command line and the table of workloads         workload.h   what every workload gets
 *   driver.h       a protocol as a workload sees it                    driver_tcp.c, driver_websocket.c, driver_mqtt.c
 *   envelope.c     ringpost.v1 inside the frames of TCP and WebSocket  mqtt.c       packets of MQTT 3.1.1
 *   session.c      sockets, the loop, who is logged in                 tls.c        TLS on a socket
 *   users.c        registers users, mints their tokens                 calls.c      requests that are waited for
 *   traffic.c      people in groups who send; every arrival checked    catchup.c    pages through what was missed
 *   cold.c         rooms that nobody writes to                         curve.c      what each interval of a long run cost
 *   workload_*.c   one measurement each                                stamp.c      what the body of a message says
 *   histogram.c    latencies    report.c  one JSON line and one table row a run    process.c  CPU and memory of the server
 *   bytes.h        slices, growing buffers, protobuf varints
 *
 * An error of set-up ends the program with one line; a fault of the server (lost, twice, out of order) is counted, reported and
 * makes the exit code 1. */
#ifndef PERF_PERF_H
#define PERF_PERF_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define NS_PER_S  1000000000ull
#define NS_PER_MS 1000000ull

/* Says why on stderr and exits with 2: the measurement could not be made. */
__attribute__((noreturn, format(printf, 1, 2))) void perf_die(const char *format, ...);
/* CLOCK_MONOTONIC. */
uint64_t perf_now_ns(void);
/* malloc and realloc that end the program instead of returning NULL; zeroed. */
void *perf_alloc(size_t count, size_t size);
/* "127.0.0.1:7800"; anything else ends the program. */
struct sockaddr_in perf_address(const char *text);
/* As many open files as this process may have; returns how many that are. */
uint64_t perf_raise_open_files(void);

#endif
