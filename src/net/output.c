/* net/output.c - the queue of output.h: a list of pieces.
 * A piece of our own ends where its buf is filled to (buf->len) and grows there; a piece of a shared buf has fixed
 * ends. Happy path: one piece, sent by a plain send. Failure: the pool's limit or no memory refuses a whole append. */
#include "net/output.h"
#include "core/check.h"
#include <stdlib.h>

struct output_piece {
    struct output_piece *next;
    struct buf *buf;
    uint32_t start, end; /* of the unsent bytes in buf->data */
    bool ours;           /* nobody else holds the buf: later parts may continue it */
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

static void piece_free(struct output_piece *piece)
{
    buf_unref(&piece->buf);
    free(piece);
}

/* An empty piece of our own with room for `size`; NULL at a limit. */
static struct output_piece *piece_create_own(struct buf_pool *pool, uint32_t size, uint32_t size_usual)
{
    struct output_piece *piece = calloc(1, sizeof *piece);
    if (piece == NULL) return NULL;
    piece->ours = true;
    piece->buf = buf_try_get(pool, size > size_usual ? size : size_usual);
    if (piece->buf == NULL && size < size_usual) piece->buf = buf_try_get(pool, size);
    if (piece->buf != NULL) return piece;
    free(piece);
    return NULL;
}

static struct output_piece *piece_create_shared(struct buf *buf, struct slice bytes)
{
    ASSERT(bytes.data >= buf->data && bytes.data + bytes.len <= buf->data + buf->capacity);
    struct output_piece *piece = calloc(1, sizeof *piece);
    if (piece == NULL) return NULL;
    piece->buf = buf_ref(buf);
    piece->start = (uint32_t)(bytes.data - buf->data);
    piece->end = piece->start + bytes.len;
    return piece;
}

static void output_link(struct output *output, struct output_piece *piece)
{
    if (output->tail == NULL)
        output->head = piece;
    else
        output->tail->next = piece;
    output->tail = piece;
}

static bool output_tail_has_room(const struct output *output, uint32_t size)
{
    const struct output_piece *tail = output->tail;
    return tail != NULL && tail->ours && tail->buf->capacity - tail->end >= size;
}

static void piece_copy(struct output_piece *piece, const struct slice *parts, uint32_t part_count)
{
    ASSERT(piece->ours);
    for (uint32_t i = 0; i < part_count; i++) {
        ASSERT(parts[i].len <= piece->buf->capacity - piece->end);
        if (parts[i].len > 0) memcpy(piece->buf->data + piece->end, parts[i].data, parts[i].len);
        piece->end += parts[i].len;
    }
    piece->buf->len = piece->end;
}

bool output_append(struct output *output, struct buf_pool *pool, const struct slice *parts, uint32_t part_count,
                   struct buf *shared_buf, struct slice shared)
{
    uint32_t size = parts_size(parts, part_count);
    struct output_piece *referenced = NULL;
    if (shared_buf != NULL && shared.len > 0) {
        referenced = piece_create_shared(shared_buf, shared);
        if (referenced == NULL) return false;
    }
    if (size > 0 && !output_tail_has_room(output, size)) {
        uint32_t usual = output->tail == NULL ? OUTPUT_BUF_SIZE_FIRST : OUTPUT_BUF_SIZE_NEXT;
        struct output_piece *own = piece_create_own(pool, size, usual);
        if (own == NULL) {
            if (referenced != NULL) piece_free(referenced);
            return false;
        }
        output_link(output, own);
    }
    if (size > 0) piece_copy(output->tail, parts, part_count);
    if (referenced != NULL) output_link(output, referenced);
    output->bytes += size + (referenced == NULL ? 0 : shared.len);
    return true;
}

static struct slice piece_slice(const struct output_piece *piece)
{
    return slice_of(piece->buf->data + piece->start, piece->end - piece->start);
}

const struct msghdr *output_gather(struct output *output, struct slice *data)
{
    ASSERT(output->head != NULL && output->gather == NULL);
    *data = piece_slice(output->head);
    if (output->head->next == NULL || data->len >= OUTPUT_SEND_SIZE_MAX) return NULL;
    struct output_gather *gather = calloc(1, sizeof *gather);
    if (gather == NULL) return NULL; /* the first piece alone is progress, too */
    uint32_t size = 0;
    for (const struct output_piece *piece = output->head; piece != NULL; piece = piece->next) {
        if (gather->message.msg_iovlen == OUTPUT_IOVECS_MAX || size >= OUTPUT_SEND_SIZE_MAX) break;
        struct slice bytes = piece_slice(piece);
        gather->iovecs[gather->message.msg_iovlen++] =
            (struct iovec){.iov_base = piece->buf->data + piece->start, .iov_len = bytes.len};
        size += bytes.len;
    }
    gather->message.msg_iov = gather->iovecs;
    output->gather = gather;
    return &gather->message;
}

struct slice output_peek(const struct output *output, uint8_t *scratch, uint32_t size)
{
    ASSERT(output->head != NULL && output->gather == NULL);
    struct slice first = piece_slice(output->head);
    if (first.len >= size) return slice_of(first.data, size);
    if (output->head->next == NULL) return first;
    uint32_t len = 0;
    for (const struct output_piece *piece = output->head; piece != NULL && len < size; piece = piece->next) {
        struct slice bytes = piece_slice(piece);
        if (bytes.len > size - len) bytes.len = size - len;
        memcpy(scratch + len, bytes.data, bytes.len);
        len += bytes.len;
    }
    return slice_of(scratch, len);
}

static void output_unlink_head(struct output *output)
{
    struct output_piece *piece = output->head;
    output->head = piece->next;
    if (output->head == NULL) output->tail = NULL;
    piece_free(piece);
}

void output_sent(struct output *output, uint32_t bytes)
{
    ASSERT(bytes <= output->bytes);
    free(output->gather);
    output->gather = NULL;
    output->bytes -= bytes;
    while (output->head != NULL) {
        uint32_t waiting = output->head->end - output->head->start;
        if (waiting > bytes) {
            output->head->start += bytes;
            return;
        }
        bytes -= waiting;
        output_unlink_head(output);
    }
    ASSERT(bytes == 0 && output->bytes == 0);
}

void output_copy(const struct output *output, uint8_t *out)
{
    for (const struct output_piece *piece = output->head; piece != NULL; piece = piece->next) {
        struct slice bytes = piece_slice(piece);
        memcpy(out, bytes.data, bytes.len);
        out += bytes.len;
    }
}

void output_clear(struct output *output)
{
    while (output->head != NULL) output_unlink_head(output);
    free(output->gather);
    *output = (struct output){0};
}
