/* client/timeline.c - the messages of one conversation: a run without holes, and what was sent but is not in it yet.
 *
 *      oldest kept                      newest            sent, not yet seen in the timeline
 *      [seq 41][seq 42] ... [seq 90][seq 91]              [outgoing][outgoing]
 *      ^ history goes in here          ^ events go in here                          */
#include "client/model_internal.h"
#include "client/text.h"
#include "core/check.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void message_free(struct model_message *message)
{
    free(message->sender);
    free(message->text);
}

void timeline_clear(struct conversation *conversation)
{
    for (uint32_t i = 0; i < conversation->message_count; i++) message_free(&conversation->messages[i]);
    conversation->message_count = 0;
    conversation->start_reached = false;
}

/* ---- outgoing ---- */

struct model_outgoing *outgoing_find(struct conversation *conversation, const char *client_msg_id)
{
    for (uint32_t i = 0; i < conversation->outgoing_count; i++)
        if (strcmp(conversation->outgoing[i].client_msg_id, client_msg_id) == 0) return &conversation->outgoing[i];
    return NULL;
}

static void outgoing_remove(struct conversation *conversation, uint32_t index)
{
    free(conversation->outgoing[index].text);
    conversation->outgoing_count--;
    memmove(&conversation->outgoing[index], &conversation->outgoing[index + 1],
            (conversation->outgoing_count - index) * sizeof conversation->outgoing[0]);
}

void outgoing_move(struct conversation *to, struct conversation *from)
{
    while (from->outgoing_count > 0 && to->outgoing_count < MODEL_OUTGOING_MAX) {
        to->outgoing[to->outgoing_count++] = from->outgoing[0];
        from->outgoing_count--;
        memmove(&from->outgoing[0], &from->outgoing[1], from->outgoing_count * sizeof from->outgoing[0]);
    }
}

void outgoing_settle(struct conversation *conversation)
{
    if (conversation->message_count == 0) return;
    uint64_t last = conversation->messages[conversation->message_count - 1].seq;
    for (uint32_t i = 0; i < conversation->outgoing_count;) {
        const struct model_outgoing *outgoing = &conversation->outgoing[i];
        if (outgoing->state == OUTGOING_SENT && outgoing->seq <= last)
            outgoing_remove(conversation, i);
        else
            i++;
    }
}

/* ---- messages ---- */

/* Clean text of at most MODEL_TEXT_MAX bytes, owned by the caller; NULL without memory. */
static char *copy_clean(const void *text, size_t len, uint32_t *clean_len)
{
    static const char more[] = " […]";
    char *clean = malloc(MODEL_TEXT_MAX + sizeof more);
    if (clean == NULL) return NULL;
    bool cut;
    size_t used = text_clean(clean, MODEL_TEXT_MAX, text, len, true, &cut);
    while (used > 0 && (clean[used - 1] == '\n' || clean[used - 1] == ' ')) used--;
    memcpy(clean + used, cut ? more : "", cut ? sizeof more : 1);
    used += cut ? sizeof more - 1 : 0;
    char *fitted = realloc(clean, used + 1);
    *clean_len = (uint32_t)used;
    return fitted != NULL ? fitted : clean;
}

/* What a message without text is shown as: "[image, 2048 bytes]". */
static char *describe(const Ringpost__V1__Message *message, uint32_t *len)
{
    const ProtobufCEnumValue *kind =
        protobuf_c_enum_descriptor_get_value(&ringpost__v1__message_kind__descriptor, (int)message->kind);
    char text[64], name[16];
    snprintf(name, sizeof name, "%s", kind != NULL ? kind->name : "UNKNOWN");
    for (char *at = name; *at != '\0'; at++)
        if (*at >= 'A' && *at <= 'Z') *at = (char)(*at + ('a' - 'A'));
    int written = snprintf(text, sizeof text, "[%s, %zu bytes]", name, message->body.len);
    return copy_clean(text, (size_t)written, len);
}

static bool message_copy(struct model_message *out, const Ringpost__V1__Message *message)
{
    bool is_text = message->kind == RINGPOST__V1__MESSAGE_KIND__TEXT || message->kind == RINGPOST__V1__MESSAGE_KIND__EMOJI;
    uint32_t sender_len;
    *out = (struct model_message){.seq = message->seq, .sender_id = message->sender_id, .time_ms = message->time_ms};
    out->sender = copy_clean(message->sender_name, strlen(message->sender_name), &sender_len);
    out->text = is_text ? copy_clean(message->body.data, message->body.len, &out->text_len) : describe(message, &out->text_len);
    if (out->sender != NULL && out->text != NULL) return true;
    message_free(out);
    return false;
}

static bool timeline_reserve(struct conversation *conversation)
{
    if (conversation->message_count < conversation->message_capacity) return true;
    uint32_t capacity = conversation->message_capacity == 0 ? 32 : conversation->message_capacity * 2;
    struct model_message *messages = realloc(conversation->messages, capacity * sizeof *messages);
    if (messages == NULL) return false;
    conversation->messages = messages;
    conversation->message_capacity = capacity;
    return true;
}

