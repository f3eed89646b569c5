/* tests/sim/node.c - see node.h.
 * A crash in three strokes: the disk tears what was under way and tells the log that it is gone; the store falls back to the state after
 * some index; the shard is closed. */
#include "sim/node.h"
#include "shard/alarm.h"
#include "core/check.h"
#include "shard/domain/delivery/events.h"
#include "shard/domain/keys.h"
#include "shard/domain/records.h"
#include "shard/engine/block.h"
#include "shard/engine/records.h"
#include "shard/domain/room/timeline.h"
#include "sim/report.h"
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

/* ---- the disk and the store ------------------------------------------------------------------------------------------- */

static void keep_segment(void *context, uint64_t number, const uint8_t *bytes)
{
    struct node *node = context;
    size_t size = (size_t)node->profile->segment_blocks * node->profile->block_size_bytes;
    if (node->kept_count == node->kept_capacity) {
        node->kept_capacity = node->kept_capacity == 0 ? 16 : node->kept_capacity * 2;
        node->kept = realloc(node->kept, node->kept_capacity * sizeof *node->kept);
        ASSERT(node->kept != NULL);
    }
    uint8_t *copy = malloc(size);
    ASSERT(copy != NULL);
    memcpy(copy, bytes, size);
    node->kept[node->kept_count++] = (struct kept_segment){number, copy};
}

/* Planted bugs that lose puts: of which kind, and one in how many. */
static const struct {
    enum plant plant;
    uint8_t kind;
    uint32_t one_in;
} losses[] = {{PLANT_reused_ids, KEY_META, 1},          {PLANT_window_forgotten, KEY_REPEATS, 1},
              {PLANT_reused_seq, KEY_MESSAGE, 30},      {PLANT_events_lost, KEY_EVENT, 50},
              {PLANT_marks_lost, KEY_CONVERSATION, 10}, {PLANT_members_lost, KEY_MEMBER, 10},
              {PLANT_revocations_lost, KEY_DEVICE, 3},  {PLANT_entries_lost, KEY_FOLLOWED, 20},
              {PLANT_row_not_written, KEY_CONVERSATION, 10}, {PLANT_positions_lost, KEY_STREAM, 2},
              {PLANT_wills_lost, KEY_WILL, 4}};

/* Planted bugs that lose timers, or that they have fired. */
static bool loses_timer(const struct node *node, struct slice key, struct slice value)
{
    struct alarm_record alarm;
    struct cursor c = cursor_of(value);
    bool deletes = value.data == NULL, stepped_over = node->plant == PLANT_timer_stepped_over && node->clock_is_wrong;
    if (key.data[0] == KEY_DUE) return deletes ? node->plant == PLANT_timer_twice : stepped_over;
    if (deletes || node->plant != PLANT_timer_twice || key.data[0] != KEY_ALARM) return false;
    return alarm_record_read(&alarm, &c) && alarm.fired > 0 && alarm.due_ms == 0;
}

/* Planted bug: the row of an account that has another display name than at first stays as it was. */
static bool loses_rename(const struct node *node, struct slice key, struct slice value)
{
    struct account_record account;
    if (node->plant != PLANT_renames_lost || key.data[0] != KEY_ACCOUNT || !account_record_is(&account, value)) return false;
    return memchr(account.display_name.data, ',', account.display_name.len) != NULL;
}

static bool keeps(void *context, struct slice key, struct slice value)
{
    struct node *node = context;
    if (loses_timer(node, key, value)) return false;
    if (value.data == NULL) return true;
    if (loses_rename(node, key, value)) return false;
    for (size_t i = 0; i < COUNT_OF(losses); i++)
        if (losses[i].plant == node->plant && key.data[0] == losses[i].kind) return !dice_one_in(&node->dice, losses[i].one_in);
    return true;
}

/* Planted bug: of two entries of one size, the second is the first again. */
static bool retells(struct slice value, struct writer *out)
{
    struct block block;
    struct slice first, second;
    if (!block_open(&block, value) || !block_next(&block, &first) || !block_next(&block, &second) || first.len != second.len) return false;
    writer_raw(out, value.data, value.len);
    memcpy(out->data + (out->len - value.len) + (second.data - value.data), first.data, first.len);
    return true;
}

