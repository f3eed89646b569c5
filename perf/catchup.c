/* perf/catchup.c - see the header. */
#include "perf/catchup.h"
#include "perf/envelope.h"

#define PAGE_LIMIT 500 /* the most the API gives */

static void ask_page(struct session *session)
{
    Ringpost__V1__SyncRequest sync = RINGPOST__V1__SYNC_REQUEST__INIT;
    Ringpost__V1__Request request = RINGPOST__V1__REQUEST__INIT;
    sync.sync_key = session->sync_key;
    sync.limit = PAGE_LIMIT;
    request.id = CATCHUP_ID;
    request.method_case = RINGPOST__V1__REQUEST__METHOD_SYNC;
    request.sync = &sync;
    session->driver->call(session, &request);
}

void catchup_begin(struct session *session, uint64_t sync_key)
{
    session->sync_key = session->heard_key = sync_key;
    session->ignores_pushes = true;
    ask_page(session);
}

enum catchup catchup_on_answer(struct session *session, const struct answer *answer)
{
    struct sync_page page;
    if (answer->refused && answer->retryable) {
        ask_page(session);
        return CATCHUP_MORE;
    }
    session->ignores_pushes = false; /* these are no pushes */
    bool whole = !answer->refused && envelope_sync_page(session, answer->result, &page);
    if (!whole || page.reset || page.sync_key != session->sync_key) return CATCHUP_BROKEN;
    if (!page.has_more && session->heard_key <= session->sync_key) return CATCHUP_DONE;
    session->ignores_pushes = true;
    ask_page(session);
    return CATCHUP_MORE;
}
