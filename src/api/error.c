/* api/error.c - the rows behind error.h. A reason is the row's name in lower case; the lower-casing happens once, at
 * the first look, so that name and reason cannot drift apart. */
#include "api/error.h"
#include "core/check.h"
#include <pthread.h>

#define ERROR_REASON_MAX 24

#define ERROR_AS_ROW(name, code, status, retryable, message) {#name, code, message, status, retryable},
static struct error_row rows[ERROR_COUNT] = {ERROR_LIST(ERROR_AS_ROW)};
#undef ERROR_AS_ROW

static char reasons[ERROR_COUNT][ERROR_REASON_MAX + 1];
static pthread_once_t reasons_made = PTHREAD_ONCE_INIT;

static void make_reasons(void)
{
    for (uint32_t i = 0; i < ERROR_COUNT; i++) {
        const char *name = rows[i].reason;
        uint32_t len = 0;
        for (; name[len] != '\0'; len++) {
            ASSERT(len < ERROR_REASON_MAX);
            bool is_upper = name[len] >= 'A' && name[len] <= 'Z';
            reasons[i][len] = is_upper ? (char)(name[len] - 'A' + 'a') : name[len];
        }
        rows[i].reason = reasons[i];
    }
}

const struct error_row *error_row(enum error error)
{
    ASSERT(error < ERROR_COUNT);
    int once = pthread_once(&reasons_made, make_reasons);
    ASSERT(once == 0);
    return &rows[error];
}
