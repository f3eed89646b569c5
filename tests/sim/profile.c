/* tests/sim/profile.c - limits small enough that all of them are reached: see profile.h. */
#include "shard/alarm.h"
#include "shard/domain/limits.h"
#include "sim/profile.h"
#include "core/check.h"

static uint32_t pick(struct dice *dice, const uint32_t *values, uint32_t count) { return values[dice_below(dice, count)]; }
#define PICK(dice, ...) pick(dice, (const uint32_t[]){__VA_ARGS__}, COUNT_OF(((const uint32_t[]){__VA_ARGS__})))

static struct machine_options roll_machine(struct dice *dice)
{
    return (struct machine_options){.domain = alarm_domain(),
                                    .shard_count = (uint16_t)dice_between(dice, 1, SHARDS_MAX),
                                    .limits[LIMIT_ROOM_MEMBERS_MAX] = dice_between(dice, 3, 9),
                                    .limits[LIMIT_FANOUT_THRESHOLD] = PICK(dice, 0, 2, 3, 3, 4, 100),
                                    .limits[LIMIT_INBOX_EVENTS_MAX] = PICK(dice, 16, 40, 100000, 100000),
                                    .limits[LIMIT_DEVICES_PER_USER_MAX] = dice_between(dice, 2, 4),
                                    .limits[LIMIT_DEDUP_ENTRIES] = PICK(dice, DEDUP_CAPACITY_MIN, 100, 200, 1500),
                                    .limits[LIMIT_REPEAT_WINDOW_MS] = PICK(dice, 60000, 600000, 600000),
                                    .limits[LIMIT_REPEATS_PER_SENDER] = PICK(dice, 16, 40, 1024),
                                    .limits[LIMIT_LARGE_TOLD] = PICK(dice, 0, 1, 1, 1),
                                    .entities_max = PICK(dice, 1, 6, 20, 60, 10000),
                                    .outbox_entries_max = PICK(dice, 1, 4, 16, 1000),
                                    .timers_resident_max = PICK(dice, 2, 3, 8, TIMERS_RESIDENT_MAX),
                                    .body_cache_bytes = PICK(dice, 0, 256, 4096, 1u << 20)};
}

static struct shard_limits roll_limits(struct dice *dice)
{
    return (struct shard_limits){.requests_parked_max = PICK(dice, 3, 6, 20, 1000),
                                 .store_backlog_max_bytes = PICK(dice, 1000, 8000, 100000, 1000000),
                                 .page_cost_max = 128u << 10,
                                 .clock_skew_max_ms = CLOCK_SKEW_MS};
}

static struct domain_options roll_options(struct dice *dice)
{
    bool rated = dice_one_in(dice, 4);
    return (struct domain_options){.body_size_max_bytes = 400,
                                   .rooms_per_user_max = PICK(dice, 3, 8, 30),
                                   .unanswered_max = PICK(dice, 0, 1, 3),
                                   .sessions_per_user_max = dice_between(dice, 1, 4),
                                   .messages_per_second = rated ? 20 : 0,
                                   .messages_burst = 5,
                                   .requests_per_second = rated ? 50 : 0,
                                   .requests_burst = 20,
                                   .access_token_ttl_s = PICK(dice, 3600, 3600, 60),
                                   .refresh_token_ttl_s = 86400,
                                   .token_leeway_s = 5,
                                   .refresh_grace_ms = PICK(dice, 0, 2000, 60000)};
}

static void roll_weights(struct profile *p, struct dice *dice)
{
    static const uint32_t typical[ACTION_COUNT] = {
        [ACTION_DELIVER] = 24, [ACTION_PUBLISH] = 16, [ACTION_DISK] = 14,  [ACTION_STORE_RUN] = 20, [ACTION_STORE_ANSWER] = 20,
        [ACTION_APPLY] = 16,   [ACTION_FLUSH] = 16, [ACTION_MAINTAIN] = 6,   [ACTION_PASSWORD] = 4,
        [ACTION_CLIENT] = 24,  [ACTION_READ] = 16,  [ACTION_TICK] = 2};
    /* Hundredths; some parts of the house are four times slower or faster than others. */
    for (uint32_t i = 0; i < ACTION_COUNT; i++) p->weights[i] = typical[i] * PICK(dice, 25, 100, 100, 100, 200, 400);
    p->weights[ACTION_STORE_FLUSH] = PICK(dice, 0, 10, 100, 1000);
    p->weights[ACTION_FULL] = PICK(dice, 0, 0, 10, 60);
    p->weights[ACTION_DAMAGE] = PICK(dice, 0, 0, 1, 3);
    p->weights[ACTION_STALL] = PICK(dice, 0, 0, 2, 10);
    p->weights[ACTION_BREAK] = PICK(dice, 0, 0, 5, 40);
    p->weights[ACTION_COMPACT] = PICK(dice, 0, 50, 300);
    p->weights[ACTION_CRASH] = PICK(dice, 0, 2, 5, 10, 30, 100);
    p->weights[ACTION_RESTART] = PICK(dice, 0, 0, 4);
    p->weights[ACTION_REST] = PICK(dice, 0, 3, 10);
    p->weights[ACTION_ALARM] = PICK(dice, 0, 50, 200, 600);
}

