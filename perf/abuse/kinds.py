#!/usr/bin/env python3
"""perf/abuse/kinds.py KIND PORT SECONDS - one kind of abuse of the server at 127.0.0.1:PORT; prints `began` when it is under way.

  wrong_logins   400 logins with a wrong password under way at any time, from 100 addresses
  slow_readers   370 sockets that never read, in a room into which 2,200-byte messages go as fast as they are acknowledged
  connections    200 at a time connect, send half a request and hang up
"""
import asyncio
import base64
import json
import os
import struct
import sys
import time

ADDRESSES = [f"127.0.1.{number}" for number in range(1, 101)]
PASSWORD = "correct horse battery"
LOGINS_AT_ONCE, CONNECTIONS_AT_ONCE = 400, 200
READERS, DEVICES_OF_ONE, SENDERS, BODY_SIZE = 370, 10, 4, 2200


async def post(port, path, body, token=None, address="127.0.0.1"):
    """One request on a connection of its own; the answer's JSON."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    content = json.dumps(body).encode()
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    writer.write(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{authorization}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    answer = await reader.read()
    writer.close()
    return json.loads(answer.split(b"\r\n\r\n", 1)[1] or b"{}")


async def again_and_again(action):
    while True:
        try:
            await action()
        except (OSError, ValueError, IndexError):
            await asyncio.sleep(0.05)


async def wrong_logins(port):
    await post(port, "/v1/account/register", {"name": "victim", "password": PASSWORD})
    body = {"name": "victim", "password": "wrong horse battery", "device_id": "d"}
    login = lambda number: lambda: post(port, "/v1/account/login", body, address=ADDRESSES[number % len(ADDRESSES)])
    return [again_and_again(login(number)) for number in range(LOGINS_AT_ONCE)]


async def connections(port):
    async def half_a_request():
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /v1/chat/send HTTP/1.1\r\nHost: lo")
        writer.close()
    return [again_and_again(half_a_request) for _ in range(CONNECTIONS_AT_ONCE)]


def text_frame(text):
    content = text.encode()
    mask = os.urandom(4)
    head = struct.pack("!BBH", 0x81, 0x80 | 126, len(content)) if len(content) > 125 else struct.pack("!BB", 0x81, 0x80 | len(content))
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(content))


async def open_slow_reader(port, token):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(f"GET /v1/socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: ringpost.v1.json\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    writer.write(text_frame(json.dumps({"request": {"id": "1", "auth": {"access_token": token}}})))
    await reader.read(100)
    writer.transport.pause_reading()
    return writer


async def slow_readers(port):
    people = [f"reader{number}" for number in range(READERS // DEVICES_OF_ONE)]
    ids = [(await post(port, "/v1/account/register", {"name": name, "password": PASSWORD}))["user_id"] for name in people]
    login = lambda name, device: post(port, "/v1/account/login", {"name": name, "password": PASSWORD, "device_id": device})
    await post(port, "/v1/account/register", {"name": "sender", "password": PASSWORD})
    token = (await login("sender", "d"))["access_token"]
    room = (await post(port, "/v1/room/create", {"name": "r", "member_ids": ids}, token))["room"]["room_id"]
    async def of_one(name, device):
        return await open_slow_reader(port, (await login(name, f"d{device}"))["access_token"])
    held = [await of_one(name, device) for name in people for device in range(DEVICES_OF_ONE)]
    body = base64.b64encode(os.urandom(BODY_SIZE)).decode()
    async def send():
        await post(port, "/v1/chat/send", {"room_id": room, "client_msg_id": os.urandom(8).hex(), "kind": "FILE", "body": body}, token)
        assert held
    return [again_and_again(send) for _ in range(SENDERS)]


async def main(kind, port, seconds):
    actions = await {"wrong_logins": wrong_logins, "slow_readers": slow_readers, "connections": connections}[kind](port)
    tasks = [asyncio.create_task(action) for action in actions]
    print("began", flush=True)
    give_up = time.monotonic() + seconds
    await asyncio.wait(tasks, timeout=give_up - time.monotonic())
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