static void timeline_drop_oldest(struct conversation *conversation)
{
    ASSERT(conversation->message_count > 0);
    message_free(&conversation->messages[0]);
    conversation->message_count--;
    memmove(conversation->messages, conversation->messages + 1, conversation->message_count * sizeof conversation->messages[0]);
    conversation->start_reached = false;
}

static void timeline_put(struct conversation *conversation, uint32_t at, const Ringpost__V1__Message *message)
{
    struct model_message copy;
    if (!timeline_reserve(conversation) || !message_copy(&copy, message)) return;
    memmove(conversation->messages + at + 1, conversation->messages + at,
            (conversation->message_count - at) * sizeof conversation->messages[0]);
    conversation->messages[at] = copy;
    conversation->message_count++;
}

void timeline_insert(struct conversation *conversation, const Ringpost__V1__Message *message)
{
    ASSERT(message->seq > 0);
    uint32_t count = conversation->message_count;
    uint64_t first = count > 0 ? conversation->messages[0].seq : 0, last = count > 0 ? first + count - 1 : 0;
    if (count > 0 && message->seq > last + 1) {
        timeline_clear(conversation);
        count = 0;
    }
    if (count == 0 || message->seq == last + 1) {
        if (count == MODEL_TIMELINE_MAX) timeline_drop_oldest(conversation);
        timeline_put(conversation, conversation->message_count, message);
    } else if (message->seq + 1 == first && count < MODEL_TIMELINE_MAX) {
        timeline_put(conversation, 0, message);
    }
    /* Anything else is there already, or older than what connects. */
    const struct model_outgoing *own = outgoing_find(conversation, message->client_msg_id);
    if (own != NULL) outgoing_remove(conversation, (uint32_t)(own - conversation->outgoing)); /* it came before its answer */
    outgoing_settle(conversation);
}

void model_on_history(struct model *model, uint64_t room_id, const Ringpost__V1__HistoryResponse *page)
{
    struct conversation *conversation = model_find_room(model, room_id);
    if (conversation == NULL) return;
    Ringpost__V1__Message *const *messages = page->messages;
    size_t count = page->n_messages;
    conversation->hidden_seq = page->hidden_seq;
    bool of_an_earlier_time = conversation->message_count > 0 && conversation->messages[0].seq <= page->hidden_seq;
    if (of_an_earlier_time) timeline_clear(conversation); /* the user was a member before, and left */
    for (size_t i = 0; i < count; i++) {
        if (messages[i]->seq == 0) continue;
        if (messages[i]->seq > conversation->head_seq) conversation->head_seq = messages[i]->seq;
        model_on_person(model, messages[i]->sender_id, messages[i]->sender_name);
        timeline_insert(conversation, messages[i]);
    }
    /* The page ends at the start of what may be seen, and the timeline reaches as far as the page. */
    bool connects = count == 0 || (conversation->message_count > 0 && conversation->messages[0].seq <= messages[count - 1]->seq);
    if (!page->has_more && connects) conversation->start_reached = true;
}

bool conversation_wants_history(const struct conversation *conversation, uint32_t message_count_wanted, uint64_t *before_seq)
{
    *before_seq = 0;
    if (conversation->room_id == 0 || conversation->head_seq == 0 || conversation->left) return false;
    if (conversation->message_count == 0) return !conversation->start_reached;
    uint64_t first = conversation->messages[0].seq, last = first + conversation->message_count - 1;
    if (last < conversation->head_seq) return true; /* the newest are missing: from the newest down to what is there */
    *before_seq = first;
    bool has_older = first > 1 && !conversation->start_reached && conversation->message_count < MODEL_TIMELINE_MAX;
    return has_older && conversation->message_count < message_count_wanted;
}

/* ---- what the user sends ---- */

void model_drop_failed(struct conversation *conversation)
{
    for (uint32_t i = 0; i < conversation->outgoing_count;)
        if (conversation->outgoing[i].state == OUTGOING_FAILED)
            outgoing_remove(conversation, i);
        else
            i++;
}

enum result model_send(struct conversation *conversation, const char *client_msg_id, const char *text, uint64_t now_ms)
{
    if (conversation->outgoing_count == MODEL_OUTGOING_MAX) return RESULT_BUSY;
    struct model_outgoing *outgoing = &conversation->outgoing[conversation->outgoing_count];
    *outgoing = (struct model_outgoing){.state = OUTGOING_SENDING, .time_ms = now_ms};
    snprintf(outgoing->client_msg_id, sizeof outgoing->client_msg_id, "%s", client_msg_id);
    outgoing->text = copy_clean(text, strlen(text), &outgoing->text_len);
    if (outgoing->text == NULL) return RESULT_NOMEM;
    conversation->outgoing_count++;
    return RESULT_OK;
}
