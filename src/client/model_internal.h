/* client/model_internal.h - what model.c and timeline.c share. */
#ifndef CLIENT_MODEL_INTERNAL_H
#define CLIENT_MODEL_INTERNAL_H

#include "client/model.h"

/* timeline.c */
void timeline_clear(struct conversation *conversation);
void timeline_insert(struct conversation *conversation, const Ringpost__V1__Message *message);
struct model_outgoing *outgoing_find(struct conversation *conversation, const char *client_msg_id);
/* Moves what waits in `from` behind what waits in `to`, as far as there is room. */
void outgoing_move(struct conversation *to, struct conversation *from);
/* Takes away what the timeline has. */
void outgoing_settle(struct conversation *conversation);

/* model.c */
void conversation_end_typing(struct conversation *conversation, uint64_t user_id);

#endif
