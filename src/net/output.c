/* net/output.c - the queue of output.h: a list of pieces.
 * A piece is some bytes of our own and then, perhaps, a shared payload. The last piece grows until it has one; the piece after it goes
 * on in the same buf of our own, so that the few bytes before each of many shared payloads stand together. Happy path: one piece, sent
 * by a plain send. Failure: the pool's limit or no memory refuses a whole append. */
#include "net/output.h"
#include "core/check.h"
#include <stdlib.h>

struct output_piece { /* bytes of our own, then those of a shared buf; one of the two may be none */
    struct output_piece *next;
    struct buf *own, *shared;
    uint32_t own_start, own_end, shared_start, shared_end; /* of the unsent bytes in their data */
};

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
    return piece->own == NULL ? SLICE_EMPTY : slice_of(piece->own->data + piece->own_start, piece->own_end - piece->own_start);
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
static void piece_drop_own(struct output *output, struct output_piece *piece)
{
    if (piece->own == NULL) return;
    if (piece->own->refs == 1) output->held_bytes -= buf_memory_bytes(piece->own);
    buf_unref(&piece->own);
}

static void piece_drop_shared(struct output *output, struct output_piece *piece)
{
    if (piece->shared == NULL) return;
    output->held_bytes -= piece->shared_end - piece->shared_start;
    buf_unref(&piece->shared);
}

static void piece_free(struct output *output, struct output_piece *piece)
{
    piece_drop_own(output, piece);
    piece_drop_shared(output, piece);
    output->held_bytes -= (uint32_t)sizeof *piece;
    free(piece);
}

/* The more waits, the larger the buf that what follows is copied to: at most half of it, so that the memory of a queue is at most one and
 * a half times its bytes. NULL at a limit. */
static struct buf *output_get_buf(const struct output *output, struct buf_pool *pool, uint32_t size)
{
    uint32_t usual = output->bytes / 2 / OUTPUT_BUF_SIZE_FIRST * OUTPUT_BUF_SIZE_FIRST;
    if (usual > OUTPUT_BUF_SIZE_MOST) usual = OUTPUT_BUF_SIZE_MOST;
    if (usual < OUTPUT_BUF_SIZE_FIRST) usual = OUTPUT_BUF_SIZE_FIRST;
    return buf_try_get(pool, size + BUF_HEAD_SIZE > usual ? size : usual - BUF_HEAD_SIZE);
}

/* What may be copied behind the last piece without a new one. */
static uint32_t output_tail_room(const struct output *output)
{
    const struct output_piece *tail = output->tail;
    return tail == NULL || tail->own == NULL || tail->shared != NULL ? 0 : tail->own->capacity - tail->own->len;
}

/* A piece with room for `size` more bytes of our own: behind a shared payload in the buf of the piece before, else in a new one. It is
 * not linked yet. NULL at a limit. */
static struct output_piece *output_make_piece(const struct output *output, struct buf_pool *pool, uint32_t size)
{
    struct buf *last = output->tail != NULL && output->tail->shared != NULL ? output->tail->own : NULL;
    bool goes_on = last != NULL && last->capacity - last->len >= size;
    struct output_piece *piece = calloc(1, sizeof *piece);
    if (piece == NULL) return NULL;
    if (size > 0) piece->own = goes_on ? buf_ref(last) : output_get_buf(output, pool, size);
    if (piece->own != NULL) piece->own_start = piece->own_end = piece->own->len;
    if (size == 0 || piece->own != NULL) return piece;
    free(piece);
    return NULL;
}

/* Copies what there is room for; what is left stays in the parts. */
static void piece_fill(struct output *output, struct output_piece *piece, struct slice *parts, uint32_t part_count)
{
    struct buf *own = piece->own;
    ASSERT(own == NULL || (piece->shared == NULL && own->len == piece->own_end));
    for (uint32_t i = 0; own != NULL && i < part_count; i++) {
        uint32_t room = own->capacity - own->len, len = parts[i].len < room ? parts[i].len : room;
        if (len == 0) continue;
        memcpy(own->data + own->len, parts[i].data, len);
        parts[i] = slice_of(parts[i].data + len, parts[i].len - len);
        own->len = piece->own_end = own->len + len;
        output->bytes += len;
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

static void output_link(struct output *output, struct output_piece *piece)
{
    if (output->tail == NULL)
        output->head = piece;
    else
        output->tail->next = piece;
    output->tail = piece;
    output->held_bytes += (uint32_t)sizeof *piece;
    if (piece->own != NULL && piece->own->refs == 1) output->held_bytes += buf_memory_bytes(piece->own);
}

/* All of it behind the last piece, which has room: the usual case. */
static void output_fill_tail(struct output *output, const struct slice *parts, uint32_t part_count, uint32_t size)
{
    struct output_piece *tail = output->tail;
    struct buf *own = tail->own;
    ASSERT(own->len == tail->own_end && own->capacity - own->len >= size);
    for (uint32_t i = 0; i < part_count; i++) {
        if (parts[i].len > 0) memcpy(own->data + own->len, parts[i].data, parts[i].len);
        own->len += parts[i].len;
    }
    tail->own_end = own->len;
    output->bytes += size;
}

bool output_append(struct output *output, struct buf_pool *pool, const struct slice *parts, uint32_t part_count,
                   struct buf *shared_buf, struct slice shared)
{
    uint32_t size = parts_size(parts, part_count), room = output_tail_room(output);
    bool shares = shared_buf != NULL && shared.len > 0;
    if (!shares && size > 0 && size <= room) {
        output_fill_tail(output, parts, part_count, size);
        return true;
    }
    struct slice left[OUTPUT_PARTS_MAX];
    ASSERT(part_count <= COUNT_OF(left));
    for (uint32_t i = 0; i < part_count; i++) left[i] = parts[i];
    struct output_piece *tail = output->tail, *added = NULL;
    if (size > room || (shares && (tail == NULL || tail->shared != NULL))) {
        added = output_make_piece(output, pool, size > room ? size - room : 0);
        if (added == NULL) return false;
        if (output->tail != tail) { /* to make room for it, this queue was cut */
            buf_unref(&added->own);
            free(added);
            return false;
        }
    }
    if (room > 0) piece_fill(output, tail, left, part_count);
    if (added != NULL) {
        output_link(output, added);
        piece_fill(output, added, left, part_count);
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
    struct output_gather *gather = calloc(1, sizeof *gather);
    if (gather == NULL) return NULL; /* the first bytes alone are progress, too */
    uint32_t size = 0;
    for (const struct output_piece *piece = output->head; piece != NULL; piece = piece->next) {
        if (gather->message.msg_iovlen >= OUTPUT_IOVECS_MAX || size >= OUTPUT_SEND_SIZE_MAX) break;
        gather_add(gather, piece_own(piece));
        gather_add(gather, piece_shared(piece));
        size += piece_bytes(piece);
    }
    gather->message.msg_iov = gather->iovecs;
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
    if (last->own != NULL) last->own->len = last->own_end; /* what may still be appended goes on there */
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
