/* tests/sim/world.c - see world.h. The shards' ports, the letters between them, and the choice of what happens next. */
#include "sim/world.h"
#include "api/api.h"
#include "core/check.h"
#include "shard/domain/account/hashing.h"
#include "shard/domain/keys.h"
#include "shard/domain/methods.h"
#include "shard/engine/positions.h"
#include "shard/domain/records.h"
#include "shard/domain/delivery/session.h"
#include "sim/alarms.h"
#include "sim/audit.h"
#include "sim/doors.h"
#include "sim/faults.h"
#include "sim/guests.h"
#include "sim/letters.h"
#include "sim/oracle.h"
#include "sim/outsiders.h"
#include "sim/people.h"
#include "sim/place.h"
#include "sim/trial.h"
#include <stdio.h>
#include <stdlib.h>

#define STEP_NS_MAX 300000u               /* a step takes up to so long */
#define LEAP_NS 2000000000u               /* now and then nothing happens for a while */
#define ROUND_NS 20000000u                /* of a rest */
#define REST_ROUNDS_MAX 20000             /* a world that does not settle hangs */
#define WALL_BASE_MS 1700000000000u
#define CLOCK_AT_POWER_ON_MS 5000
#define APPLY_BUDGET_MAX 8
#define LOOK_MS 250u                      /* the owner of the trusted clock looks at the wall clock so often, or now and then later */
#define LEAP_DAYS_MAX 40
#define LETTERS_TAKEN_MAX 3
#define DOOR_TURNS_OF_REST 3
#define DUE_ROUNDS_MAX 100                /* of a rest, while a timer is due and nothing moves: the audit tells of it then */

/* ---- ports ------------------------------------------------------------------------------------------------------------ */

static uint64_t wall_ms(const struct world *w) { return world_right_ms(w) + (uint64_t)w->wall_error_ms; }

uint64_t world_now_ms(const struct world *w)
{
    if (w->plant == PLANT_clock_believed) return wall_ms(w);
    uint64_t now_ms = trusted_clock_at(&w->clock, w->now_ns / 1000000);
    return w->plant == PLANT_time_never_back && now_ms < w->clock_last_ms ? w->clock_last_ms : now_ms;
}

static uint64_t port_now_ms(void *context)
{
    struct world *w = context;
    w->clock_last_ms = world_now_ms(w);
    if (w->clock_last_ms > w->told_ms_max) w->told_ms_max = w->clock_last_ms;
    bool ahead = w->plant == PLANT_due_too_early && dice_one_in(&w->dice, 100);
    return w->clock_last_ms + (ahead ? 2000 : 0);
}

static uint64_t port_now_ns(void *context)
{
    const struct world *w = context;
    return w->ticking && w->plant == PLANT_never_overdue ? 0 : w->now_ns;
}

static void port_random(void *context, void *out, size_t len)
{
    struct world *w = context;
    uint8_t *bytes = out;
    for (size_t i = 0; i < len; i++) bytes[i] = (uint8_t)dice_next(&w->dice);
    if (w->plant == PLANT_same_start && len == sizeof(uint32_t)) memset(out, 0, len);
}

static void port_post(void *context, struct letter *letter)
{
    struct world *w = context;
    if (w->mute) {
        letter_free(letter);
    } else {
        doors_note_leaving(w, letter);
        letters_post(w, letter);
    }
}

static void port_reply(void *context, const struct letter *letter)
{
    struct world *w = context;
    if (w->mute) return;
    if (w->doors != NULL) doors_on_reply(w, letter);
    else people_on_reply(w, letter);
}

static enum result port_hash_password(void *context, struct password_job *job)
{
    struct world *w = context;
    if (w->mute || w->passwords_waiting >= w->profile.password_queue_max) return RESULT_BUSY;
    job->next = NULL;
    if (w->passwords_last != NULL) w->passwords_last->next = job;
    else w->passwords_first = job;
    w->passwords_last = job;
    w->passwords_waiting++;
    return RESULT_OK;
}

static bool port_session_bind(void *context, const struct origin *origin, struct session *session)
{
    struct world *w = context;
    if (w->mute) return false;
    return w->doors != NULL ? doors_on_bind(w, origin, session) : people_on_bind(w, origin, session);
}

