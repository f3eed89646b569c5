/* shard/domain/delivery/roster.c - an open-addressed map from room to the online inboxes of this shard. */
#include "shard/domain/delivery/roster.h"
#include "shard/domain/delivery/inbox.h"
#include "shard/engine/memory.h"

struct row {
    uint64_t room_id; /* 0: free; tombstones are not needed, removal shifts back */
    struct inbox **online;
    uint32_t count, capacity;
};

struct roster {
    struct row *rows;
    uint32_t row_count, used;
};

enum result roster_create(struct roster **out)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL) return RESULT_NOMEM;
    (*out)->row_count = 64;
    (*out)->rows = memory_alloc((*out)->row_count * sizeof(struct row));
    return RESULT_OK;
}

void roster_destroy(struct roster *r)
{
    if (r == NULL) return;
    for (uint32_t i = 0; i < r->row_count; i++) free(r->rows[i].online);
    free(r->rows);
    free(r);
}

static uint32_t place_of(const struct roster *r, uint64_t room_id)
{
    return (uint32_t)((room_id * 0x9e3779b97f4a7c15ull) >> 32) & (r->row_count - 1);
}

static struct row *row_find(const struct roster *r, uint64_t room_id)
{
    uint32_t at = place_of(r, room_id);
    while (r->rows[at].room_id != 0 && r->rows[at].room_id != room_id) at = (at + 1) & (r->row_count - 1);
    return &r->rows[at];
}

static void grow(struct roster *r)
{
    struct row *old = r->rows;
    uint32_t old_count = r->row_count;
    r->row_count *= 2;
    r->rows = memory_alloc(r->row_count * sizeof(struct row));
    for (uint32_t i = 0; i < old_count; i++)
        if (old[i].room_id != 0) *row_find(r, old[i].room_id) = old[i];
    free(old);
}

void roster_add(struct roster *r, uint64_t room_id, struct inbox *inbox)
{
    ASSERT(room_id != 0);
    if ((r->used + 1) * 4 > r->row_count * 3) grow(r);
    struct row *row = row_find(r, room_id);
    if (row->room_id == 0) {
        row->room_id = room_id;
        r->used++;
    }
    for (uint32_t i = 0; i < row->count; i++)
        if (row->online[i] == inbox) return;
    if (row->count == row->capacity) {
        row->capacity = row->capacity == 0 ? 4 : row->capacity * 2;
        row->online = memory_resize(row->online, row->capacity * sizeof *row->online);
    }
    row->online[row->count++] = inbox;
    inbox->roster_count++;
}

/* Frees the row at `at` and moves followers of its probe run back. */
static void row_free(struct roster *r, uint32_t at)
{
    free(r->rows[at].online);
    r->rows[at] = (struct row){0};
    r->used--;
    for (uint32_t next = (at + 1) & (r->row_count - 1); r->rows[next].room_id != 0; next = (next + 1) & (r->row_count - 1)) {
        struct row moved = r->rows[next];
        r->rows[next] = (struct row){0};
        *row_find(r, moved.room_id) = moved;
    }
}

void roster_remove(struct roster *r, uint64_t room_id, struct inbox *inbox)
{
    struct row *row = row_find(r, room_id);
    for (uint32_t i = 0; i < row->count; i++) {
        if (row->online[i] != inbox) continue;
        row->online[i] = row->online[--row->count];
        ASSERT(inbox->roster_count > 0);
        inbox->roster_count--;
        if (row->count == 0) row_free(r, (uint32_t)(row - r->rows));
        return;
    }
}

void roster_remove_all(struct roster *r, struct inbox *inbox)
{
    for (uint32_t i = 0; i < r->row_count && inbox->roster_count > 0;) {
        uint32_t before = inbox->roster_count;
        if (r->rows[i].room_id != 0) roster_remove(r, r->rows[i].room_id, inbox);
        if (inbox->roster_count == before) i++; /* a removal may have shifted another row here */
    }
    ASSERT(inbox->roster_count == 0);
}

struct inbox *const *roster_online(const struct roster *r, uint64_t room_id, uint32_t *count)
{
    const struct row *row = row_find(r, room_id);
    *count = row->count;
    return row->online;
}
