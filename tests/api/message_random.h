/* tests/api/message_random.h - messages of any type with random content, from a seed; and every type of the contract.
 */
#ifndef TESTS_API_MESSAGE_RANDOM_H
#define TESTS_API_MESSAGE_RANDOM_H

#include "api/envelope.h"

struct random {
    uint64_t state;
};
uint64_t random_next(struct random *random);
/* 0 … count - 1 */
uint32_t random_below(struct random *random, uint32_t count);

/* A message with every kind of content: edge numbers, text of one to four bytes a character, lists, set and unset
 * messages. */
ProtobufCMessage *message_random(struct envelope_arena *arena, const ProtobufCMessageDescriptor *descriptor,
                                 struct random *random);

#define MESSAGE_TYPES_MAX 160
/* Every message type reachable from Envelope; returns how many. */
uint32_t message_types(const ProtobufCMessageDescriptor *types[MESSAGE_TYPES_MAX]);

#endif