static enum result port_session_send(void *context, struct session *session, struct slice head, struct buf *body, bool *above_soft)
{
    struct world *w = context;
    if (w->mute) return RESULT_OK;
    return w->doors != NULL ? doors_on_push(w, session, head, body, above_soft) : people_on_push(w, session, head, body, above_soft);
}

static void port_session_event(void *context, struct session *session, uint64_t sync_key, struct session_event *event)
{
    struct world *w = context;
    bool lost = w->plant == PLANT_last_push_lost && dice_one_in(&w->dice, 4);
    if (!w->mute && !lost) doors_on_event(w, session, sync_key, event);
}

static void port_session_room(void *context, struct session *session, struct session_frame *message)
{
    struct world *w = context;
    if (!w->mute) doors_on_room(w, session, message);
}

static void port_session_missed(void *context, struct session *session)
{
    struct world *w = context;
    if (!w->mute) doors_on_missed(w, session);
}

static void port_session_end(void *context, struct session *session, uint16_t close_code, const char *reason)
{
    struct world *w = context;
    if (w->mute) return;
    if (w->doors != NULL) doors_on_end(w, session, close_code, reason);
    else people_on_end(w, session, close_code, reason);
}

/* ---- passwords -------------------------------------------------------------------------------------------------------- */

/* What stands for argon2id: the password, spelled as one would not type it. */
static void hash_text(const char *password, char out[128])
{
    uint64_t hash = 14695981039346656037ull;
    for (; *password != '\0'; password++) hash = (hash ^ (uint8_t)*password) * 1099511628211ull;
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) out[i] = digits[hash >> (4 * i) & 15];
    out[16] = '\0';
}

static bool finish_password(struct world *w, enum result result)
{
    struct password_job *job = w->passwords_first;
    if (job == NULL) return false;
    w->passwords_first = job->next;
    if (w->passwords_first == NULL) w->passwords_last = NULL;
    w->passwords_waiting--;
    char hash[128];
    hash_text(job->password, hash);
    job->result = result;
    if (job->verify) job->fits = strcmp(hash, job->hash) == 0 || w->plant == PLANT_any_password;
    else memcpy(job->hash, hash, sizeof hash);
    job->done(job);
    return true;
}

/* ---- the clock -------------------------------------------------------------------------------------------------------- */

static void clock_doubt(struct world *w, bool may_be_wrong)
{
    if (w->clock_may_be_wrong == may_be_wrong) return;
    w->clock_may_be_wrong = may_be_wrong;
    w->clock_eras++;
    if (w->people != NULL) people_on_clock_era(w);
    TRACE("the trusted clock %s", may_be_wrong ? "may be wrong" : "is right");
}

/* What the world may expect of the trusted clock: nothing while a leap lasts so long that it is believed, or was there at the start; and
 * then until the right time has held for as long. */
static void clock_judge(struct world *w)
{
    uint64_t since_ms = (w->now_ns - w->error_changed_ns) / 1000000;
    uint64_t longest_look_ms = LEAP_NS / 1000000 + LOOK_MS;
    if (w->wall_error_ms != 0 && since_ms + longest_look_ms >= w->profile.clock_hold_ms) clock_doubt(w, true);
    if (w->wall_error_ms == 0 && since_ms >= w->profile.clock_hold_ms + 3 * longest_look_ms) clock_doubt(w, false);
}

static void clock_leap(struct world *w, int64_t error_ms)
{
    TRACE("the wall clock is wrong by %ld s", (long)(error_ms / 1000));
    report_hash_u64((uint64_t)error_ms, 0);
    w->wall_error_ms = error_ms;
    for (uint16_t i = 0; i < world_shard_count(w); i++) w->nodes[i].clock_is_wrong = error_ms != 0;
    w->error_changed_ns = w->now_ns;
}

static void clock_look(struct world *w)
{
    if (w->wall_error_ms != 0 && w->now_ns >= w->error_until_ns) clock_leap(w, 0);
    int64_t step_ms;
    (void)trusted_clock_observe(&w->clock, w->now_ns / 1000000, wall_ms(w), &step_ms);
    clock_judge(w);
}

