/* cli/lines.c - see lines.h. */
#include "cli/lines.h"
#include "api/json.h"
#include "client/text.h"
#include "core/check.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *line_time(uint64_t time_ms, char *out, size_t out_size)
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm local;
    if (time_ms == 0 || localtime_r(&seconds, &local) == NULL || strftime(out, out_size, "%Y-%m-%d %H:%M:%S", &local) == 0)
        snprintf(out, out_size, "never");
    return out;
}

void line_print_text(FILE *out, const void *text, size_t len)
{
    size_t clean_size = len * 3 + 1; /* an invalid byte becomes three */
    char *clean = malloc(clean_size);
    if (clean == NULL) return;
    fwrite(clean, 1, text_clean(clean, clean_size, text, len, false, NULL), out);
    free(clean);
}

/* ---- JSON ---- */

/* Beside the base64 of a body, its text: what a script wants. */
static void add_text(json_t *root, const Ringpost__V1__Message *message)
{
    bool is_text = message->kind == RINGPOST__V1__MESSAGE_KIND__TEXT || message->kind == RINGPOST__V1__MESSAGE_KIND__EMOJI;
    json_t *text = is_text ? json_stringn((const char *)message->body.data, message->body.len) : NULL;
    if (text != NULL) json_object_set_new(root, "text", text); /* not UTF-8: only the base64 */
}

static json_t *json_of(const ProtobufCMessage *message)
{
    struct writer text;
    writer_init(&text, 0);
    json_from_message(message, &text, false);
    json_t *root = text.failed ? NULL : json_loadb((const char *)text.data, text.len, 0, NULL);
    writer_deinit(&text);
    return root;
}

static void print_line(FILE *out, json_t *root)
{
    if (root != NULL) json_dumpf(root, out, JSON_COMPACT);
    fputc('\n', out);
    json_decref(root);
}

void line_print_json(FILE *out, const ProtobufCMessage *message)
{
    json_t *root = json_of(message);
    if (root != NULL && message->descriptor == &ringpost__v1__event__descriptor) {
        const Ringpost__V1__Event *event = (const Ringpost__V1__Event *)(const void *)message;
        if (event->kind_case == RINGPOST__V1__EVENT__KIND_MESSAGE) add_text(json_object_get(root, "message"), event->message);
    }
    print_line(out, root);
}

void line_print_json_joined(FILE *out, const ProtobufCMessage *first, const ProtobufCMessage *second)
{
    json_t *root = json_of(first), *more = json_of(second);
    if (root != NULL && more != NULL) json_object_update_missing(root, more);
    json_decref(more);
    print_line(out, root);
}

void line_print_entry(FILE *out, Ringpost__V1__FollowerEntry *entry, const char *position)
{
    Ringpost__V1__FollowerPlace *place = entry->place;
    entry->place = NULL; /* it stands in the position */
    json_t *root = json_of(&entry->base), *line = json_object();
    entry->place = place;
    if (root != NULL && entry->kind_case == RINGPOST__V1__FOLLOWER_ENTRY__KIND_MESSAGE)
        add_text(json_object_get(root, "message"), entry->message);
    if (root != NULL && line != NULL) {
        json_object_set(line, "id", json_object_get(root, "id"));
        json_object_set_new(line, "position", json_string(position));
        json_object_update_missing(line, root);
    }
    json_decref(root);
    print_line(out, line);
}

/* ---- for people ---- */

static void print_message(FILE *out, const Ringpost__V1__Message *message)
{
    char time[32];
    fprintf(out, "%s  room %llu #%llu  ", line_time(message->time_ms, time, sizeof time), (unsigned long long)message->room_id,
            (unsigned long long)message->seq);
    line_print_text(out, message->sender_name, strlen(message->sender_name));
    fputs(": ", out);
    if (message->kind == RINGPOST__V1__MESSAGE_KIND__TEXT || message->kind == RINGPOST__V1__MESSAGE_KIND__EMOJI) {
        line_print_text(out, message->body.data, message->body.len);
        return;
    }
    const ProtobufCEnumValue *kind =
        protobuf_c_enum_descriptor_get_value(&ringpost__v1__message_kind__descriptor, (int)message->kind);
    fprintf(out, "[%s, %zu bytes]", kind != NULL ? kind->name : "UNKNOWN", message->body.len);
}

static void print_change(FILE *out, const Ringpost__V1__RoomChange *change)
{
    static const char *const texts[] = {"you are in", "you are out of", "joined", "left", "changed the role of", "updated", "dismissed"};
    size_t kind = (size_t)change->change;
    bool of_other = change->change == RINGPOST__V1__ROOM_CHANGE_KIND__MEMBER_JOINED ||
                    change->change == RINGPOST__V1__ROOM_CHANGE_KIND__MEMBER_LEFT ||
                    change->change == RINGPOST__V1__ROOM_CHANGE_KIND__MEMBER_ROLE;
    const char *room_name = change->peer_id != 0 ? change->peer_name : change->room != NULL ? change->room->name : "";
    char time[32];
    fprintf(out, "%s  room %llu  * ", line_time(change->time_ms, time, sizeof time),
            (unsigned long long)(change->room != NULL ? change->room->room_id : 0));
    if (of_other) line_print_text(out, change->target_name, strlen(change->target_name));
    if (of_other) fputc(' ', out);
    fprintf(out, "%s ", kind < COUNT_OF(texts) ? texts[kind] : "changed");
    line_print_text(out, room_name, strlen(room_name));
}

static void print_device(FILE *out, const Ringpost__V1__DeviceEnd *device)
{
    fputs("                     * device ", out);
    line_print_text(out, device->device_id, strlen(device->device_id));
    fputs(" was logged out", out);
    if (device->for_device_id[0] == '\0') return;
    fputs(": its place went to ", out);
    line_print_text(out, device->for_device_id, strlen(device->for_device_id));
}

void line_print_event(FILE *out, const Ringpost__V1__Event *event)
{
    switch ((int)event->kind_case) {
    case RINGPOST__V1__EVENT__KIND_MESSAGE: print_message(out, event->message); break;
    case RINGPOST__V1__EVENT__KIND_ROOM: print_change(out, event->room); break;
    case RINGPOST__V1__EVENT__KIND_READ:
        fprintf(out, "                     room %llu  * read up to #%llu", (unsigned long long)event->read->room_id,
                (unsigned long long)event->read->read_seq);
        break;
    case RINGPOST__V1__EVENT__KIND_DEVICE: print_device(out, event->device); break;
    default: fputs("                     * something this version does not know", out);
    }
    fputc('\n', out);
}
