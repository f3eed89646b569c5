/* shard/domain/presence/area.c - who is here, was here, and looks at whom: all that this folder adds to the product. */
#include "shard/domain/letters.h"
#include "shard/domain/areas.h"
#include "shard/domain/presence/seen.h"
#include "shard/domain/presence/watch.h"

#define COMMANDS(X) X(seen)
AREA_COMMANDS(COMMANDS)

static void session_opened(struct session *session) { presence_changed(session->shard, session->inbox); }

static void session_closed(struct session *session)
{
    watch_forget(session);
    seen_session_closed(session);
    presence_changed(session->shard, session->inbox);
}

static void presence_end(struct shard *shard) { sessions_each(shard, watch_forget); }
static const struct letter_row letters[] = {
    {LETTER_WATCH, watch_receive, LETTER_WATCHED},
    {LETTER_WATCHED, request_call_answer, 0},
    {LETTER_UNWATCH, watch_receive_unwatch, 0},
    {LETTER_NOTIFY, watch_receive_notify, 0},
};

const struct area presence_area = {.name = "presence",
                                   AREA_ROWS(command, commands),
                                   .slot = AREA_PRESENCE,
                                   .open = watch_open,
                                   .close = watch_close,
                                   .perform = watch_perform,
                                   .end = presence_end,
                                   .session_opened = session_opened,
                                   .session_closed = session_closed,
                                   AREA_ROWS(letter, letters)};