/* For a moment, or for longer than it takes to be believed. */
static void clock_maybe_leap(struct world *w)
{
    if (!w->profile.clock_leaps || w->wall_error_ms != 0 || !dice_one_in(&w->dice, 2500)) return;
    int64_t hours = (int64_t)dice_between(&w->dice, 1, dice_one_in(&w->dice, 2) ? 24 * LEAP_DAYS_MAX : 3);
    bool is_long = dice_one_in(&w->dice, 3);
    uint64_t hold_ns = (uint64_t)w->profile.clock_hold_ms * 1000000;
    w->error_until_ns = w->now_ns + (is_long ? 2 * hold_ns : dice_below(&w->dice, (uint32_t)(hold_ns / 4000)) * 1000ull);
    clock_leap(w, dice_one_in(&w->dice, 2) ? -hours * 3600000 : hours * 3600000);
}

/* Until the machine's time synchronisation has come up. */
static void clock_begin_in_1970(struct world *w)
{
    if (!w->profile.no_battery || w->settling || w->wall_error_ms != 0) return;
    w->error_until_ns = w->now_ns + (uint64_t)w->profile.clock_hold_ms * 1000000;
    clock_leap(w, CLOCK_AT_POWER_ON_MS - (int64_t)world_right_ms(w));
}

/* A process that starts believes the wall clock. */
static void clock_start(struct world *w)
{
    trusted_clock_init(&w->clock, CLOCK_SKEW_MS, w->profile.clock_hold_ms, w->now_ns / 1000000, wall_ms(w));
    if (w->wall_error_ms != 0) clock_doubt(w, true);
    else if (w->now_ns > w->error_changed_ns) clock_doubt(w, false);
    w->clock_last_ms = 0;
}

/* ---- lives ------------------------------------------------------------------------------------------------------------ */

/* Planted bug: what a shard takes for new after a restart. */
static void renumber_after_restart(struct world *w)
{
    for (uint16_t from = 0; from < world_shard_count(w); from++)
        for (uint16_t to = 0; to < world_shard_count(w); to++)
            w->renumberings[from][to].count = (uint32_t)stream_applied(shard_machine(w->nodes[to].shard)->streams, from);
}

static void expect_positions_fit(const struct world *w)
{
    struct stream_set *streams[SHARDS_MAX];
    char text[256] = "";
    for (uint16_t i = 0; i < world_shard_count(w); i++)
        streams[i] = shard_damage(w->nodes[i].shard) == NULL ? shard_machine(w->nodes[i].shard)->streams : NULL;
    bool fit = positions_fit(streams, world_shard_count(w), text, sizeof text);
    EXPECT(fit, "%s", text);
}

static bool open_node(struct world *w, struct node *node, bool broken)
{
    alarms_begin_start();
    bool opened = node_open(node, &w->dice, broken);
    alarms_end_start(w, opened);
    return opened;
}

static void open_all(struct world *w, bool may_break)
{
    clock_start(w);
    w->lives++;
    if (!w->settling) profile_change_limits(&w->profile, &w->dice); /* else it is to come back as it was */
    for (uint16_t i = 0; i < world_shard_count(w); i++) {
        uint32_t tries = 0;
        w->nodes[i].options.machine = w->profile.machine;
        w->nodes[i].options.machine.shard = i;
        if (w->plant == PLANT_window_of_sends) w->nodes[i].options.machine.limits[LIMIT_REPEAT_WINDOW_MS] = 0;
        if (w->plant == PLANT_last_send_only) w->nodes[i].options.machine.limits[LIMIT_REPEATS_PER_SENDER] = 1;
        while (!open_node(w, &w->nodes[i], may_break && tries < 3 && dice_one_in(&w->dice, 4))) tries++;
    }
    expect_positions_fit(w);
    while (may_break && dice_one_in(&w->dice, 4)) place_break(w->place, &w->dice);
    faults_begin_start(w);
    if (w->plant == PLANT_repeats_applied) renumber_after_restart(w);
    doors_open(w);
}

/* Never farther than tokens forgive. */
static void step_clock_back(struct world *w)
{
    uint64_t now_ms = world_right_ms(w);
    if (now_ms < w->wall_latest_ms) return; /* it has not caught up yet */
    w->wall_latest_ms = now_ms;
    w->wall_base_ms -= dice_below(&w->dice, CLOCK_STEP_S_MAX * 1000);
    w->clock_steps++;
}

