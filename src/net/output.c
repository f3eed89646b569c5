/* net/output.c - the queue of output.h: a list of pieces.
 * A piece is some bytes of our own and then, perhaps, a shared payload. The last piece grows until it has one; the piece after it goes
 * on in the same buf of our own, so that the few bytes before each of many shared payloads stand together. A piece lies in its own buf,
 * before its bytes, so that it costs no allocation:
 *
 *   buf of our own   | piece | its bytes | piece | its bytes | room |
 *   shared payloads                 `-> payload         `-> payload
 *
 * Happy path: one piece, sent by a plain send. Failure: the pool's limit or no memory refuses a whole append. */
#include "net/output.h"
#include "core/check.h"
#include <stdlib.h>

struct output_piece { /* bytes of our own, then those of a shared buf; either may be none */
    struct output_piece *next;
    struct buf *own;    /* never NULL: the piece lies in it */
    struct buf *shared; /* NULL: none */
    uint32_t own_start, own_end, shared_start, shared_end; /* of the unsent bytes in their data */
};
#define PIECE_ALIGN ((uint32_t) _Alignof(struct output_piece))

struct output_gather {
    struct msghdr message;
    struct iovec iovecs[OUTPUT_IOVECS_MAX];
};

static uint32_t parts_size(const struct slice *parts, uint32_t part_count)
{
    uint32_t size = 0;
    for (uint32_t i = 0; i < part_count; i++) {
        ASSERT(parts[i].len <= UINT32_MAX - size);
        size += parts[i].len;
    }
    return size;
}

/* ---- pieces ------------------------------------------------------------------------------------------------------ */

static struct slice piece_own(const struct output_piece *piece)
{
    return slice_of(piece->own->data + piece->own_start, piece->own_end - piece->own_start);
}

static struct slice piece_shared(const struct output_piece *piece)
{
    return piece->shared == NULL ? SLICE_EMPTY
                                 : slice_of(piece->shared->data + piece->shared_start, piece->shared_end - piece->shared_start);
}

static uint32_t piece_bytes(const struct output_piece *piece)
{
    return piece_own(piece).len + piece_shared(piece).len;
}

/* What it goes on with first. */
static struct slice piece_next(const struct output_piece *piece)
{
    struct slice own = piece_own(piece);
    return own.len > 0 ? own : piece_shared(piece);
}

/* A buf of our own is charged once, by the queue that alone refers to it; a shared one is charged by the bytes, as if each holder had
 * a part of it. */
static void piece_free(struct output *output, struct output_piece *piece)
{
    if (piece->shared != NULL) {
        output->held_bytes -= piece->shared_end - piece->shared_start;
        buf_unref(&piece->shared);
    }
    struct buf *own = piece->own;
    if (own->refs == 1) output->held_bytes -= buf_memory_bytes(own);
    buf_unref(&own); /* and with it, perhaps, the piece */
}

/* The more waits, the larger the buf that what follows is copied to: by a quarter of it, so that the memory of a queue is at most one
 * and a half times its bytes. NULL at a limit. */
static struct buf *output_get_buf(const struct output *output, struct buf_pool *pool, uint32_t size)
{
    uint32_t usual = (1 + output->bytes / 4 / OUTPUT_BUF_SIZE_FIRST) * OUTPUT_BUF_SIZE_FIRST;
    if (usual > OUTPUT_BUF_SIZE_MOST) usual = OUTPUT_BUF_SIZE_MOST;
    return buf_try_get(pool, size + BUF_HEAD_SIZE > usual ? size : usual - BUF_HEAD_SIZE);
}

static uint32_t buf_room(const struct buf *own)
{
    return own->capacity - own->len;
}

/* What may be copied behind the last piece without a new one. */
static uint32_t output_tail_room(const struct output *output)
{
    const struct output_piece *tail = output->tail;
    return tail == NULL || tail->shared != NULL ? 0 : buf_room(tail->own);
}

static uint32_t piece_place(const struct buf *own)
{
    return (own->len + PIECE_ALIGN - 1) & ~(PIECE_ALIGN - 1);
}

/* Lays a piece behind what is in `own`, which has room, and takes that reference. */
static struct output_piece *piece_lay(struct buf *own)
{
    uint32_t place = piece_place(own);
    struct output_piece *piece = (void *)(own->data + place);
    own->len = place + (uint32_t)sizeof *piece;
    *piece = (struct output_piece){.own = own, .own_start = own->len, .own_end = own->len};
    return piece;
}

/* A piece with room for `size` more bytes of our own: behind a shared payload in the buf of the piece before, else in a new one. It is
 * not linked yet. NULL at a limit. */
