/* shard/domain/room/large.c - see large.h. */
#include "shard/domain/room/large.h"
#include "shard/domain/delivery/delivery.h"
#include "shard/domain/delivery/pushes.h"
#include "shard/domain/letters.h"
#include "shard/domain/room/room.h"
#include "shard/domain/room/view.h"
#include "shard/engine/request.h"

void large_tell(struct room *room, const struct relay_message_record *relay, struct effects *effects)
{
    if (room->count_count == 1) return;
    uint32_t start = effects_mark(effects);
    relay_message_record_write(&effects->bytes, relay);
    effects_add(effects, &(struct effect){&room->entity, relay->room_id, start, effects_mark(effects) - start, PUSH_OTHERS});
}

static void tell_shards(struct shard *shard, const struct room *room, struct slice message)
{
    uint16_t here = shard_number(shard);
    for (uint16_t to = 0; to < room->count_count; to++) {
        if (to == here || room->shard_counts[to] == 0) continue;
        shard_post(shard, letter_make(LETTER_ROOM_MESSAGE, here, to, NULL, message));
    }
}

void large_perform(struct shard *shard, const struct effects *effects)
{
    if ((effects->kinds >> PUSH_OTHERS & 1) == 0) return;
    for (uint32_t i = 0; i < effects->count; i++) {
        const struct effect *effect = &effects->list[i];
        if (effect->kind == PUSH_OTHERS) tell_shards(shard, room_of(effect->entity), slice_of(effects->bytes.data + effect->start, effect->len));
    }
}

static bool is_good(const struct letter *letter, struct relay_message_record *relay, struct message_record *message)
{
    struct cursor c = cursor_of(letter_payload(letter));
    if (!relay_message_record_read(relay, &c) || !cursor_done(&c) || relay->large == 0) return false;
    if (id_partition(relay->room_id) != letter->from_shard) return false;
    c = cursor_of(relay->message);
    return message_record_read(message, &c) && cursor_done(&c);
}

void large_receive(struct shard *shard, struct letter *letter)
{
    struct relay_message_record relay;
    struct message_record message;
    if (is_good(letter, &relay, &message)) {
        struct writer packed;
        writer_init(&packed, 0);
        message_pack(&packed, relay.room_id, &message);
        room_push(shard, relay.room_id, writer_slice(&packed));
        writer_deinit(&packed);
    } else {
        metrics_add(&shard_metrics(shard)->letters_refused, 1);
    }
    letter_free(letter);
}