/* The process dies; what it had not done by then is lost with it. */
static void end_life(struct world *w, bool power_lost)
{
    w->mute = true;
    people_lose_connections(w);
    doors_lose(w);
    letters_lose(w);
    while (finish_password(w, RESULT_BUSY)) continue;
    for (uint16_t i = 0; i < world_shard_count(w); i++) node_crash(&w->nodes[i], &w->dice, power_lost);
    outsiders_lose_connections(w);
    faults_outlive(w);
    place_end(w->place, power_lost);
    EXPECT(buf_pool_used_bytes(w->pool) == 0, "%zu payload bytes are held by nobody", buf_pool_used_bytes(w->pool));
    w->mute = false;
}

static void crash(struct world *w, bool power_lost)
{
    TRACE("crash%s", power_lost ? ", power is lost" : "");
    report_hash_u64(ACTION_CRASH, power_lost);
    w->crashes++;
    end_life(w, power_lost);
    faults_repair(w, w->settling);
    w->mute = true;
    trial_missing_segments(w);
    w->mute = false;
    /* Clocks of a machine that lost power may be a little behind. */
    if (power_lost && w->profile.clock_steps_back && dice_one_in(&w->dice, 3)) step_clock_back(w);
    if (power_lost) clock_begin_in_1970(w);
    open_all(w, true);
    if (dice_one_in(&w->dice, 4)) crash(w, true); /* before anybody came back */
}

/* ---- a rest ----------------------------------------------------------------------------------------------------------- */

static bool shard_is_still(const struct world *w, uint16_t i)
{
    const struct node *node = &w->nodes[i];
    return shard_idle(node->shard) && shard_quiet(node->shard) && fake_store_idle(node->store) &&
           fake_disk_pending(node->disk) == 0 && stream_waiting(shard_machine(node->shard)->streams) == 0;
}

static bool is_still(const struct world *w)
{
    for (uint16_t to = 0; to < world_shard_count(w); to++) {
        if (!shard_is_still(w, to)) return false;
        if (letters_under_way(w, to)) return false;
    }
    return w->passwords_first == NULL;
}

static bool maintain(struct node *node)
{
    struct commitlog *log = shard_log(node->shard);
    bool wanted = log != NULL && commitlog_wants_maintenance(log);
    if (wanted) commitlog_maintain(log);
    return wanted;
}

static void tick_shard(struct world *w, struct node *node)
{
    w->ticking = true;
    shard_tick(node->shard);
    w->ticking = false;
}

static void turn_shard(struct world *w, uint16_t i)
{
    struct node *node = &w->nodes[i];
    fake_disk_complete(node->disk);
    while (fake_store_run(node->store)) continue;
    while (fake_store_answer(node->store)) continue;
    while (letters_deliver(w, i, 1)) continue;
    shard_apply(node->shard, APPLY_BUDGET_MAX);
    node_note_state(node);
    shard_flush(node->shard);
    if (!w->comparing) tick_shard(w, node); /* which may end a session */
    doors_tick(w, i);
    for (uint32_t turns = 0; w->doors != NULL && turns < DOOR_TURNS_OF_REST; turns++) doors_turn(w, i);
    while (maintain(node)) continue;
    letters_publish(w, i);
}

static void round_of_turns(struct world *w)
{
    report.step++;
    w->now_ns += ROUND_NS;
    clock_look(w);
    people_end_overdue(w);
    while (finish_password(w, RESULT_OK)) continue;
    for (uint16_t i = 0; i < world_shard_count(w); i++) turn_shard(w, i);
}

static void explain_unrest(const struct world *w)
{
    for (uint16_t i = 0; i < world_shard_count(w); i++)
        if (!shard_is_still(w, i))
            printf("# shard %u: idle %d, quiet %d, store idle %d, disk writes %u, stream entries waiting %lu\n", i,
                   shard_idle(w->nodes[i].shard), shard_quiet(w->nodes[i].shard), fake_store_idle(w->nodes[i].store),
                   fake_disk_pending(w->nodes[i].disk), (unsigned long)stream_waiting(shard_machine(w->nodes[i].shard)->streams));
    people_explain(w);
}

/* Turns until nothing is under way and, `with_people`, everybody has what they wanted. */
static void settle(struct world *w, bool with_people)
{
    uint32_t patience = DUE_ROUNDS_MAX;
    for (uint32_t round = 0; round < REST_ROUNDS_MAX; round++) {
        bool content = !with_people || (w->guests != NULL ? guests_pursue(w) : people_pursue(w));
        if (with_people) content &= outsiders_pursue(w);
        for (uint16_t i = 0; i < world_shard_count(w); i++) letters_publish(w, i);
        if (is_still(w) && content && (!alarms_are_due(w) || --patience == 0)) return;
        round_of_turns(w);
    }
    if (report.plant == NULL) explain_unrest(w);
    report_fail("the world does not come to rest");
}

