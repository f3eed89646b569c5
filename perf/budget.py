#!/usr/bin/env python3
"""perf/budget.py --pid PID --port PORT [--seconds 5] [--per messages_stored|pushes]
Where the CPU time of a message (or, with --per pushes, of a delivery) goes: records all threads of a running server under load with
perf and counts each sample for the first function of its stack, from the innermost outwards, that stands in the table below. The number of
messages comes from the server's own metrics, taken before and after. Keep STAGES true when functions move; what no row names is `turn`."""
import argparse
import collections
import re
import subprocess
import tempfile
import urllib.request

STAGES = [  # name, functions; names are matched whole, * at the end stands for anything
    ("parse", "conn_on_recv conn_feed conn_take door_tcp_feed door_websocket_feed door_mqtt_feed tcpframe_* websocket_parse* mqttframe_* "
              "envelope_parse mqtt_decode mqtt_read_* read_publish read_ack mqtt_on_frame on_frame on_request"),
    ("route, admit", "mqtt_publish publish_to mqtt_target_of mqtt_pack_properties own_add make_id session_request session_actor forward "
                     "admit_* route_* envelope_peek_* peek request_create request_start* request_begin letter_* door_take inflight_*"),
    ("check, propose", "handle_* envelope_unpack* request_unpack request_run request_propose* request_try_propose send_propose needs_* "
                       "view_needs_* check_* frame_command send_entry send_content protobuf_c_message_unpack strings_are_text"),
    ("log", "append commitlog_* chunk_* record_seal record_header_encode"),
    ("relay", "relay_* stream_* apply_relay"),
    ("apply", "machine_apply machine_step machine_entity state_hash_* apply_* room_* view_* inbox_append conversation_* event_* message_* dedup_find dedup_add "
              "dedup_id take_in bucket_* senders_* batch_record effects_* request_ready take_durable command_decode lookahead_*"),
    ("rows of the batch", "machine_end_batch batch_end block_put dedup_end_batch write_batch store_write"),
    ("answer", "mqtt_on_reply mqtt_published receipt_* acknowledge* mqtt_encode_ack request_applied request_answer request_end "
               "request_destroy answer port_reply door_on_reply reply_socket envelope_response server_find door_client_resume"),
    ("push", "mqtt_on_event mqtt_on_room mqtt_form_* mqtt_message_read mqtt_send_message mqtt_encode_publish write_head "
             "deliver listens mqtt_pump mqtt_acknowledged mqtt_window_* mqtt_send perform_* delivery_perform push_* session_* event_buf port_session_send "
             "door_session_send envelope_event_head"),
    ("send", "conn_send_frame conn_queue send_frame output_* piece_* buf_* server_flush conn_flush conn_on_send conn_settle io_send "
             "io_sendmsg"),
]
KERNEL = [
    ("kernel: send", "tcp_sendmsg* io_send io_sendmsg __sys_sendmsg_sock sock_sendmsg inet_sendmsg"),
    ("kernel: receive", "io_recv* tcp_recvmsg* sock_recvmsg io_poll_* io_recv_finish"),
    ("kernel: disk", "io_write* io_read* ext4_* xfs_* blkdev_* iomap_* vfs_* submit_bio* block_* fdatasync* do_fsync btrfs_* overlay* ovl_*"),
]
OTHER_THREADS = [("storage thread", "storage-"), ("RocksDB", "rocksdb")]


def table(rows):
    return [(name, re.compile("(?:%s)$" % "|".join(re.escape(word).replace(r"\*", ".*") for word in words.split()))) for name, words in rows]


STAGE_TABLE, KERNEL_TABLE = table(STAGES), table(KERNEL)


def first(rows, names):
    for name in names:
        for stage, pattern in rows:
            if pattern.match(name):
                return stage
    return None


def stage_of(thread, frames):
    """frames: (function, is_kernel), innermost first."""
    for stage, prefix in OTHER_THREADS:
        if thread.startswith(prefix):
            return stage
    if not thread.startswith("worker"):
        return "other threads"
    kernel = [name for name, is_kernel in frames if is_kernel]
    if kernel:
        return first(KERNEL_TABLE, kernel) or "kernel: other"
    return first(STAGE_TABLE, [name for name, _ in frames]) or "turn"


def samples(lines):
    """(thread, nanoseconds, frames) of each sample of `perf script -F comm,period,ip,sym,dso`."""
    head, frames = None, []
    for line in lines:
        words = line.split()
        if not words:
            if head is not None:
                yield head[0], head[1], frames
            head, frames = None, []
        elif head is None:
            head = (" ".join(words[:-1]), int(words[-1].rstrip(":")))
        elif len(words) >= 3:
            name = re.sub(r"\.(isra|constprop|part|cold).*", "", words[1].split("+0x")[0])
            frames.append((name, "[kernel" in words[-1]))
    if head is not None:
        yield head[0], head[1], frames


def metric(port, name):
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"ringpost_{name}_total"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--per", choices=["messages_stored", "pushes"], default="messages_stored")
    options = parser.parse_args()
    with tempfile.NamedTemporaryFile() as data:
        before = metric(options.port, options.per)
        subprocess.run(["perf", "record", "-q", "-F", "2999", "-g", "-o", data.name, "-p", str(options.pid), "--", "sleep",
                        str(options.seconds)], check=True, stdout=subprocess.DEVNULL)
        count = metric(options.port, options.per) - before
        script = subprocess.run(["perf", "script", "-i", data.name, "-F", "comm,period,ip,sym,dso"], check=True, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    if count <= 0:
        raise SystemExit("the server stored nothing meanwhile: is it under load?")
    spent = collections.Counter()
    for thread, nanoseconds, frames in samples(script.splitlines()):
        spent[stage_of(thread, frames)] += nanoseconds
    print(f"{count:.0f} {options.per} in {options.seconds:g} s; CPU time of one, all threads: {sum(spent.values()) / count:.0f} ns\n")
    print("| stage | ns | % |\n|---|---:|---:|")
    order = [name for name, _ in STAGES] + ["turn"] + [name for name, _ in KERNEL] + ["kernel: other"]
    order += [name for name, _ in OTHER_THREADS] + ["other threads"]
    for name in order:
        print(f"| {name} | {spent[name] / count:.0f} | {100 * spent[name] / max(1, sum(spent.values())):.1f} |")


if __name__ == "__main__":
    main()
