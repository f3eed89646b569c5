/* core/stack.c - see stack.h. A thread's end takes its stack out of the list under the same lock under which the list is read, before the
 * stack is unmapped; mincore() says which pages are there. */
#include "core/stack.h"
#include "core/check.h"
#include <pthread.h>
#include <stddef.h>
#include <sys/mman.h>

#define STACKS_MAX 4096u
#define STACK_PAGE_SIZE 4096u
#define STACK_PAGES_ASKED 2048u /* at once: the 8 MiB that a stack usually is */

struct stack {
    void *bottom; /* NULL: free */
    size_t size_bytes;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static struct stack stacks[STACKS_MAX];
static uint32_t stack_count; /* ever used */

static void stack_leave(void *entered)
{
    struct stack *stack = entered;
    pthread_mutex_lock(&mutex);
    stack->bottom = NULL;
    pthread_mutex_unlock(&mutex);
}

static void make_key(void)
{
    int error = pthread_key_create(&key, stack_leave);
    ASSERT(error == 0);
}

static struct stack *take_free(void)
{
    for (uint32_t i = 0; i < stack_count; i++)
        if (stacks[i].bottom == NULL) return &stacks[i];
    return stack_count < STACKS_MAX ? &stacks[stack_count++] : NULL;
}

void stack_enter(void)
{
    pthread_attr_t attributes;
    struct stack mine = {0};
    pthread_once(&once, make_key);
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) return;
    int error = pthread_attr_getstack(&attributes, &mine.bottom, &mine.size_bytes);
    pthread_attr_destroy(&attributes);
    if (error != 0) return;
    pthread_mutex_lock(&mutex);
    struct stack *place = take_free();
    if (place != NULL) *place = mine;
    pthread_mutex_unlock(&mutex);
    if (place != NULL) pthread_setspecific(key, place);
}

static uint64_t resident_of(const struct stack *stack)
{
    static unsigned char there[STACK_PAGES_ASKED]; /* under the lock */
    uint64_t pages = 0;
    for (size_t at = 0; at < stack->size_bytes; at += STACK_PAGES_ASKED * STACK_PAGE_SIZE) {
        size_t left = stack->size_bytes - at, len = left < STACK_PAGES_ASKED * STACK_PAGE_SIZE ? left : STACK_PAGES_ASKED * STACK_PAGE_SIZE;
        if (mincore((char *)stack->bottom + at, len, there) != 0) continue;
        for (size_t i = 0; i < (len + STACK_PAGE_SIZE - 1) / STACK_PAGE_SIZE; i++) pages += there[i] & 1;
    }
    return pages * STACK_PAGE_SIZE;
}

uint64_t stack_resident_bytes(void)
{
    uint64_t bytes = 0;
    pthread_mutex_lock(&mutex);
    for (uint32_t i = 0; i < stack_count; i++)
        if (stacks[i].bottom != NULL) bytes += resident_of(&stacks[i]);
    pthread_mutex_unlock(&mutex);
    return bytes;
}