/* What was recovered is what was there. */
static void compare_lives(struct world *w)
{
    uint64_t before[SHARDS_MAX];
    for (uint16_t i = 0; i < world_shard_count(w); i++) before[i] = node_digest(&w->nodes[i]);
    crash(w, true);
    settle(w, false);
    bool other = record_first_lists_only || w->guests != NULL; /* in memory it knows more than it writes; a start sends wills */
    for (uint16_t i = 0; i < world_shard_count(w) && !other; i++) {
        EXPECT(node_digest(&w->nodes[i]) == before[i], "shard %u came back from a crash as another one", i);
        if (w->upgraded) continue; /* its store has rows as the older version wrote them */
        EXPECT(node_digest_of_log(&w->nodes[i]) == before[i], "shard %u is not what its log makes of an empty store", i);
    }
    audit(w);
    guests_audit_stored(w);
    alarms_audit(w);
}

static void rest(struct world *w, bool last)
{
    TRACE("rest");
    w->rests++;
    w->settling = true;
    faults_heal(w);
    if (w->damaged) crash(w, true);
    faults_retry_start(w);
    settle(w, true);
    for (uint16_t i = 0; i < world_shard_count(w); i++) node_compare_states(&w->nodes[i]);
    audit(w);
    guests_audit(w);
    outsiders_audit(w);
    alarms_audit(w);
    w->comparing = w->guests == NULL;
    if (w->comparing) people_compare(w);
    if (w->comparing) settle(w, true);
    w->comparing = false;
    if (last || w->profile.rests_with_crash) compare_lives(w);
    w->settling = false;
}

/* ---- a stop in good order --------------------------------------------------------------------------------------------- */

static bool all_quiet(const struct world *w)
{
    for (uint16_t i = 0; i < world_shard_count(w); i++)
        if (!shard_quiet(w->nodes[i].shard)) return false;
    return true;
}

/* What the shards do not have done by then stays undone: some of it is in the logs. */
static void stop_in_haste(struct world *w)
{
    for (uint32_t rounds = dice_below(&w->dice, 3); rounds > 0; rounds--) round_of_turns(w);
    for (uint16_t i = 0; i < world_shard_count(w); i++) shard_begin_close(w->nodes[i].shard);
    for (uint32_t rounds = 0; !all_quiet(w); rounds++) {
        EXPECT(rounds < REST_ROUNDS_MAX, "shards that are to close do not become quiet");
        round_of_turns(w);
    }
}

static void stop_at_leisure(struct world *w)
{
    settle(w, false);
    for (uint16_t i = 0; i < world_shard_count(w); i++) shard_begin_close(w->nodes[i].shard);
    EXPECT(all_quiet(w), "shards are idle and not quiet");
}

static void seal_logs(struct world *w)
{
    for (uint16_t i = 0; i < world_shard_count(w); i++) {
        struct node *node = &w->nodes[i];
        shard_seal(node->shard);
        fake_disk_complete(node->disk);
        const struct commitlog *log = shard_log(node->shard);
        /* Behind a batch that the full disk refused there may be whole records of which nobody was told. */
        node->sealed = log != NULL && commitlog_idle(log) && commitlog_is_sealed(log);
    }
    EXPECT(all_quiet(w), "a shard that was sealed is not quiet");
}

/* Those who are slow to go are left behind. */
static void close_doors(struct world *w)
{
    if (w->doors == NULL) return;
    doors_stop(w);
    for (uint32_t rounds = dice_below(&w->dice, 3) * 300; rounds > 0 && !doors_are_idle(w); rounds--) {
        guests_take_leave(w);
        round_of_turns(w);
    }
}