/* Planted bugs that forget what of an MQTT session must outlive its connection. */
static bool alters_session(enum plant plant, struct slice value, struct writer *out)
{
    struct mqtt_session_record session;
    struct cursor c = cursor_of(value);
    bool read = mqtt_session_record_read(&session, &c);
    ASSERT(read);
    if (plant == PLANT_cursor_ahead) session.sync_key++;
    else if (plant == PLANT_recent_lost) session.recent = SLICE_EMPTY;
    else return false;
    mqtt_session_record_write(out, &session);
    return true;
}

/* Planted bugs that forget when somebody came into a room: on the one side that asks the gate, or on the other. */
static bool alters_put(void *context, struct slice key, struct slice value, struct writer *out)
{
    const struct node *node = context;
    struct cursor c = cursor_of(value);
    struct timer_count_record timers;
    struct member_record member;
    struct conversation_record conversation;
    if (key.data[0] == KEY_MQTT) return alters_session(node->plant, value, out);
    if (node->plant == PLANT_entry_retold && key.data[0] == KEY_FOLLOWED) return retells(value, out);
    if (node->plant == PLANT_timer_twice && key.data[0] == KEY_TIMER_COUNT && timer_count_record_read(&timers, &c)) {
        timers.waiting += 1000; /* or the count would tell */
        timer_count_record_write(out, &timers);
        return true;
    }
    if (node->plant == PLANT_history_shown && key.data[0] == KEY_MEMBER && member_record_read(&member, &c)) {
        member.joined_seq = 0;
        member_record_write(out, &member);
        return true;
    }
    if (node->plant == PLANT_last_message_shown && key.data[0] == KEY_CONVERSATION && conversation_record_read(&conversation, &c)) {
        conversation.joined_seq = 0;
        conversation_record_write(out, &conversation);
        return true;
    }
    return false;
}

static uint32_t disk_deceits(enum plant plant)
{
    return plant == PLANT_sync_error_ignored ? FAKE_DISK_SYNCS_SILENTLY
         : plant == PLANT_sync_error_believed ? FAKE_DISK_CUTS_ONLY
         : plant == PLANT_read_error_is_the_end ? FAKE_DISK_READS_NOTHING
         : plant == PLANT_never_full ? FAKE_DISK_IS_NEVER_FULL : 0;
}

static uint32_t store_deceits(enum plant plant)
{
    return plant == PLANT_flush_believed ? FAKE_STORE_FLUSHES_AT_ONCE
         : plant == PLANT_held_back_lost ? FAKE_STORE_FORGETS_WHAT_IT_HELD
         : plant == PLANT_store_error_swallowed ? FAKE_STORE_SWALLOWS_ERRORS
         : plant == PLANT_trimmed_too_much ? FAKE_STORE_TRIMS_TOO_MUCH : 0;
}

static struct fake_disk *make_disk(const struct node *node, uint64_t seed, struct node *keeper)
{
    const struct fake_disk_options options = {
        .block_size_bytes = node->profile->block_size_bytes,
        .segment_size_bytes = (uint64_t)node->profile->segment_blocks * node->profile->block_size_bytes,
        .seed = seed,
        .retired = keeper == NULL ? NULL : keep_segment,
        .context = keeper,
    };
    return fake_disk_create(&options);
}

/* What an older version counted is not known; and what another check is to notice of a planted bug is left to that. */
static bool compares_states(const struct profile *profile, enum plant plant)
{
    return !profile->begins_old && (plant == PLANT_none || plant == PLANT_evicted_forgets || plant == PLANT_apply_reads_clock ||
                                    plant == PLANT_row_not_written || plant == PLANT_positions_lost);
}

void node_create(struct node *node, uint16_t number, const struct profile *profile, const struct shard_options *options,
                 enum plant plant, uint64_t seed)
{
    *node = (struct node){.number = number, .profile = profile, .options = *options, .plant = plant, .dice = {seed ^ 0xb06}};
    if (compares_states(profile, plant)) node->states = states_create();
    node->disk = make_disk(node, seed, node);
    node->store = fake_store_create(seed + 1);
    fake_disk_set_lying(node->disk, plant == PLANT_ack_before_durable);
    fake_disk_set_deceits(node->disk, disk_deceits(plant));
    fake_store_set_deceits(node->store, store_deceits(plant));
    fake_store_set_keeps(node->store, keeps, node);
    fake_store_set_alters(node->store, alters_put, node);
    node->options.machine.shard = number;
    node->options.metrics = &node->metrics;
    node->options.disk = fake_disk_base(node->disk);
    node->options.store = fake_store_base(node->store);
}