static struct output_piece *output_make_piece(const struct output *output, struct buf_pool *pool, uint32_t size)
{
    uint32_t needed = size + (uint32_t)sizeof(struct output_piece);
    const struct output_piece *tail = output->tail;
    bool goes_on = tail != NULL && tail->shared != NULL && tail->own->capacity - tail->own->len >= needed + PIECE_ALIGN;
    struct buf *own = goes_on ? buf_ref(tail->own) : output_get_buf(output, pool, needed);
    return own == NULL ? NULL : piece_lay(own);
}

static void output_link(struct output *output, struct output_piece *piece)
{
    if (output->tail == NULL)
        output->head = piece;
    else
        output->tail->next = piece;
    output->tail = piece;
    if (piece->own->refs == 1) output->held_bytes += buf_memory_bytes(piece->own);
}

/* Copies the parts, of `size` bytes, behind the last piece, which has room for them. */
static void output_fill(struct output *output, const struct slice *parts, uint32_t part_count, uint32_t size)
{
    struct output_piece *tail = output->tail;
    struct buf *own = tail->own;
    ASSERT(tail->shared == NULL && own->len == tail->own_end && buf_room(own) >= size);
    uint8_t *at = own->data + own->len;
    for (uint32_t i = 0; i < part_count; i++) {
        if (parts[i].len > 0) memcpy(at, parts[i].data, parts[i].len);
        at += parts[i].len;
    }
    own->len = tail->own_end = own->len + size;
    output->bytes += size;
}

/* Divides the parts at `size` bytes; both halves have as many, perhaps empty ones. */
static void parts_divide(const struct slice *parts, uint32_t part_count, uint32_t size, struct slice *first, struct slice *second)
{
    for (uint32_t i = 0; i < part_count; i++) {
        uint32_t len = parts[i].len < size ? parts[i].len : size;
        first[i] = slice_of(parts[i].data, len);
        second[i] = slice_of(parts[i].data + len, parts[i].len - len);
        size -= len;
    }
}

static void piece_share(struct output *output, struct output_piece *piece, struct buf *buf, struct slice bytes)
{
    ASSERT(bytes.data >= buf->data && bytes.data + bytes.len <= buf->data + buf->capacity);
    piece->shared = buf_ref(buf);
    piece->shared_start = (uint32_t)(bytes.data - buf->data);
    piece->shared_end = piece->shared_start + bytes.len;
    output->held_bytes += bytes.len;
    output->bytes += bytes.len;
}

/* Links a new piece for what the last one has no room for, and copies all. */
static bool output_extend(struct output *output, struct buf_pool *pool, const struct slice *parts, uint32_t part_count, uint32_t size)
{
    uint32_t room = output_tail_room(output);
    struct output_piece *tail = output->tail, *added = output_make_piece(output, pool, size > room ? size - room : 0);
    if (added == NULL) return false;
    if (output->tail != tail) { /* to make room for it, this queue was cut */
        buf_unref(&(struct buf *){added->own});
        return false;
    }
    struct slice first[OUTPUT_PARTS_MAX], second[OUTPUT_PARTS_MAX];
    ASSERT(part_count <= OUTPUT_PARTS_MAX);
    if (room > 0) {
        parts_divide(parts, part_count, room, first, second);
        output_fill(output, first, part_count, room);
    }
    output_link(output, added);
    output_fill(output, room > 0 ? second : parts, part_count, size - room);
    return true;
}