static void restart(struct world *w)
{
    bool haste = w->damaged || dice_one_in(&w->dice, 2);
    TRACE("restart%s", haste ? " in haste" : "");
    if (!haste || dice_one_in(&w->dice, 2)) {
        faults_heal(w);
        faults_retry_start(w);
    }
    faults_outlive(w);
    people_disconnect_all(w);
    close_doors(w);
    if (haste) stop_in_haste(w);
    else stop_at_leisure(w);
    seal_logs(w);
    w->restarts++;
    w->mute = true;
    people_lose_connections(w);
    doors_lose(w);
    letters_lose(w);
    for (uint16_t i = 0; i < world_shard_count(w); i++) {
        struct node *node = &w->nodes[i];
        shard_close(node->shard);
        node->shard = NULL;
        node_end(node);
    }
    outsiders_lose_connections(w);
    w->mute = false;
    if (dice_one_in(&w->dice, 2)) place_try_damage(w->place, &w->dice);
    faults_repair(w, false);
    w->mute = true;
    trial_rot(w);
    trial_older_part(w);
    w->mute = false;
    open_all(w, false);
    for (uint16_t i = 0; i < world_shard_count(w); i++)
        EXPECT(haste || w->nodes[i].options.store_applied_index == commitlog_durable_index(shard_log(w->nodes[i].shard)),
               "shard %u stopped in good order and has commands to apply", i);
}

/* ---- a copy of the server, and the server as it was ------------------------------------------------------------------- */

/* core/record.h: while it is set, records are written as by the version before. */
bool record_first_lists_only;

struct backup {
    struct node_copy nodes[SHARDS_MAX];
    struct oracle *oracle;
    struct roll *roll;
};

/* When nothing is under way, so that the oracle knows what is in it. */
static void back_up(struct world *w, struct backup *backup)
{
    TRACE("backup");
    rest(w, false);
    end_life(w, true);
    for (uint16_t i = 0; i < world_shard_count(w); i++) node_copy_make(&backup->nodes[i], &w->nodes[i]);
    backup->oracle = oracle_copy(w->oracle);
    backup->roll = people_call_roll(w->people);
    open_all(w, false);
    w->copy_life = w->lives;
}

static void restore(struct world *w, struct backup *backup)
{
    TRACE("restore");
    faults_heal(w);
    end_life(w, true);
    faults_repair(w, true);
    trial_forget(w); /* of a time that was not */
    for (uint16_t i = 0; i < world_shard_count(w); i++) {
        node_copy_restore(&backup->nodes[i], &w->nodes[i]);
        node_copy_free(&backup->nodes[i]);
    }
    oracle_destroy(w->oracle);
    w->oracle = backup->oracle;
    people_fall_back(w, backup->roll);
    outsiders_fall_back(w);
    people_free_roll(backup->roll);
    open_all(w, false);
    w->restore_life = w->lives;
}

/* ---- another version -------------------------------------------------------------------------------------------------- */

/* Planted bug: what the older version did not write is not taken for nothing. */
static bool misread_inbox(void *context, struct slice key, struct slice value, struct writer *out)
{
    (void)context;
    struct inbox_record record;
    struct cursor c = cursor_of(value);
    if (key.data[0] != KEY_INBOX || value.data[0] != 1) return false;
    bool read = inbox_record_read(&record, &c);
    ASSERT(read);
    uint8_t list[12] = {0xff, 0xff, 0xff, 0xff, 1}; /* its stream began in some later start */
    record.incarnations = slice_of(list, sizeof list);
    inbox_record_write(out, &record);
    return true;
}

/* The next life is of this version, on what the older one left: records without what they have grown by, in stores and logs. */
static void upgrade(struct world *w)
{
    TRACE("upgrade");
    faults_heal(w);
    end_life(w, true);
    record_first_lists_only = false;
    oracle_forget_joining(w->oracle);
    for (uint16_t i = 0; i < world_shard_count(w); i++) {
        fake_store_flush(w->nodes[i].store);
        if (w->plant == PLANT_grown_misread) fake_store_rewrite(w->nodes[i].store, misread_inbox, NULL);
    }
    w->upgraded = true;
    open_all(w, false);
}

/* ---- one step --------------------------------------------------------------------------------------------------------- */

static bool run_store(struct world *w, struct node *node)
{
    if (!faults_let_run(w, node)) return false;
    if (w->plant == PLANT_stale_reads && fake_store_overtake(node->store)) return true;
    return fake_store_run(node->store);
}

static bool apply(struct world *w, struct node *node)
{
    bool applied = shard_apply(node->shard, dice_between(&w->dice, 1, APPLY_BUDGET_MAX)) > 0;
    node_note_state(node);
    return applied;
}

static void flush_store(struct world *w, struct node *node)
{
    if (!faults_let_run(w, node)) return;
    if (!w->profile.slow_flushes) fake_store_flush(node->store);
    else if (!fake_store_end_flush(node->store)) fake_store_begin_flush(node->store);
}