void node_clone(struct node *clone, const struct node *node)
{
    ASSERT(node->shard == NULL);
    *clone = (struct node){.number = node->number, .profile = node->profile, .options = node->options};
    clone->disk = fake_disk_clone(node->disk);
    clone->store = fake_store_clone(node->store);
    clone->options.metrics = &clone->metrics;
    clone->options.disk = fake_disk_base(clone->disk);
    clone->options.store = fake_store_base(clone->store);
    clone->options.store_applied_index = fake_store_applied(clone->store);
    clone->options.log_made_before = true;
}

void node_close_clone(struct node *clone)
{
    if (clone->shard != NULL) shard_close(clone->shard);
    clone->shard = NULL;
}

void node_destroy(struct node *node)
{
    ASSERT(node->shard == NULL);
    fake_disk_destroy(node->disk);
    fake_store_destroy(node->store);
    for (uint32_t i = 0; i < node->kept_count; i++) free(node->kept[i].bytes);
    free(node->kept);
    if (node->states != NULL) states_destroy(node->states);
}

/* ---- lives ------------------------------------------------------------------------------------------------------------ */

/* What the store says it holds; with a planted bug that is not what it holds. */
static void claim_index(struct node *node, uint64_t durable, uint64_t last)
{
    if (node->plant == PLANT_no_watermark) fake_store_claim(node->store, durable);
    if (node->plant == PLANT_not_a_prefix) fake_store_claim(node->store, last);
}

/* What had run by the time of the crash is there up to some batch that chance picks, at least up to the durable one. Then what was
 * queued runs to its end first, on a state that will be taken back, because only so the shard gets its memory back. */
static void crash_store(struct node *node, struct dice *dice)
{
    fake_store_set_deceits(node->store, 0); /* what it said before is over: it is asked what is so */
    uint64_t durable = store_durable_index(fake_store_base(node->store)), last = fake_store_written(node->store);
    fake_store_set_deceits(node->store, store_deceits(node->plant));
    uint64_t index = durable + dice_below(dice, (uint32_t)(last - durable) + 1);
    if (node->plant == PLANT_ack_before_durable) index = durable; /* or the store would have more than the log, which is too easy */
    while (fake_store_run(node->store) || fake_store_answer(node->store)) continue;
    fake_store_crash_to(node->store, node->plant == PLANT_no_watermark ? last : index, NULL);
    claim_index(node, durable, last);
}

bool node_open(struct node *node, struct dice *dice, bool broken)
{
    ASSERT(node->shard == NULL);
    char text[512] = "";
    uint64_t replayed = 0;
    memset(&node->metrics, 0, sizeof node->metrics);
    node->options.store_applied_index = fake_store_applied(node->store);
    const uint32_t how = dice_below(dice, 3);
    if (broken && how == 0) fake_disk_break_after(node->disk, dice_below(dice, 12));
    if (broken && how == 1) fake_store_break_after(node->store, dice_below(dice, 40));
    if (broken && how == 2) fake_disk_fail_read(node->disk, dice_below(dice, 8));
    enum result result = shard_open(&node->shard, &node->options, &replayed, text, sizeof text);
    TRACE("shard %u opens at %lu: %s, %lu commands replayed%s%s", node->number, (unsigned long)node->options.store_applied_index,
          result_text(result), (unsigned long)replayed, text[0] == '\0' ? "" : ": ", text);
    const bool read_failed = fake_disk_read_failed(node->disk);
    fake_disk_mend(node->disk);
    fake_disk_no_faults(node->disk);
    fake_store_mend(node->store);
    EXPECT(!read_failed || result == RESULT_IO, "shard %u cannot read its log, and that is %s", node->number, result_text(result));
    if (result == RESULT_OK) node_note_state(node);
    if (result == RESULT_OK) return true;
    EXPECT(broken, "shard %u does not open: %s (%s)", node->number, text, result_text(result));
    if (read_failed) fake_disk_kill(node->disk);
    else fake_disk_crash(node->disk);
    crash_store(node, dice);
    return false;
}

