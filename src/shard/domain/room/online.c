/* shard/domain/room/online.c - large rooms of a user who came online: listed, so that their messages are pushed.
 * Happy path: first session -> the user's conversations are read on the storage thread -> each large room is listed in the roster. What went
 * by meanwhile was not pushed: then the sessions are told to sync. */
#include "shard/domain/room/online.h"
#include "shard/domain/delivery/delivery.h"
#include "shard/domain/room/conversation.h"
#include "shard/domain/room/view.h"
#include "shard/engine/memory.h"
#include "shard/engine/request.h"

struct roster_job {
    struct store_job job;
    struct shard *shard;
    struct inbox *inbox; /* pinned by the job */
    uint32_t membership_changes;
    uint64_t room_pushes; /* of the shard, when the job was first submitted */
    bool again;           /* read a second time: a sync asked meanwhile has read before it */
    struct store_view *view;
    uint16_t number;     /* of the shard */
    struct writer rooms; /* u64 room id, u64 head as read; the large ones */
};

static bool roster_each(void *context, struct slice key, struct slice value)
{
    struct roster_job *job = context;
    struct conversation_row row;
    struct writer scratch;
    writer_init(&scratch, 0);
    if (conversation_row_read(&row, job->view, job->number, key, value, &scratch) == RESULT_OK && row.snapshot.large != 0) {
        writer_u64(&job->rooms, row.room_id);
        writer_u64(&job->rooms, row.head_seq);
    }
    writer_deinit(&scratch);
    return true;
}

static void roster_run(struct store_job *base, struct store_view *view) /* storage thread */
{
    struct roster_job *job = CONTAINER_OF(base, struct roster_job, job);
    uint64_t user_id = job->inbox->entity.key.a;
    struct key from = key_one(KEY_CONVERSATION, user_id), until = key_after(KEY_CONVERSATION, user_id);
    job->view = view;
    /* An unreadable store shows itself to the loads of this user's requests; here it only costs pushes. */
    enum result result = store_scan(view, key_slice(&from), key_slice(&until), roster_each, job);
    (void)result;
}

/* Has the room got a message since the job read its head? It was not pushed to the inbox, which was not listed yet. */
static bool roster_missed(struct shard *s, const struct roster_job *job, uint64_t room_id, uint64_t head_seq)
{
    struct entity *view = entity_find(shard_machine(s)->entities, (struct entity_key){.a = room_id, .kind = ENTITY_VIEW});
    bool here = id_partition(room_id) == job->number; /* else its head was not read */
    if (view == NULL || job->again || !here) return delivery_of(shard_machine(s))->room_pushes != job->room_pushes; /* perhaps: a sync too many does no harm */
    return view_of(view)->head_seq > head_seq;
}

static void roster_list(struct shard *s, struct roster_job *job)
{
    struct cursor c = cursor_of(writer_slice(&job->rooms));
    bool missed = false;
    while (cursor_left(&c) > 0) {
        uint64_t room_id = cursor_u64(&c), head_seq = cursor_u64(&c);
        roster_add(delivery_of(shard_machine(s))->roster, room_id, job->inbox);
        missed |= roster_missed(s, job, room_id, head_seq);
    }
    if (!missed) return;
    for (struct session *session = job->inbox->sessions, *next; session != NULL; session = next) {
        next = session->next;
        session_miss_room(session);
    }
}

static void roster_done(struct store_job *base)
{
    struct roster_job *job = CONTAINER_OF(base, struct roster_job, job);
    struct shard *s = job->shard;
    if (job->inbox->sessions != NULL && job->inbox->membership_changes != job->membership_changes) {
        writer_reset(&job->rooms); /* joined or left meanwhile: what was read may be wrong, read again */
        job->membership_changes = job->inbox->membership_changes;
        job->again = true;
        shard_submit(s, &job->job);
        return;
    }
    if (job->inbox->sessions != NULL) roster_list(s, job);
    struct entity *inbox = &job->inbox->entity;
    entity_unpin(shard_machine(s)->entities, &inbox);
    writer_deinit(&job->rooms);
    free(job);
    shard_end_job(s);
}

void online_session_opened(struct session *session)
{
    struct shard *s = session->shard;
    struct inbox *inbox = session->inbox;
    bool first = session->next == NULL;
    if (!first || inbox->room_count == 0) return;
    struct roster_job *job = memory_alloc(sizeof *job);
    job->shard = s;
    job->inbox = inbox;
    job->number = shard_number(s);
    job->membership_changes = inbox->membership_changes;
    job->room_pushes = delivery_of(shard_machine(s))->room_pushes;
    job->job.run = roster_run;
    job->job.done = roster_done;
    job->job.loads = true;
    writer_init(&job->rooms, 0);
    entity_pin(&inbox->entity);
    shard_begin_job(s);
    shard_submit(s, &job->job);
}