/* What one shard, or what is under it, does by itself; false when there is nothing to do. */
static bool act_on(struct world *w, enum action action, struct node *node)
{
    switch (action) {
    case ACTION_DISK: return fake_disk_complete(node->disk);
    case ACTION_STORE_RUN: return run_store(w, node);
    case ACTION_STORE_ANSWER: return fake_store_answer(node->store);
    case ACTION_STORE_FLUSH: flush_store(w, node); return true;
    case ACTION_COMPACT: return faults_let_run(w, node) && fake_store_compact(node->store, dice_next(&w->dice));
    case ACTION_APPLY: return apply(w, node);
    case ACTION_FLUSH: shard_flush(node->shard); return true;
    case ACTION_TICK:
        tick_shard(w, node);
        doors_tick(w, node->number);
        return true;
    case ACTION_DOOR: return doors_turn(w, node->number);
    case ACTION_MAINTAIN: return maintain(node);
    case ACTION_FULL: faults_fill(w, node); return true;
    case ACTION_STALL: faults_stall(w, node); return true;
    case ACTION_BREAK: faults_break(w, node); return true;
    case ACTION_DAMAGE: faults_damage(w, node); return true;
    case ACTION_DELIVER: return letters_deliver(w, node->number, dice_between(&w->dice, 1, LETTERS_TAKEN_MAX));
    case ACTION_PUBLISH: letters_publish(w, node->number); return true;
    case ACTION_ALARM: alarms_act(w, node); return true;
    case ACTION_PASSWORD:
    case ACTION_CLIENT:
    case ACTION_READ:
    case ACTION_CRASH:
    case ACTION_RESTART:
    case ACTION_REST:
    case ACTION_COUNT: break;
    }
    return true;
}

static void act(struct world *w, enum action action)
{
    uint16_t count = world_shard_count(w), start = (uint16_t)dice_below(&w->dice, count);
    switch (action) {
    case ACTION_PASSWORD: finish_password(w, RESULT_OK); return;
    case ACTION_CLIENT: (w->guests != NULL ? guests_act : people_act)(w); return;
    case ACTION_READ: (w->guests != NULL ? guests_read : people_read)(w); return;
    case ACTION_CRASH: crash(w, dice_one_in(&w->dice, 2)); return;
    case ACTION_RESTART: restart(w); return;
    case ACTION_REST: rest(w, false); return;
    case ACTION_DELIVER:
    case ACTION_PUBLISH:
    case ACTION_DISK:
    case ACTION_STORE_RUN:
    case ACTION_STORE_ANSWER:
    case ACTION_STORE_FLUSH:
    case ACTION_APPLY:
    case ACTION_FLUSH:
    case ACTION_TICK:
    case ACTION_MAINTAIN:
    case ACTION_COMPACT:
    case ACTION_FULL:
    case ACTION_STALL:
    case ACTION_BREAK:
    case ACTION_DAMAGE:
    case ACTION_DOOR:
    case ACTION_ALARM:
    case ACTION_COUNT: break;
    }
    for (uint16_t i = 0; i < count; i++)
        if (act_on(w, action, &w->nodes[(start + i) % count])) return;
}

static void step(struct world *w)
{
    uint32_t total = 0;
    for (uint32_t i = 0; i < ACTION_COUNT; i++) total += w->profile.weights[i];
    uint32_t at = dice_below(&w->dice, total), action = 0;
    while (at >= w->profile.weights[action]) at -= w->profile.weights[action++];
    report.step++;
    uint64_t before_ns = w->now_ns;
    w->now_ns += dice_one_in(&w->dice, 600) ? LEAP_NS : dice_below(&w->dice, STEP_NS_MAX);
    if (w->profile.clock_steps_back && dice_one_in(&w->dice, 5000)) step_clock_back(w);
    clock_maybe_leap(w);
    if (w->now_ns / 1000000 / LOOK_MS != before_ns / 1000000 / LOOK_MS) clock_look(w);
    if (w->now_ns / 1000000000 != before_ns / 1000000000) {
        faults_retry_start(w);
        people_end_overdue(w);
    }
    if (faults_end_process(w, act, (enum action)action)) crash(w, dice_one_in(&w->dice, 3));
    faults_expect_shut(w);
    if (w->profile.outsiders > 0 && dice_one_in(&w->dice, 4)) outsiders_act(w);
}