void node_crash(struct node *node, struct dice *dice, bool power_lost)
{
    if (power_lost) fake_disk_crash(node->disk);
    else fake_disk_kill(node->disk);
    crash_store(node, dice);
    shard_close(node->shard);
    node->shard = NULL;
}

void node_end(struct node *node)
{
    ASSERT(node->shard == NULL);
    while (fake_store_run(node->store) || fake_store_answer(node->store)) continue;
    fake_store_flush(node->store);
    fake_store_crash_to(node->store, fake_store_written(node->store), NULL);
}

void node_copy_make(struct node_copy *copy, const struct node *node)
{
    ASSERT(node->shard == NULL);
    *copy = (struct node_copy){make_disk(node, 0, NULL), fake_store_create(0), node->kept_count,
                               node->states == NULL ? 0 : states_newest(node->states)};
    fake_disk_copy(copy->disk, node->disk);
    fake_store_copy(copy->store, node->store);
}

void node_copy_restore(const struct node_copy *copy, struct node *node)
{
    ASSERT(node->shard == NULL);
    fake_disk_copy(node->disk, copy->disk);
    fake_store_copy(node->store, copy->store);
    while (node->kept_count > copy->kept_count) free(node->kept[--node->kept_count].bytes);
    if (node->states != NULL) states_fall_back(node->states, copy->newest_state);
}

void node_copy_free(struct node_copy *copy)
{
    fake_disk_destroy(copy->disk);
    fake_store_destroy(copy->store);
}

/* ---- digests ---------------------------------------------------------------------------------------------------------- */

/* Where one batch ended and the next began is no part of the state, so messages and events are taken out of their blocks. */
struct digest {
    XXH3_state_t *state;
    struct store_view *view;
    uint64_t events_kept, user_id, room_id;
    uint64_t followed; /* number of the newest entry for followers; which are still kept is a matter of housekeeping */
    struct writer window; /* the entries of repeated sends, one after another ... */
    uint64_t window_end, window_from; /* ... their number once counted, and the number of the oldest that counts still */
    struct writer scratch;
};

static void digest_bytes(struct digest *digest, struct slice bytes)
{
    XXH3_64bits_update(digest->state, &bytes.len, sizeof bytes.len);
    if (bytes.len > 0) XXH3_64bits_update(digest->state, bytes.data, bytes.len);
}

static bool digest_record(void *context, uint64_t number, struct slice record)
{
    digest_bytes(context, slice_of(&number, sizeof number));
    digest_bytes(context, record);
    return true;
}

static void digest_timeline(struct digest *digest, uint64_t room_id)
{
    if (digest->room_id == room_id) return; /* another block of it */
    digest->room_id = room_id;
    digest_bytes(digest, slice_of(&room_id, sizeof room_id));
    enum result result = timeline_down(digest->view, room_id, UINT64_MAX, digest_record, digest);
    ASSERT(result == RESULT_OK);
}

/* What is certainly kept: when older entries go is a matter of housekeeping. */
static void digest_events(struct digest *digest, uint64_t user_id)
{
    if (digest->user_id == user_id) return;
    digest->user_id = user_id;
    digest_bytes(digest, slice_of(&user_id, sizeof user_id));
    uint64_t head = 0;
    enum result result = events_head(digest->view, user_id, &digest->scratch, &head);
    uint64_t first = head > digest->events_kept ? head - digest->events_kept + 1 : 1;
    if (result == RESULT_OK) result = events_scan(digest->view, user_id, first, digest_record, digest);
    ASSERT(result == RESULT_OK);
}

static void digest_window(struct digest *digest, struct slice block)
{
    struct cursor c = cursor_of(block);
    uint64_t first = cursor_u64(&c);
    digest->window_from = cursor_u64(&c);
    digest->window_end = first + cursor_left(&c) / sizeof(struct dedup_entry);
    writer_raw(&digest->window, c.at, cursor_left(&c));
}

/* Without the sums, which count the starts. */
static void digest_counters(struct digest *digest, struct slice value)
{
    struct meta_record meta;
    struct cursor c = cursor_of(value);
    bool read = meta_record_read(&meta, &c);
    ASSERT(read);
    const uint64_t counters[] = {meta.next_user, meta.next_room, meta.next_message, meta.last_id_ms};
    digest_bytes(digest, slice_of((const uint8_t *)counters, sizeof counters));
}