/* Everybody keeps the same number of his last sends, and half of the window is for that (shard/engine/dedup.h). */
static uint32_t repeats_kept(const struct profile *p)
{
    uint32_t share = p->machine.limits[LIMIT_DEDUP_ENTRIES] / 2 / p->users;
    return share < p->machine.limits[LIMIT_REPEATS_PER_SENDER] ? share : p->machine.limits[LIMIT_REPEATS_PER_SENDER];
}

static void note_limits(struct profile *p)
{
    const struct machine_options *m = &p->machine;
    uint32_t kept = repeats_kept(p);
    bool first = p->repeat_window_ms_ever == 0;
    if (first || p->repeats_kept_ever > kept) p->repeats_kept_ever = kept;
    if (first || p->repeat_window_ms_ever > m->limits[LIMIT_REPEAT_WINDOW_MS]) p->repeat_window_ms_ever = m->limits[LIMIT_REPEAT_WINDOW_MS];
    if (p->room_members_max_ever < m->limits[LIMIT_ROOM_MEMBERS_MAX]) p->room_members_max_ever = m->limits[LIMIT_ROOM_MEMBERS_MAX];
    if (p->devices_max_ever < m->limits[LIMIT_DEVICES_PER_USER_MAX]) p->devices_max_ever = m->limits[LIMIT_DEVICES_PER_USER_MAX];
    if (p->inbox_events_min_ever == 0 || p->inbox_events_min_ever > m->limits[LIMIT_INBOX_EVENTS_MAX]) p->inbox_events_min_ever = m->limits[LIMIT_INBOX_EVENTS_MAX];
}

void profile_change_limits(struct profile *p, struct dice *dice)
{
    if (!p->limits_change || !dice_one_in(dice, 3)) return;
    struct machine_options other = roll_machine(dice);
    other.shard_count = p->machine.shard_count;
    p->machine = other;
    note_limits(p);
}

/* A life long enough for the time of repeated sends to be over: more talk, fewer interruptions. */
static void make_long(struct profile *p)
{
    p->length = 10;
    p->talk_percent = 95;
    p->machine.shard_count = 1;
    p->segment_blocks = 200;
    p->options.messages_per_second = p->options.requests_per_second = 0;
    p->weights[ACTION_REST] = 0;
    p->weights[ACTION_CRASH] /= 10;
    p->weights[ACTION_RESTART] = 0;
    p->weights[ACTION_FULL] /= 10;
    p->weights[ACTION_BREAK] /= 10;
}

/* Somebody whose messages would push everybody else's out of the window of repeats. */
static void make_babbler(struct profile *p, struct dice *dice)
{
    p->has_babbler = true;
    p->length = 4;
    p->talk_percent = 85;
    p->limits_change = false;
    p->users = dice_between(dice, 2, 5);
    p->devices = dice_between(dice, 1, 2);
    p->machine.shard_count = 1;
    p->machine.limits[LIMIT_DEDUP_ENTRIES] = DEDUP_CAPACITY_MIN;
    p->options.messages_per_second = p->options.requests_per_second = 0;
    p->clock_leaps = false; /* which end what is promised */
    p->segment_blocks = 200;
    p->weights[ACTION_CRASH] /= 4;
    p->weights[ACTION_BREAK] /= 4;
    p->weights[ACTION_FULL] /= 10;
}

/* From dice of its own: a world without outsiders is what it would be if there were none in any. */
static void roll_outsiders(struct profile *p, struct dice own)
{
    own.state ^= 0xf0110;
    p->outsiders = PICK(&own, 0, 0, 1, 2, 3);
    p->limits.follower_backlog_max = PICK(&own, 15, 60, 1000000);
}

static void roll_battery(struct profile *p, struct dice own)
{
    own.state ^= 0xba77e;
    p->no_battery = p->clock_leaps && dice_one_in(&own, 2);
}

/* Some planted bugs show in few worlds: those are what they get. */
static bool babbler_shows(enum plant plant) { return plant == PLANT_window_of_sends || plant == PLANT_last_send_only; }
static bool guests_show(enum plant plant)
{
    return plant == PLANT_short_send_whole || plant == PLANT_overdue_unanswered || plant == PLANT_late_reply_taken ||
           plant == PLANT_cursor_ahead || plant == PLANT_recent_lost || plant == PLANT_wills_lost || plant == PLANT_last_push_lost;
}
static bool loss_shows(enum plant plant) { return plant == PLANT_never_asked_again || plant == PLANT_gap_ignored || plant == PLANT_never_overdue; }