bool output_append(struct output *output, struct buf_pool *pool, const struct slice *parts, uint32_t part_count,
                   struct buf *shared_buf, struct slice shared)
{
    uint32_t size = parts_size(parts, part_count);
    bool shares = shared_buf != NULL && shared.len > 0, full = output->tail == NULL || output->tail->shared != NULL;
    if (size == 0 && !shares) return true;
    if (full || size > buf_room(output->tail->own)) {
        if (!output_extend(output, pool, parts, part_count, size)) return false;
    } else {
        output_fill(output, parts, part_count, size);
    }
    if (shares) piece_share(output, output->tail, shared_buf, shared);
    return true;
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

static void gather_add(struct output_gather *gather, struct slice bytes)
{
    if (bytes.len == 0 || gather->message.msg_iovlen == OUTPUT_IOVECS_MAX) return;
    void *base = (void *)(uintptr_t)bytes.data; /* an iovec has no const */
    gather->iovecs[gather->message.msg_iovlen++] = (struct iovec){.iov_base = base, .iov_len = bytes.len};
}

const struct msghdr *output_gather(struct output *output, struct slice *data)
{
    ASSERT(output->head != NULL && output->gather == NULL);
    *data = piece_next(output->head);
    if (output->bytes == data->len || data->len >= OUTPUT_SEND_SIZE_MAX) return NULL;
    struct output_gather *gather = malloc(sizeof *gather);
    if (gather == NULL) return NULL; /* the first bytes alone are progress, too */
    gather->message = (struct msghdr){.msg_iov = gather->iovecs};
    uint32_t size = 0;
    for (const struct output_piece *piece = output->head; piece != NULL; piece = piece->next) {
        if (gather->message.msg_iovlen >= OUTPUT_IOVECS_MAX || size >= OUTPUT_SEND_SIZE_MAX) break;
        gather_add(gather, piece_own(piece));
        gather_add(gather, piece_shared(piece));
        size += piece_bytes(piece);
    }
    output->gather = gather;
    return &gather->message;
}

/* Copies to `out`, at most `size`; returns how much. */
static uint32_t piece_copy_out(const struct output_piece *piece, uint8_t *out, uint32_t size)
{
    struct slice slices[] = {piece_own(piece), piece_shared(piece)};
    uint32_t len = 0;
    for (size_t i = 0; i < COUNT_OF(slices); i++) {
        uint32_t part = slices[i].len < size - len ? slices[i].len : size - len;
        if (part > 0) memcpy(out + len, slices[i].data, part);
        len += part;
    }
    return len;
}

struct slice output_peek(const struct output *output, uint8_t *scratch, uint32_t size)
{
    ASSERT(output->head != NULL && output->gather == NULL);
    struct slice first = piece_next(output->head);
    if (first.len >= size) return slice_of(first.data, size);
    if (output->bytes == first.len) return first;
    uint32_t len = 0;
    for (const struct output_piece *piece = output->head; piece != NULL && len < size; piece = piece->next)
        len += piece_copy_out(piece, scratch + len, size - len);
    return slice_of(scratch, len);
}

/* Takes `bytes` from its front, at most what it has; returns how many are over. */
static uint32_t piece_take(struct output *output, struct output_piece *piece, uint32_t bytes)
{
    uint32_t own = piece_own(piece).len < bytes ? piece_own(piece).len : bytes;
    piece->own_start += own;
    uint32_t shared = piece_shared(piece).len < bytes - own ? piece_shared(piece).len : bytes - own;
    piece->shared_start += shared;
    output->held_bytes -= shared;
    return bytes - own - shared;
}

static void output_unlink_head(struct output *output)
{
    struct output_piece *piece = output->head;
    output->head = piece->next;
    if (output->head == NULL) output->tail = NULL;
    piece_free(output, piece);
}

void output_sent(struct output *output, uint32_t bytes)
{
    ASSERT(bytes <= output->bytes);
    free(output->gather);
    output->gather = NULL;
    output->bytes -= bytes;
    while (output->head != NULL) {
        bytes = piece_take(output, output->head, bytes);
        if (piece_bytes(output->head) > 0) break;
        output_unlink_head(output);
    }
    ASSERT(bytes == 0 && (output->head != NULL) == (output->bytes > 0));
}

uint32_t output_cost_bytes(const struct output *output)
{
    uint32_t cost = output->held_bytes;
    for (const struct output_piece *piece = output->head; piece != NULL; piece = piece->next)
        if (piece->shared != NULL) cost -= piece_shared(piece).len - piece_shared(piece).len / piece->shared->refs;
    return cost;
}

/* The last piece a send in flight may read from. */
static struct output_piece *output_last_in_flight(const struct output *output)
{
    struct output_piece *piece = output->head;
    if (output->gather == NULL) return piece;
    size_t iovecs = 0;
    for (;; piece = piece->next) {
        iovecs += (piece_own(piece).len > 0 ? 1u : 0u) + (piece_shared(piece).len > 0 ? 1u : 0u);
        if (iovecs >= output->gather->message.msg_iovlen || piece->next == NULL) return piece;
    }
}

void output_cut(struct output *output)
{
    if (output->head == NULL) return;
    struct output_piece *last = output_last_in_flight(output), *piece = last->next;
    last->next = NULL;
    output->tail = last;
    while (piece != NULL) {
        struct output_piece *next = piece->next;
        output->bytes -= piece_bytes(piece);
        piece_free(output, piece);
        piece = next;
    }
    last->own->len = last->own_end; /* what may still be appended goes on there */
}

void output_copy(const struct output *output, uint8_t *out)
{
    for (const struct output_piece *piece = output->head; piece != NULL; piece = piece->next)
        out += piece_copy_out(piece, out, UINT32_MAX);
}

void output_clear(struct output *output)
{
    while (output->head != NULL) output_unlink_head(output);
    free(output->gather);
    ASSERT(output->held_bytes == 0);
    *output = (struct output){0};
}