/* ---- a whole run ------------------------------------------------------------------------------------------------------ */

static const struct shard_ports ports = {.now_ms = port_now_ms,
                                         .now_ns = port_now_ns,
                                         .random = port_random,
                                         .post = port_post,
                                         .reply = port_reply};

static const struct domain_ports domain_ports_of_world = {.hash_password = port_hash_password,
                                                          .session_bind = port_session_bind,
                                                          .session_send = port_session_send,
                                                          .session_event = port_session_event,
                                                          .session_room = port_session_room,
                                                          .session_missed = port_session_missed,
                                                          .session_end = port_session_end};

struct world *world_create(uint64_t seed, enum plant plant)
{
    struct world *w = calloc(1, sizeof *w);
    ASSERT(w != NULL);
    w->dice.state = seed * 0x9e3779b97f4a7c15ull + 1;
    w->profile = profile_roll(&w->dice, plant);
    w->plant = plant;
    w->now_ns = 1000000000;
    w->wall_base_ms = WALL_BASE_MS;
    enum result result = buf_pool_create(&w->pool, w->profile.pool_size_bytes);
    if (result == RESULT_OK) result = token_keys_create(&w->keys);
    if (result == RESULT_OK) result = token_keys_add(w->keys, "sim", SLICE_TEXT("a secret of thirty-two bytes, or more"));
    ASSERT(result == RESULT_OK);
    w->setup = (struct domain_setup){.options = w->profile.options, .ports = domain_ports_of_world};
    w->setup.ports.context = w;
    struct shard_options options = {.machine = w->profile.machine,
                                    .limits = w->profile.limits,
                                    .ports = ports,
                                    .setup = &w->setup,
                                    .log_pending_max_bytes = w->profile.log_pending_max_bytes,
                                    .pool = w->pool,
                                    .token_keys = w->keys};
    options.ports.context = w;
    for (uint16_t i = 0; i < world_shard_count(w); i++)
        node_create(&w->nodes[i], i, &w->profile, &options, plant, dice_next(&w->dice));
    record_first_lists_only = w->profile.begins_old;
    letters_create(w);
    w->oracle = oracle_create(w);
    alarms_begin(w);
    w->people = people_create(w);
    w->outsiders = outsiders_create(w);
    w->place = place_create(world_shard_count(w), plant, seed);
    if (w->profile.guests > 0) w->doors = doors_create(w);
    if (w->profile.guests > 0) w->guests = guests_create(w);
    open_all(w, true);
    return w;
}

void world_destroy(struct world *w)
{
    people_disconnect_all(w);
    settle(w, false);
    people_lose_connections(w);
    w->mute = true;
    doors_lose(w);
    w->mute = false;
    for (uint16_t i = 0; i < world_shard_count(w); i++) {
        shard_close(w->nodes[i].shard);
        w->nodes[i].shard = NULL;
        node_destroy(&w->nodes[i]);
    }
    for (uint32_t from = 0; from < SHARDS_MAX; from++)
        for (uint32_t to = 0; to < SHARDS_MAX; to++) free(w->renumberings[from][to].source_index);
    letters_destroy(w);
    people_destroy(w->people);
    outsiders_destroy(w->outsiders);
    trial_forget(w);
    oracle_destroy(w->oracle);
    place_destroy(w->place);
    guests_destroy(w->guests);
    doors_destroy(w->doors);
    token_keys_destroy(w->keys);
    EXPECT(buf_pool_used_bytes(w->pool) == 0, "%zu payload bytes are held by nobody", buf_pool_used_bytes(w->pool));
    buf_pool_destroy(w->pool);
    free(w);
}

static void steps_of(struct world *w, uint32_t steps)
{
    for (uint32_t i = 0; i < steps; i++) step(w);
}

uint64_t world_run(struct world *w, uint32_t steps)
{
    if (w->profile.begins_old) {
        steps_of(w, steps / 2);
        upgrade(w);
    }
    steps_of(w, steps * w->profile.length);
    if (w->profile.restored) {
        struct backup backup;
        back_up(w, &backup);
        steps_of(w, steps / 6); /* so that the streams come as far again, and farther */
        restore(w, &backup);
        steps_of(w, steps / 2);
    }
    rest(w, true);
    return report.hash;
}