/* Limits that do not end what guests are promised, and answers that fit between those of a connection. */
static void roll_guests(struct profile *p, enum plant plant, struct dice own)
{
    own.state ^= 0xd003;
    bool wanted = plant == PLANT_none ? dice_one_in(&own, 3) : guests_show(plant);
    if (p->has_babbler || p->length > 1 || !wanted) return;
    p->guests = 3;
    p->outsiders = 0;
    p->restored = p->begins_old = p->limits_change = p->clock_leaps = p->no_battery = false;
    p->machine.limits[LIMIT_INBOX_EVENTS_MAX] = 100000;
    p->machine.limits[LIMIT_DEVICES_PER_USER_MAX] = 4;
    p->machine.limits[LIMIT_DEDUP_ENTRIES] = 1500;
    p->machine.limits[LIMIT_REPEAT_WINDOW_MS] = 600000;
    p->machine.limits[LIMIT_REPEATS_PER_SENDER] = 1024;
    p->options.unanswered_max = 100;
    p->options.messages_per_second = p->options.requests_per_second = 0; /* a will that is one too many is not sent */
    p->options.sessions_per_user_max = 4;
    p->outbound_soft_bytes = PICK(&own, 2000, 20000);
    if (dice_one_in(&own, 2) || plant == PLANT_overdue_unanswered) {
        p->letters_lost = PICK(&own, 20, 100, 250);
        p->letters_again = PICK(&own, 20, 150);
        p->letters_late = PICK(&own, 20, 150);
    }
    p->outbound_hard_bytes = p->outbound_soft_bytes + (1u << 20);
    p->weights[ACTION_DOOR] = PICK(&own, 4000, 8000, 16000);
    p->weights[ACTION_CLIENT] = PICK(&own, 1000, 2000, 4000);
    p->weights[ACTION_READ] = PICK(&own, 3000, 6000, 12000);
    p->weights[ACTION_PASSWORD] = 1500;
    p->weights[ACTION_STORE_FLUSH] = PICK(&own, 0, 10, 100);
    p->weights[ACTION_CRASH] = PICK(&own, 0, 2, 5, 20);
}

struct profile profile_roll(struct dice *dice, enum plant plant)
{
    struct profile p = {.users = dice_between(dice, 2, USERS_MAX),
                        .devices = dice_between(dice, 1, DEVICES_MAX),
                        .block_size_bytes = PICK(dice, 512, 512, 4096),
                        .segment_blocks = PICK(dice, 6, 12, 40, 200),
                        .log_pending_max_bytes = PICK(dice, 4096, 16384, 1000000),
                        .letters_max = PICK(dice, 1, 3, 10, 1000),
                        .password_queue_max = dice_between(dice, 1, 4),
                        .machine = roll_machine(dice),
                        .limits = roll_limits(dice),
                        .options = roll_options(dice),
                        .pool_size_bytes = PICK(dice, 1u << 20, 1u << 20, 16384, 4096),
                        .talk_percent = PICK(dice, 25, 40, 70, 90),
                        .clock_steps_back = dice_one_in(dice, 4),
                        .clock_leaps = dice_one_in(dice, 3),
                        .clock_hold_ms = PICK(dice, 5000, 10000),
                        .slow_flushes = dice_one_in(dice, 2),
                        .rests_with_crash = dice_percent(dice, 70)};
    p.outbound_soft_bytes = PICK(dice, 500, 3000, 100000);
    p.outbound_hard_bytes = p.outbound_soft_bytes * PICK(dice, 2, 4);
    roll_weights(&p, dice);
    if (dice_one_in(dice, 3) || loss_shows(plant)) {
        p.letters_lost = PICK(dice, 0, 5, 50, 150);
        p.letters_again = PICK(dice, 0, 5, 50, 150);
        p.letters_late = PICK(dice, 0, 20, 100, 300);
    }
    p.limits_change = dice_one_in(dice, 4);
    p.restored = dice_one_in(dice, 4);
    p.begins_old = !p.restored && dice_one_in(dice, 4) && !babbler_shows(plant);
    if (p.restored) { /* nobody is reset for another reason */
        p.limits_change = false;
        p.machine.limits[LIMIT_INBOX_EVENTS_MAX] = 100000;
    }
    p.length = 1;
    if (!p.begins_old && dice_one_in(dice, 25)) make_long(&p);
    else if (!p.begins_old && (dice_one_in(dice, 5) || babbler_shows(plant))) make_babbler(&p, dice);
    note_limits(&p);
    roll_outsiders(&p, *dice);
    roll_battery(&p, *dice);
    roll_guests(&p, plant, *dice);
    if (p.begins_old) p.repeats_kept_ever = 0; /* the older version promises nothing that others cannot push out */
    return p;
}
