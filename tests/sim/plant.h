/* tests/sim/plant.h - bugs put into what surrounds the engine, each one that the engine itself could have. A simulator that does not
 * notice them would not notice the engine's either.
 * Thread: one.  Depends: nothing.  Start at: sim/world.h */
#ifndef TESTS_SIM_PLANT_H
#define TESTS_SIM_PLANT_H

/*    NAME                 what it stands for */
#define PLANT_LIST(X)                                                                                                  \
    X(ack_before_durable, "answers leave before the log is on the disk: the disk reports writes that it only cached")  \
    X(no_watermark, "the store does not keep its applied index: after a crash it holds more than it says")             \
    X(not_a_prefix, "the store is no prefix of the log: after a crash it holds less than it says")                     \
    X(reused_ids, "id counters are not stored: ids are given twice after a restart")                                   \
    X(reused_seq, "the newest row of a timeline is sometimes lost: its seq is given again")                            \
    X(repeats_applied, "stream entries sent again after a restart are not dropped")                                    \
    X(gap_ignored, "what comes behind lost stream entries is taken for what comes next")                               \
    X(never_asked_again, "nobody asks a shard of which nothing is heard any more, and nothing is sent again")          \
    X(never_overdue, "questions to other shards wait for their answers for ever")                                      \
    X(overflow_lost, "a letter is lost when there are more under way than the mailbox is made for")                    \
    X(window_forgotten, "repeated sends are not recognized after a restart")                                           \
    X(stale_reads, "reads of the store overtake the batches written before them")                                      \
    X(events_lost, "an inbox entry is sometimes not stored")                                                           \
    X(marks_lost, "a read mark is sometimes not stored")                                                               \
    X(members_lost, "a member row is sometimes not stored")                                                            \
    X(history_shown, "a member row does not say since when: the room's shard shows newcomers everything")              \
    X(last_message_shown, "a conversation does not say since when: the list shows newcomers what was said last")       \
    X(renames_lost, "that somebody has another display name is not stored")                                            \
    X(revocations_lost, "a device row is sometimes not stored")                                                        \
    X(same_start, "the random number of every start is the same: a restored server is not noticed")                   \
    X(never_sealed, "the log of a stop in order has no seal: what rots at its end is cut as if it had been torn")           \
    X(newest_unnoted, "nobody notes which segment of a log is the newest: what no other shard knows of may be missing") \
    X(never_compared, "nobody compares the positions of the shards' streams: the newest part of one may be missing")    \
    X(damage_unseen, "a damaged block reads as if nothing were there")                                                  \
    X(any_directory, "nobody looks whose directory it is that stands for a shard")                                     \
    X(grown_misread, "what a record grew by is not empty when an older version wrote it")                              \
    X(any_password, "every password fits")                                                                             \
    X(window_of_sends, "what is promised does not go round again: the window of repeats counts everybody's sends")    \
    X(last_send_only, "of somebody's sends only the last is kept from what others push out")                           \
    X(properties_ignored, "a message sent again with other properties is taken for the same") \
    X(clock_believed, "every step of the wall clock is followed at once")                                              \
    X(time_never_back, "what a clock that was ahead has said stays the time until that time has come")                 \
    X(sync_error_ignored, "a log write that failed counts as durable")                                                 \
    X(sync_error_believed, "what a failed sync left is taken for durable by the next start, because it can be read")    \
    X(read_error_is_the_end, "a log that cannot be read ends there")                                                   \
    X(never_full, "a log write that found no room counts as durable")                                                  \
    X(start_not_shut, "writes are served though the start could not be written down")                                  \
    X(flush_believed, "a flush of the store counts as durable as soon as it begins, and the log is recycled")           \
    X(held_back_lost, "what the store held back on a full disk is not written when there is room")                     \
    X(store_error_swallowed, "a batch that the store failed to write is dropped, and the log is recycled")              \
    X(trimmed_too_much, "a compaction lets go of the first row that a trim leaves")                                    \
    X(acks_not_logged, "an acknowledgement of stream entries deletes them outside the log")                            \
    X(follower_ahead, "a follower acknowledges what it has not done yet")                                              \
    X(entry_retold, "an entry stands in the place of the next one: what happened is told twice, under two numbers")    \
    X(entries_lost, "what is kept for followers is sometimes not there: trimmed before all have acknowledged it")      \
    X(timer_twice, "that a timer has fired is not stored: after a crash it fires again")                                \
    X(timer_stepped_over, "a timer that is set while the clock is wrong is not stored")                                 \
    X(due_too_early, "timers are looked at by a clock that is two seconds ahead now and then")                              \
    X(evicted_forgets, "an inbox that was evicted and loaded again does not know when its user was last seen")         \
    X(apply_reads_clock, "what a command does depends on when it is applied")                                          \
    X(row_not_written, "a row has changed and is sometimes not written, and the state is taken for good")              \
    X(positions_lost, "the positions of a stream are sometimes not stored, and the state is taken for good")           \
    X(wrong_body, "a page gets another body than the one it asked for")                                                \
    X(gap_unseen, "the head of a large room is not told: what was lost on the way to a shard is missed by nobody")     \
    X(short_send_whole, "a send that took some of the bytes counts as one that took all")                              \
    X(overdue_unanswered, "a request that another shard does not answer is never answered")                            \
    X(late_reply_taken, "an answer that is late is taken for that to the newest request")                              \
    X(cursor_ahead, "a kept MQTT session stands one entry farther than what was acknowledged")                         \
    X(recent_lost, "a kept MQTT session does not say which packet ids were received")                                  \
    X(wills_lost, "a will is sometimes not stored")                                                                    \
    X(last_push_lost, "an event is sometimes not told to an MQTT session")                                             \
    X(files_not_synced, "the small files of the data directory are written and not synced")

#define PLANT_AS_ENUM(name, text) PLANT_##name,
enum plant { PLANT_none, PLANT_LIST(PLANT_AS_ENUM) PLANT_COUNT };
#undef PLANT_AS_ENUM

const char *plant_name(enum plant plant);

#endif
