/* shard/domain/letters.h - the kinds of letters that areas write to themselves on other shards.
 * Thread: any.  Depends: shard/engine/letter.h, which has the engine's own.  Start at: shard/engine/letter.h
 * What if one is lost, late, or comes again? ASK_USERS, ASK_ROOMS, WATCH and their answers: the request is refused NO_ANSWER after CALL_TIMEOUT_MS
 * (ASK_NAMES: answered with the names that were stored);
 * answers that are late or come again are dropped. A question may be answered twice: it changes nothing, but for WATCH, where the newest
 * counts. UNWATCH, NOTIFY, ROOM_MESSAGE: best effort; a NOTIFY that nobody waits for has its watcher removed (presence/watch.h). */
#ifndef SHARD_DOMAIN_LETTERS_H
#define SHARD_DOMAIN_LETTERS_H

#include "shard/engine/letter.h"

enum domain_letter_kind {
    LETTER_ASK_USERS = LETTER_DOMAIN, /* number = call; payload = u64 user ids: who are they?        delivery/lookup.c */
    LETTER_TELL_USERS, /* number = call; payload = answer_records */
    LETTER_WATCH,      /* number = call; presence and typing subscriptions                       presence/watch.h */
    LETTER_WATCHED,    /* number = call; payload = presence_records */
    LETTER_UNWATCH,    /* session = number: forget it */
    LETTER_NOTIFY,     /* ephemeral push: payload = u32 count, u64 session ids, u32 Push field, packed message */
    LETTER_ASK_ROOMS,  /* number = call; payload = rooms_question_record: messages and heads of rooms  room/owner_read.h */
    LETTER_TELL_ROOMS, /* number = call; payload = rooms_answer_record */
    LETTER_ASK_NAMES,  /* number = call; payload = u64 user ids: what are they called?            delivery/names.h */
    LETTER_TELL_NAMES, /* number = call; payload = person_records, of those who exist */
    LETTER_ROOM_MESSAGE, /* relay_message_record of a large room, to push to who is online      room/large.h */
    LETTER_MQTT,       /* from the MQTT door: method = enum mqtt_question; answered with a REPLY        mqtt/state.h */
};

#endif