static bool digest_entry(void *context, struct slice key, struct slice value)
{
    struct digest *digest = context;
    switch (key.data[0]) {
    case KEY_OUTBOX: break;
    case KEY_REPEATS: digest_window(digest, value); break;
    case KEY_FOLLOWED: digest->followed = key_u64_at(key, 9); break;
    case KEY_INCARNATION: break; /* every start adds one */
    case KEY_DUE:
    case KEY_TIMER_COUNT:
    case KEY_ALARM: break; /* time goes on in between, and starts are times too: alarms.h */
    case KEY_META: digest_counters(digest, value); break;
    case KEY_MESSAGE: digest_timeline(digest, key_u64_at(key, 1)); break;
    case KEY_EVENT: digest_events(digest, key_u64_at(key, 1)); break;
    default:
        digest_bytes(digest, key);
        digest_bytes(digest, value);
    }
    return true;
}

static uint64_t digest_of(const struct node *node, struct fake_store *store)
{
    struct digest digest = {.state = XXH3_createState(), .view = fake_store_view(store), .events_kept = node->profile->inbox_events_min_ever};
    ASSERT(digest.state != NULL && fake_store_idle(store));
    XXH3_64bits_reset(digest.state);
    writer_init(&digest.window, 0);
    writer_init(&digest.scratch, 0);
    enum result result = store_scan(digest.view, SLICE_EMPTY, SLICE_EMPTY, digest_entry, &digest);
    ASSERT(result == RESULT_OK);
    digest_bytes(&digest, slice_of(&digest.followed, sizeof digest.followed));
    size_t len = (digest.window_end - digest.window_from) * sizeof(struct dedup_entry);
    ASSERT(len <= digest.window.len);
    if (len > 0) XXH3_64bits_update(digest.state, digest.window.data + digest.window.len - len, len);
    uint64_t value = XXH3_64bits_digest(digest.state);
    writer_deinit(&digest.window);
    writer_deinit(&digest.scratch);
    XXH3_freeState(digest.state);
    return value;
}

uint64_t node_digest(struct node *node) { return digest_of(node, node->store); }

static void copy_log(const struct node *node, struct fake_disk *disk)
{
    size_t size = (size_t)node->profile->segment_blocks * node->profile->block_size_bytes;
    struct disk *base = fake_disk_base(node->disk);
    uint64_t *numbers = NULL;
    uint32_t count = 0;
    enum result result = base->ops->list(base, &numbers, &count);
    ASSERT(result == RESULT_OK);
    for (uint32_t i = 0; i < node->kept_count; i++) fake_disk_put(disk, node->kept[i].number, node->kept[i].bytes, size);
    for (uint32_t i = 0; i < count; i++) fake_disk_put(disk, numbers[i], fake_disk_bytes(node->disk, numbers[i]), size);
    free(numbers);
}

uint64_t node_digest_of_log(struct node *node)
{
    struct metrics *metrics = calloc(1, sizeof *metrics);
    struct fake_disk *disk = make_disk(node, 0, NULL);
    struct fake_store *store = fake_store_create(0);
    copy_log(node, disk);
    fake_store_set_alters(store, alters_put, node);
    struct shard_options options = node->options;
    options.disk = fake_disk_base(disk);
    options.store = fake_store_base(store);
    options.store_applied_index = 0;
    options.metrics = metrics;
    struct shard *shard = NULL;
    char text[512] = "";
    uint64_t replayed = 0;
    enum result result = shard_open(&shard, &options, &replayed, text, sizeof text);
    EXPECT(result == RESULT_OK, "the whole log of shard %u cannot be applied: %s", node->number, text);
    shard_close(shard);
    uint64_t digest = digest_of(node, store);
    fake_store_destroy(store);
    fake_disk_destroy(disk);
    free(metrics);
    return digest;
}

/* ---- states ----------------------------------------------------------------------------------------------------------- */

void node_note_state(struct node *node)
{
    if (node->states != NULL) states_note(node->states, node);
}

void node_compare_states(struct node *node)
{
    if (node->states == NULL || node->shard == NULL || shard_damage(node->shard) != NULL) return;
    states_compare_loaded(node->states, node);
    struct fake_disk *log = make_disk(node, 0, NULL);
    copy_log(node, log);
    states_compare_twin(node->states, node, log);
    fake_disk_destroy(log);
}
