/* perf/envelope.h - ringpost.v1 as the TCP and WebSocket drivers carry it: one envelope a frame. What is sent or received once
 * per message is coded by hand, the rest by protobuf-c. */
#ifndef PERF_ENVELOPE_H
#define PERF_ENVELOPE_H

#include "perf/driver.h"

/* Writers return an envelope that lives until the next call of any of them. */
struct slice envelope_send(const struct outgoing *message);
struct slice envelope_call(const Ringpost__V1__Request *request);
/* Takes one envelope that the server sent to `session`; what is to be answered at once (login) goes through driver->call. */
void envelope_receive(struct session *session, struct slice envelope);

/* The events of a packed SyncResponse, oldest first, each to session_on_event(). False: it cannot be decoded. */
struct sync_page {
    uint64_t sync_key;
    bool has_more, reset;
};
bool envelope_sync_page(struct session *session, struct slice packed, struct sync_page *page);

#endif
