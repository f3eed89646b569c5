#!/usr/bin/python3
"""tests/e2e/chat_test.py - the whole contract against the real server: every method over every door, then what only whole systems show.

The first half runs the same evening once per door (WebSocket JSON, WebSocket binary, TCP, HTTP with POST, HTTP with GET for reads): the
person under test acts over that door, the others watch over a WebSocket. REFUSALS is the table of what is refused, and how. The second
half: pages of operations, offline catch-up, several devices, presence, exact room sizes, tokens, slow readers, limits, large rooms.
"""
import asyncio
import base64
import json
import re
import socket
import time

import jwt
import websockets

from harness import (DOORS, HTTP_PATHS, LOCALHOST, METHODS, REQUEST_TYPES, SOCKET_DOORS, Checks, Http, Person, Refused, Server, Tcp, WebSocketBinary,
                     WebSocketJson, eventually, pb, refused, texts, wait_for)

checks = Checks()
_servers = {}
SETTINGS = {
    "usual": {"shards": 4, "workers": 2},
    "tight": {"shards": 4, "workers": 2, "room_members_max": 8, "fanout_threshold": 3, "token_leeway": "0s", "outbound_soft": "64KiB",
              "rate_messages_per_second": 0, "rate_requests_per_second": 0},
    "impatient": {"shards": 1, "authenticate_timeout": "200ms", "rate_messages_burst": 5, "rate_messages_per_second": 1,
                  "devices_per_user_max": 2, "allowed_origins": "https://chat.example.com", "heartbeat_interval": "1s",
                  "heartbeat_timeout": "2s", "write_timeout": "500ms"},
    "idle": {"shards": 1, "header_timeout": "300ms"},
    "guarded": {"shards": 1, "rate_logins_per_second": 1, "rate_logins_burst": 3},
}


def server(name="usual"):
    """The server of that name, started when first asked for."""
    if name not in _servers:
        _servers[name] = Server(**SETTINGS[name]).start()
    return _servers[name]


async def people(count, door=WebSocketJson, name="usual"):
    return [await Person.register(server(name), door) for _ in range(count)]


async def leave(*persons):
    for person in persons:
        await person.door.close()


async def heard(person, room_id, head_seq):
    """The conversation as soon as its head is there: another shard's word arrives a moment after its sender's acknowledgement."""
    async def find():
        entries = (await person.call("conversations")).conversations
        return next((entry for entry in entries if (entry.room.room_id, entry.head_seq) == (room_id, head_seq)), None)
    return await eventually(f"message {head_seq}", find)


# ---- every method over every door ----------------------------------------------------------------------------------------

async def accounts(door):
    ann = await Person.register(server(), door)
    on_socket = ann.door.__class__ in SOCKET_DOORS
    user = (await ann.call("user", name=ann.name)).user
    assert (user.user_id, user.name, user.display_name) == (ann.user_id, ann.name, ann.name.capitalize())
    assert (await ann.call("user", user_id=ann.user_id)).user == user

    stranger = await door.open(server())
    await refused("name_taken", stranger.call("register", name=ann.name, password="another password"), 409)
    await refused("bad_field", stranger.call("register", name="Not Valid", password="long enough"), 400)
    await refused("bad_field", stranger.call("register", name="valid", password="short"), 400)
    await refused("wrong_password", stranger.call("login", name=ann.name, password="not that one", device_id="d"), 401)
    await refused("wrong_password", stranger.call("login", name="nobody-" + ann.name, password="whatever it is", device_id="d"), 401)
    await refused("bad_field", stranger.call("login", name=ann.name, password="correct horse battery", device_id="not valid"), 400)
    await refused("not_authenticated", stranger.call("devices"), 401)
    await stranger.close()

    tablet = await ann.again(server(), door, "tablet")
    devices = {device.device_id: device for device in (await ann.call("devices")).devices}
    assert set(devices) == {"first", "tablet"}
    assert devices["tablet"].online == on_socket and devices["tablet"].name == "A test" and devices["tablet"].platform == "test"

    refreshed = await tablet.call("refresh", refresh_token=tablet.refresh_token)
    assert refreshed.user_id == ann.user_id and refreshed.access_expires_ms > time.time() * 1000
    again = await tablet.call("refresh", refresh_token=tablet.refresh_token)
    assert again.refresh_token == refreshed.refresh_token, "for a client that lost the answer"
    await tablet.authenticate(refreshed.access_token)
    await refused("token_invalid", tablet.call("refresh", refresh_token="rubbish"), 401)

    await refused("device_not_found", ann.call("revoke_device", device_id="nowhere"), 404)
    await ann.call("revoke_device", device_id="tablet")
    if on_socket:
        await tablet.door.push("session_end", lambda end: end.reason == "revoked")
        assert await tablet.door.end_code() in (4403, None)
    else:
        await refused("device_revoked", tablet.call("devices"), 401)
    await refused("token_invalid", ann.call("refresh", refresh_token=refreshed.refresh_token), 401)
    assert [device.device_id for device in (await ann.call("devices")).devices] == ["first"]

    await ann.call("logout")
    if on_socket:
        await ann.door.end_code()
    back = await door.open(server())
    if not on_socket:
        back.token = ann.token
        await refused("device_revoked", back.call("devices"), 401)
    else:
        await refused("device_revoked", back.call("auth", access_token=ann.token))
    await back.close()


async def chat(door):
    ann = await Person.register(server(), door)
    ben, eve = await people(2)
    first = await ann.send("hello", to_user_id=ben.user_id, client_msg_id="one")
    assert first.seq == 1 and first.time_ms > 0
    room = first.room_id
    again = await ann.send("hello", to_user_id=ben.user_id, client_msg_id="one")
    assert again == first, "a repeat gives the first result"
    await refused("client_id_conflict", ann.send("other", to_user_id=ben.user_id, client_msg_id="one"), 409)
    message = await ben.door.event("message", lambda message: message.msg_id == first.msg_id)
    assert (message.seq, message.sender_id, message.sender_name) == (1, ann.user_id, ann.name.capitalize())
    assert (message.body, message.kind, message.client_msg_id, message.time_ms) == (b"hello", pb.TEXT, "one", first.time_ms)

    assert (await ben.send("hi", room_id=room)).seq == 2
    kinds = [pb.EMOJI, pb.IMAGE, pb.VIDEO, pb.AUDIO, pb.FILE, pb.CUSTOM]
    bodies = ["😀".encode(), *(bytes([0, 255, kind]) for kind in kinds[1:])]
    for kind, body in zip(kinds, bodies):
        await ann.call("send", room_id=room, client_msg_id=f"kind-{kind}", kind=kind, body=body)
    timeline = await ann.timeline(room)
    assert [(message.kind, message.body) for message in timeline] == [(pb.TEXT, b"hello"), (pb.TEXT, b"hi"), *zip(kinds, bodies)]

    page = await ann.call("history", room_id=room, limit=3)
    assert [message.seq for message in page.messages] == [8, 7, 6] and page.has_more and page.head_seq == 8
    page = await ann.call("history", room_id=room, before_seq=page.next_seq, limit=3)
    assert [message.seq for message in page.messages] == [5, 4, 3] and page.has_more
    page = await ann.call("history", room_id=room, after_seq=5, limit=2)
    assert [message.seq for message in page.messages] == [6, 7] and page.has_more
    page = await ann.call("history", room_id=room, after_seq=page.next_seq, limit=2)
    assert [message.seq for message in page.messages] == [8] and not page.has_more
    page = await ann.call("history", room_id=room, after_seq=page.next_seq, limit=2)
    assert not page.messages and not page.has_more and page.next_seq == 8
    page = await ann.call("history", room_id=room, after_seq=0, limit=2)
    assert [message.seq for message in page.messages] == [1, 2] and page.has_more, "zero is a place, too"

    head = await heard(ben, room, 8)
    assert (head.head_seq, head.last_message.seq, head.peer_id, head.room.type) == (8, 8, ann.user_id, pb.DIRECT)
    await ben.send("last word", room_id=room)
    mine = await heard(ann, room, 9)
    assert (mine.head_seq, mine.unread, mine.peer_name) == (9, mine.head_seq - mine.read_seq, ben.name.capitalize())
    assert (await ann.call("mark_read", room_id=room, seq=9)).read_seq == 9
    assert (await ann.call("mark_read", room_id=room, seq=4)).read_seq == 9, "it never goes back"
    assert (await ann.call("conversations")).conversations[0].unread == 0

    stream = await ann.stream(limit=4)  # several pages
    assert [event.message.seq for event in stream if event.HasField("message")] == list(range(1, 10))
    assert stream[-1].read == pb.ReadMark(room_id=room, read_seq=9)
    page = await ann.call("sync", sync_key=len(stream))
    assert not page.events and not page.has_more and not page.reset
    assert (await ann.call("sync", sync_key=len(stream) + 100)).reset, "a key that was never given"

    await ben.call("subscribe", room_ids=[room])
    await ann.call("typing", room_id=room)
    await ben.door.push("typing", lambda typing: typing == pb.TypingNotice(room_id=room, user_id=ann.user_id))
    await ann.call("typing", room_id=room, stopped=True)
    await ben.door.push("typing", lambda typing: typing.stopped and typing.user_id == ann.user_id)
    await refused("room_not_found", eve.call("subscribe", room_ids=[room]))
    await leave(ann, ben, eve)


async def rooms(door):
    ann = await Person.register(server(), door)
    ben, cleo, dave = await people(3)
    made = (await ann.call("create_room", name="Hikers", member_ids=[ben.user_id], client_room_id="first")).room
    assert (made.name, made.type, made.owner_id, made.member_count) == ("Hikers", pb.GROUP, ann.user_id, 2)
    assert (made.member_max, made.head_seq, made.joinable, made.large) == (500, 0, False, False)
    room = made.room_id
    assert (await ann.call("create_room", name="Hikers", member_ids=[ben.user_id], client_room_id="first")).room.room_id == room
    await ben.door.event("room", lambda change: change.change == pb.ROOM_JOINED and change.room.room_id == room and change.actor_id == ann.user_id)
    got = await ann.call("get_room", room_id=room)
    assert got.room == made and got.role == pb.OWNER

    await refused("room_not_found", cleo.call("join_room", room_id=room))
    invited = await ann.call("invite", room_id=room, user_ids=[cleo.user_id, ben.user_id])
    assert (invited.added_count, invited.room.member_count) == (1, 3)
    await ben.door.event("room", lambda change: change.change == pb.MEMBER_JOINED and change.target_id == cleo.user_id)
    updated = (await ann.call("update_room", room_id=room, name="Sunday hikers", joinable=True)).room
    assert (updated.name, updated.joinable) == ("Sunday hikers", True)
    await ben.door.event("room", lambda change: change.change == pb.ROOM_UPDATED and change.room.name == "Sunday hikers")
    assert (await dave.call("join_room", room_id=room)).room.member_count == 4

    members = await ann.call("members", room_id=room, limit=3)
    assert len(members.members) == 3 and members.has_more
    rest = await ann.call("members", room_id=room, cursor=members.next_cursor, limit=3)
    everybody = [member.user_id for member in [*members.members, *rest.members]]
    assert everybody == sorted(person.user_id for person in (ann, ben, cleo, dave)) and not rest.has_more

    await refused("role_too_low", ben.call("update_room", room_id=room, name="Mine"))
    await ann.call("set_role", room_id=room, user_id=ben.user_id, role=pb.ADMIN)
    await ben.door.event("room", lambda change: change.change == pb.MEMBER_ROLE and change.target_id == ben.user_id and change.role == pb.ADMIN)
    assert (await ben.call("update_room", room_id=room, name="Ours", joinable=True)).room.name == "Ours"
    await refused("role_too_low", ben.call("set_role", room_id=room, user_id=cleo.user_id, role=pb.ADMIN))
    removed = await ann.call("remove_members", room_id=room, user_ids=[dave.user_id])
    assert (removed.removed_count, removed.room.member_count) == (1, 3)
    await dave.door.event("room", lambda change: change.change == pb.ROOM_LEFT and change.actor_id == ann.user_id)
    await refused("room_not_found", dave.send("still here?", room_id=room))

    await refused("owner_must_stay", ann.call("leave_room", room_id=room), 409)
    await ann.call("set_role", room_id=room, user_id=ben.user_id, role=pb.OWNER)
    assert (await ann.call("get_room", room_id=room)).role == pb.ADMIN
    await ann.call("leave_room", room_id=room)
    await refused("room_not_found", ann.call("get_room", room_id=room), 404)
    await refused("role_too_low", cleo.call("dismiss_room", room_id=room))

    own = (await ann.call("create_room", name="Short", member_ids=[cleo.user_id])).room.room_id
    await ann.send("before the end", room_id=own)
    await ann.call("dismiss_room", room_id=own)
    await cleo.door.event("room", lambda change: change.change == pb.ROOM_DISMISSED and change.room.dismissed)
    await refused("room_dismissed", ann.send("too late", room_id=own), 409)
    assert texts(await cleo.timeline(own)) == ["before the end"], "history stays readable"
    await leave(ann, ben, cleo, dave)


async def reads(person, room_id, hidden_seq, *said):
    """By every way there is: pages up and down of every size, from every place, and the list of conversations."""
    head = hidden_seq + len(said)
    for limit in (1, 2, 200):
        down, before, up, after = [], 0, [], 0
        while True:
            page = await person.call("history", room_id=room_id, before_seq=before, limit=limit)
            assert (page.hidden_seq, page.head_seq) == (hidden_seq, head), page
            down, before = [*down, *page.messages], page.next_seq
            if not page.has_more:
                break
        while True:
            page = await person.call("history", room_id=room_id, after_seq=after, limit=limit)
            up, after = [*up, *page.messages], page.next_seq
            if not page.has_more:
                break
        assert texts(up) == list(said) and down == up[::-1], (limit, texts(up), texts(down))
    for seq in range(1, hidden_seq + 1):
        below = await person.call("history", room_id=room_id, before_seq=seq, limit=5)
        assert not below.messages and not below.has_more, below
        above = await person.call("history", room_id=room_id, after_seq=seq, limit=200)
        assert texts(above.messages) == list(said), above
    entry = await heard(person, room_id, head)
    assert entry.HasField("last_message") == bool(said) and entry.unread <= len(said), entry


async def newcomers(door):
    ann, ben = [await Person.register(server(), door) for _ in range(2)]
    cleo, = await people(1)
    room = (await ann.call("create_room", name="Hikers", joinable=True, history=pb.SINCE_JOIN, client_room_id="quiet")).room
    assert room.history == pb.SINCE_JOIN
    await refused("client_id_conflict", ann.call("create_room", name="Hikers", joinable=True, client_room_id="quiet"), 409)
    await ann.send("before", room_id=room.room_id)
    assert (await ben.call("join_room", room_id=room.room_id)).room.history == pb.SINCE_JOIN
    await reads(ben, room.room_id, 1)
    await ann.send("hello ben", room_id=room.room_id)
    await cleo.call("join_room", room_id=room.room_id)
    await cleo.door.event("room", lambda change: change.change == pb.ROOM_JOINED and (change.room.history, change.read_seq) == (pb.SINCE_JOIN, 2))
    await ben.send("hello cleo", room_id=room.room_id)
    await reads(ann, room.room_id, 0, "before", "hello ben", "hello cleo")
    await reads(ben, room.room_id, 1, "hello ben", "hello cleo")
    await reads(cleo, room.room_id, 2, "hello cleo")
    assert "before" not in texts(event.message for event in await ben.stream() if event.HasField("message"))

    await refused("role_too_low", ben.call("update_room", room_id=room.room_id, joinable=True, history=pb.ALL))
    await refused("bad_field", ann.call("update_room", room_id=room.room_id, joinable=True, history=3), 400)
    assert (await ann.call("update_room", room_id=room.room_id, joinable=True, name="Sunday hikers")).room.history == pb.SINCE_JOIN
    shown = (await ann.call("update_room", room_id=room.room_id, joinable=True, history=pb.ALL)).room
    assert shown.history == pb.ALL and (await ben.call("get_room", room_id=room.room_id)).room == shown
    await cleo.door.event("room", lambda change: change.change == pb.ROOM_UPDATED and change.room.history == pb.ALL)
    await reads(ben, room.room_id, 0, "before", "hello ben", "hello cleo")
    assert (await ann.call("update_room", room_id=room.room_id, joinable=True, history=pb.SINCE_JOIN)).room.history == pb.SINCE_JOIN

    await ben.call("leave_room", room_id=room.room_id)
    await ann.send("without ben", room_id=room.room_id)
    await ben.call("join_room", room_id=room.room_id)
    await reads(ben, room.room_id, 4)
    await ann.send("ben again", room_id=room.room_id)
    await reads(ben, room.room_id, 4, "ben again")
    await leave(ann, ben, cleo)


async def presence(door):
    ann = await Person.register(server(), door)
    ben, = await people(1)
    status = (await ann.call("presence", user_ids=[ben.user_id, ann.user_id])).presence
    assert {entry.user_id for entry in status} == {ann.user_id, ben.user_id}
    of_ben = next(entry for entry in status if entry.user_id == ben.user_id)
    assert of_ben.online and list(of_ben.platforms) == ["test"] and of_ben.last_seen_ms == 0
    if door in SOCKET_DOORS:
        subscribed = await ann.call("subscribe", user_ids=[ben.user_id])
        assert [entry.online for entry in subscribed.presence] == [True]
        await ben.door.close()
        gone = await ann.door.push("presence", lambda entry: entry.user_id == ben.user_id and not entry.online)
        assert abs(gone.last_seen_ms - time.time() * 1000) < 60000
    else:
        answer = server().get("/v1/presence/subscribe", {"Authorization": f"Bearer {ann.token}"}, "POST", b"{}")
        assert answer[0] == 400 and json.loads(answer[1])["error"]["reason"] == "socket_only", answer
        await ben.door.close()

    async def is_gone():
        return not (await ann.call("presence", user_ids=[ben.user_id])).presence[0].online
    await eventually("ben to be offline", is_gone)
    await leave(ann)


async def names(door):
    """Somebody is called otherwise, by that door: seen by all who see the person, whichever way they look."""
    ann = await Person.register(server(), door)
    ben, = await people(1)
    room = (await ann.call("create_room", name="friends", member_ids=[ben.user_id])).room.room_id
    direct = (await ann.send("hello", to_user_id=ben.user_id)).room_id
    await heard(ben, direct, 1)
    before = (await ben.call("subscribe", user_ids=[ann.user_id])).presence[0]
    assert before.display_name == ann.name.capitalize()
    for bad in ("x" * 65, "a\nb", "\u200b"):
        await refused("bad_field", ann.call("set_display_name", display_name=bad), 400)
    answer = (await ann.call("set_display_name", display_name="  Ann \u00a0Smith ")).user
    assert (answer.user_id, answer.name, answer.display_name) == (ann.user_id, ann.name, "Ann Smith")
    told = await ben.door.push("presence", lambda entry: entry.display_name == "Ann Smith")
    assert (told.user_id, told.online, list(told.platforms)) == (ann.user_id, before.online, list(before.platforms)), "all else is as it was"
    assert (await ben.call("user", user_id=ann.user_id)).user == answer
    assert (await ben.call("presence", user_ids=[ann.user_id])).presence[0].display_name == "Ann Smith"
    members = {member.user_id: member.name for member in (await ben.call("members", room_id=room)).members}
    assert members == {ann.user_id: "Ann Smith", ben.user_id: ben.name.capitalize()}
    listed = {entry.room.room_id: entry for entry in (await ben.call("conversations")).conversations}
    assert (listed[direct].peer_name, listed[room].peer_name) == ("Ann Smith", "")
    assert listed[direct].last_message.sender_name == ann.name.capitalize(), "messages keep the name they were sent under"
    await ann.send("it is me", room_id=direct)
    assert (await heard(ben, direct, 2)).last_message.sender_name == "Ann Smith"
    assert (await ann.call("set_display_name")).user.display_name == ann.name, "without one it is the user name"
    await ben.door.push("presence", lambda entry: entry.display_name == ann.name)
    await leave(ann, ben)


# Who asks, the method, its fields from the world below, the reason and the HTTP status.
REFUSALS = [
    ("outsider", "send", lambda w: {"room_id": w["room"], "client_msg_id": "x", "body": b"x"}, "room_not_found", 404),
    ("outsider", "history", lambda w: {"room_id": w["room"]}, "room_not_found", 404),
    ("outsider", "mark_read", lambda w: {"room_id": w["room"], "seq": 1}, "room_not_found", 404),
    ("outsider", "typing", lambda w: {"room_id": w["room"]}, "room_not_found", 404),
    ("outsider", "members", lambda w: {"room_id": w["room"]}, "room_not_found", 404),
    ("outsider", "get_room", lambda w: {"room_id": w["room"]}, "room_not_found", 404),
    ("outsider", "leave_room", lambda w: {"room_id": w["room"]}, "room_not_found", 404),
    ("outsider", "join_room", lambda w: {"room_id": w["room"]}, "room_not_found", 404),
    ("outsider", "invite", lambda w: {"room_id": w["room"], "user_ids": [w["owner"].user_id]}, "room_not_found", 404),
    ("member", "invite", lambda w: {"room_id": w["room"], "user_ids": [w["outsider"].user_id]}, "role_too_low", 403),
    ("member", "remove_members", lambda w: {"room_id": w["room"], "user_ids": [w["owner"].user_id]}, "role_too_low", 403),
    ("member", "update_room", lambda w: {"room_id": w["room"], "name": "No"}, "role_too_low", 403),
    ("member", "dismiss_room", lambda w: {"room_id": w["room"]}, "role_too_low", 403),
    ("member", "set_role", lambda w: {"room_id": w["room"], "user_id": w["member"].user_id, "role": pb.ADMIN}, "role_too_low", 403),
    ("owner", "set_role", lambda w: {"room_id": w["room"], "user_id": w["outsider"].user_id, "role": pb.ADMIN}, "member_not_found", 404),
    ("owner", "set_role", lambda w: {"room_id": w["room"], "user_id": w["owner"].user_id, "role": pb.MEMBER}, "owner_must_stay", 409),
    ("owner", "invite", lambda w: {"room_id": w["room"], "user_ids": [w["nobody"]]}, "user_not_found", 404),
    ("owner", "invite", lambda w: {"room_id": w["room"]}, "bad_field", 400),
    ("owner", "invite", lambda w: {"room_id": w["direct"], "user_ids": [w["outsider"].user_id]}, "room_is_direct", 409),
    ("owner", "leave_room", lambda w: {"room_id": w["direct"]}, "room_is_direct", 409),
    ("owner", "get_room", lambda w: {"room_id": 12345}, "room_not_found", 404),
    ("owner", "get_room", lambda w: {"room_id": 0}, "room_not_found", 404),
    ("owner", "get_room", lambda w: {"room_id": 2**64 - 1}, "room_not_found", 404),
    ("owner", "send", lambda w: {"room_id": w["dismissed"], "client_msg_id": "x", "body": b"x"}, "room_dismissed", 409),
    ("owner", "invite", lambda w: {"room_id": w["dismissed"], "user_ids": [w["member"].user_id]}, "room_dismissed", 409),
    ("owner", "typing", lambda w: {"room_id": w["dismissed"]}, "room_dismissed", 409),
    ("owner", "send", lambda w: {"to_user_id": w["nobody"], "client_msg_id": "x", "body": b"x"}, "user_not_found", 404),
    ("owner", "send", lambda w: {"to_user_id": w["owner"].user_id, "client_msg_id": "x", "body": b"x"}, "bad_field", 400),
    ("owner", "send", lambda w: {"client_msg_id": "x", "body": b"x"}, "bad_field", 400),
    ("owner", "send", lambda w: {"room_id": w["room"], "to_user_id": w["member"].user_id, "client_msg_id": "x", "body": b"x"}, "bad_field", 400),
    ("owner", "send", lambda w: {"room_id": w["room"], "body": b"x"}, "bad_field", 400),
    ("owner", "send", lambda w: {"room_id": w["room"], "client_msg_id": "x" * 65, "body": b"x"}, "bad_field", 400),
    ("owner", "send", lambda w: {"room_id": w["room"], "client_msg_id": "x", "body": b"\xff\xfe"}, "bad_field", 400),
    ("owner", "send", lambda w: {"room_id": w["room"], "client_msg_id": "x", "kind": pb.FILE, "body": bytes(32769)}, "body_too_large", 413),
    ("owner", "mark_read", lambda w: {"room_id": w["room"], "seq": 0}, "bad_field", 400),
    ("owner", "history", lambda w: {"room_id": w["room"], "limit": 201}, "bad_field", 400),
    ("owner", "sync", lambda w: {"limit": 501}, "bad_field", 400),
    ("owner", "conversations", lambda w: {"limit": 501}, "bad_field", 400),
    ("owner", "members", lambda w: {"room_id": w["room"], "limit": 501}, "bad_field", 400),
    ("owner", "presence", lambda w: {"user_ids": range(1, 130)}, "bad_field", 400),
    ("owner", "user", lambda w: {}, "bad_field", 400),
    ("owner", "user", lambda w: {"name": "nobody-by-that-name"}, "user_not_found", 404),
    ("owner", "user", lambda w: {"name": "x", "user_id": 1}, "bad_field", 400),
    ("owner", "create_room", lambda w: {"name": ""}, "bad_field", 400),
    ("owner", "create_room", lambda w: {"name": "x", "history": 3}, "bad_field", 400),
    ("owner", "create_room", lambda w: {"name": "x" * 65}, "bad_field", 400),
    ("owner", "create_room", lambda w: {"name": "x", "client_room_id": "x" * 65}, "bad_field", 400),
    ("owner", "create_room", lambda w: {"name": "x", "member_ids": [w["nobody"]]}, "user_not_found", 404),
    ("owner", "create_room", lambda w: {"name": "other", "client_room_id": "used"}, "client_id_conflict", 409),
    ("owner", "revoke_device", lambda w: {"device_id": "nowhere"}, "device_not_found", 404),
]
CODES = {400: "INVALID_ARGUMENT", 413: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}


async def refusals(door):
    owner, member, outsider = [await Person.register(server(), door) for _ in range(3)]
    world = {"owner": owner, "member": member, "outsider": outsider, "nobody": (owner.user_id & ~(2**38 - 1)) + 2**37}
    world["room"] = (await owner.call("create_room", name="Room", member_ids=[member.user_id], client_room_id="used")).room.room_id
    world["dismissed"] = (await owner.call("create_room", name="Gone")).room.room_id
    await owner.call("dismiss_room", room_id=world["dismissed"])
    world["direct"] = (await owner.send("hello", to_user_id=member.user_id)).room_id
    for who, method, fields, reason, status in REFUSALS:
        try:
            error = await refused(reason, world[who].call(method, **fields(world)), status)
        except AssertionError as wrong:
            raise AssertionError(f"{who} {method} {fields(world)}: {wrong}") from None
        assert status not in CODES or error.code == CODES[status], (method, error)
        assert error.message and error.request_id and not error.retryable, (method, error)
    await a_stranger_learns_nothing(outsider, owner.user_id, [world[name] for name in ("room", "dismissed", "direct")] + [world["room"] + 1000, 2**64 - 1])
    await leave(owner, member, outsider)


async def a_stranger_learns_nothing(outsider, somebody, rooms):
    """Whatever is behind the id of a room, and if there is nothing: the same answer, word for word."""
    calls = {
        "send": {"client_msg_id": "s", "body": b"x"}, "history": {}, "mark_read": {"seq": 1}, "typing": {}, "get_room": {}, "members": {},
        "join_room": {}, "leave_room": {}, "update_room": {"name": "x"}, "dismiss_room": {}, "invite": {"user_ids": [somebody]}, "remove_members": {"user_ids": [somebody]},
        "set_role": {"user_id": outsider.user_id, "role": pb.ADMIN},
    }
    for method, fields in calls.items():
        answers = set()
        for room in rooms:
            error = await refused("room_not_found", outsider.call(method, room_id=room, **fields), 404)
            answers.add((error.code, error.message, error.retryable, error.retry_after_ms))
        assert len(answers) == 1, (method, answers)


for a_door in DOORS:
    for evening in (accounts, chat, rooms, newcomers, presence, names, refusals):
        checks.add(f"{evening.__name__} over {a_door.name}", lambda door=a_door, evening=evening: asyncio.run(evening(door)))


# ---- the contract itself ---------------------------------------------------------------------------------------------------

@checks
def openapi_describes_every_route_of_the_contract():
    document = json.loads(server().get("/openapi.json")[1])
    assert document["openapi"].startswith("3.")
    served = {method: path for method, (_, path) in HTTP_PATHS.items()}
    assert set(document["paths"]) == set(served.values())
    for method, (verb, path) in HTTP_PATHS.items():
        entry = document["paths"][path]
        assert set(entry) == ({"post", "get"} if verb == "GET" else {"post"}), path
        assert entry["post"]["operationId"] == method
        schema = entry["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
        assert schema == REQUEST_TYPES[method].name
        properties = document["components"]["schemas"][schema].get("properties", {})
        assert set(properties) == {field.name for field in REQUEST_TYPES[method].fields}, schema
        if verb == "GET":
            assert {parameter["name"] for parameter in entry["get"].get("parameters", [])} == set(properties), path
    text = json.dumps(document)
    for name in set(re.findall(r'"#/components/schemas/(\w+)"', text)):
        assert name in document["components"]["schemas"], name


@checks
def every_route_exists_and_wants_a_token():
    for method, (verb, path) in HTTP_PATHS.items():
        status, answer = server().get(path, method="POST", body=b"{}")
        reason = json.loads(answer)["error"]["reason"]
        is_open = method in ("register", "login", "refresh")
        assert is_open and status in (400, 401) or (status, reason) == (401, "not_authenticated"), (path, status, answer)
        status, answer = server().get(path)
        assert (status == 405) == (verb == "POST"), (path, status, answer)
    assert set(METHODS) - set(HTTP_PATHS) == {"auth", "subscribe"}


@checks
def unknown_paths_and_methods_are_refused_in_the_same_form():
    for path in ("/v1/chat/nothing", "/nothing", "/v1", "/../etc/passwd"):
        status, answer = server().get(path)
        error = json.loads(answer)["error"]
        assert status == 404 and set(error) == {"code", "reason", "message", "retryable", "retry_after_ms", "request_id"}, (path, answer)
    response, answer = server().exchange("/v1/chat/send", method="POST", body=b"{}")
    assert response.headers["WWW-Authenticate"] == "Bearer"


@checks
async def json_is_the_strict_protobuf_mapping():
    ann, = await people(1)
    token = {"Authorization": f"Bearer {ann.token}"}
    for body in (b"{", b'{"nothing":1}', b'{"name":1}', b'{"member_ids":"1"}', b"[]", b'{"name":"a","name":"b"}', b'{"joinable":"true"}',
                 b'{"name":"a","clientRoomId":"names are those of the contract"}'):
        status, answer = server().get("/v1/room/create", token, "POST", body)
        assert status == 400 and json.loads(answer)["error"]["reason"] == "bad_request", (body, answer)
    status, answer = server().get("/v1/room/create", token, "POST", b'{"name":"Caf\\u00e9 \\ud83d\\ude00"}')
    assert status == 200 and json.loads(answer)["room"]["name"] == "Café 😀", answer
    assert isinstance(json.loads(answer)["room"]["room_id"], str), "64-bit numbers are strings"
    status, answer = server().get("/v1/chat/sync?sync_key=0&nothing=1", token)
    assert status == 400, answer
    await leave(ann)


@checks
async def a_socket_answers_rubbish_and_goes_on():
    ann, = await people(1, WebSocketJson)
    for text in ("rubbish", "{}", '{"request":{"id":"7"}}', '{"request":{"id":"8","nothing":{}}}', '{"response":{"id":"9"}}'):
        await ann.door.websocket.send(text)
        number = json.loads(text)["request"]["id"] if "request" in text else "0"
        future = ann.door.waiting[int(number)] = asyncio.get_running_loop().create_future()
        response = await asyncio.wait_for(future, 10)
        assert response.error.reason in ("bad_request", "unknown_method"), (text, response)
    assert await ann.call("devices")
    await leave(ann)


# ---- pages of operations ---------------------------------------------------------------------------------------------------

@checks
def health_ready_and_version_pages():
    assert server().get("/healthz")[0] == 200
    assert json.loads(server().get("/readyz")[1]) == {"ready": True}
    version = json.loads(server().get("/version")[1])
    assert (version["name"], version["api"], version["workers"], version["shards"]) == ("ringpost", "v1", 2, 4)
    assert re.fullmatch(r"\d+\.\d+\.\d+(\+[.\w]+)?", version["version"]) and len(version["instance"]) == 32


@checks
async def metrics_are_prometheus_text_and_count():
    ann, = await people(1)
    before = server().metric("ringpost_requests_total")
    await ann.call("devices")
    response, text = server().exchange("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    types, seen = {}, set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            assert name not in types and kind in ("counter", "gauge", "histogram"), line
            types[name] = kind
        elif not line.startswith("# HELP "):
            sample = re.fullmatch(r'([a-z_]+)(\{[a-z_]+="[^"]*"(?:,[a-z_]+="[^"]*")*\})? (\+Inf|[0-9.e+-]+)', line)
            assert sample, line
            assert line.rsplit(" ", 1)[0] not in seen, f"twice: {line}"
            seen.add(line.rsplit(" ", 1)[0])
            family = re.sub(r"_(bucket|sum|count)$", "", sample.group(1)) if sample.group(1) not in types else sample.group(1)
            assert family in types, line
            assert types[family] != "counter" or family.endswith("_total"), line
    assert server().metric("ringpost_requests_total") > before
    assert server().metric("ringpost_sessions_open") >= 1
    await leave(ann)


@checks
async def an_origin_that_is_not_allowed_is_refused():
    port = server().port
    for origin, allowed in ((f"http://{LOCALHOST}:{port}", True), ("https://evil.example", False), ("null", False), (f"http://{LOCALHOST}:1", False)):
        try:
            async with websockets.connect(f"ws://{LOCALHOST}:{port}/v1/socket", origin=origin, subprotocols=["ringpost.v1.json"]):
                assert allowed, origin
        except websockets.InvalidStatusCode as refusal:
            assert not allowed and refusal.status_code == 403, (origin, refusal)
    asked = {"Origin": "https://chat.example.com", "Access-Control-Request-Method": "POST"}
    response, _ = server("impatient").exchange("/v1/chat/send", asked, "OPTIONS")
    assert response.headers["Access-Control-Allow-Origin"] == "https://chat.example.com"
    response, _ = server("impatient").exchange("/v1/chat/send", asked | {"Origin": "https://evil.example"}, "OPTIONS")
    assert response.headers["Access-Control-Allow-Origin"] is None


# ---- conversations -----------------------------------------------------------------------------------------------------------

@checks
async def a_group_talks_across_all_doors_in_one_order():
    ann = await Person.register(server(), WebSocketJson)
    ben = await Person.register(server(), WebSocketBinary)
    cleo = await Person.register(server(), Tcp)
    dave = await Person.register(server(), Http)
    room = (await ann.call("create_room", name="All doors", member_ids=[ben.user_id, cleo.user_id, dave.user_id])).room.room_id

    async def talk(person):
        for number in range(15):
            await person.send(f"{person.name} {number}", room_id=room)
    await asyncio.gather(*(talk(person) for person in (ann, ben, cleo, dave)))
    timeline = await dave.timeline(room)
    assert len(timeline) == 60 and len({message.msg_id for message in timeline}) == 60
    for person in (ann, ben, cleo, dave):
        own = [message.body.decode() for message in timeline if message.sender_id == person.user_id]
        assert own == [f"{person.name} {number}" for number in range(15)], "the order of each sender is kept"
    for person in (ann, ben, cleo):
        await person.door.event("message", lambda message: message.room_id == room and message.seq == 60)
        pushed = [push.event for push in person.door.pushes if push.HasField("event")]
        assert [event.sync_key for event in pushed] == list(range(1, len(pushed) + 1))
        assert [event.message for event in pushed if event.HasField("message")] == timeline
        assert await person.stream() == pushed, "what was pushed is what sync gives"
    await leave(ann, ben, cleo, dave)


@checks
async def what_came_while_offline_is_there_afterwards():
    ann, ben = await people(2)
    first = await ann.send("before", to_user_id=ben.user_id)
    await ben.door.event("message")
    have = (await ben.stream())[-1].sync_key
    await ben.call("mark_read", room_id=first.room_id, seq=1)
    await leave(ben)
    for number in range(5):
        await ann.send(f"away {number}", to_user_id=ben.user_id)
    group = (await ann.call("create_room", name="New", member_ids=[ben.user_id])).room.room_id
    last = await ann.send("in the group", room_id=group)
    web = await ben.again(server(), Http, "web")  # no session: he stays away

    async def arrived():
        events = await web.stream(have)
        return events and events[-1].message.msg_id == last.msg_id
    await eventually("all to be in his stream", arrived)
    back = await ben.again(server(), WebSocketBinary, "first")
    missed = await back.stream(have)
    assert back.bound.sync_key == missed[-1].sync_key
    assert texts(event.message for event in missed if event.HasField("message")) == [*(f"away {number}" for number in range(5)), "in the group"]
    unread = {entry.room.room_id: entry.unread for entry in (await back.call("conversations")).conversations}
    assert unread == {first.room_id: 5, group: 1}
    await leave(ann, back)


@checks
async def two_devices_of_a_user_converge():
    ann, ben = await people(2)
    tablet = await ben.again(server(), WebSocketBinary, "tablet")
    sent = await ann.send("one", to_user_id=ben.user_id)
    await ann.send("two", to_user_id=ben.user_id)
    for device in (ben, tablet):
        await device.door.event("message", lambda message: message.seq == 2)
    await ben.call("mark_read", room_id=sent.room_id, seq=2)
    mark = await tablet.door.event("read", lambda read: read.read_seq == 2)
    assert mark.room_id == sent.room_id
    await tablet.send("from the tablet", to_user_id=ann.user_id)
    await ben.door.event("message", lambda message: message.body == b"from the tablet")
    heads = [(await device.call("conversations")).conversations[0] for device in (ben, tablet)]
    assert heads[0] == heads[1] and heads[0].read_seq >= 2
    assert await ben.stream() == await tablet.stream()
    await leave(ann, ben, tablet)


@checks
async def resending_at_once_gives_one_message():
    ann, ben = await people(2)
    futures = [await ann.door.submit("send", to_user_id=ben.user_id, client_msg_id="same", body=b"once") for _ in range(10)]
    answers = [(await future).send for future in futures]
    assert all(answer == answers[0] for answer in answers) and answers[0].seq == 1
    web = await ann.again(server(), Http, "web")
    assert await web.send("once", to_user_id=ben.user_id, client_msg_id="same") == answers[0], "from another device too"
    assert texts(await ben.timeline(answers[0].room_id)) == ["once"]
    await leave(ann, ben, web)


@checks
async def two_who_write_to_each_other_at_once_share_one_room():
    for _ in range(5):
        ann, ben = await people(2, WebSocketBinary)
        sent = await asyncio.gather(ann.send("a", to_user_id=ben.user_id), ben.send("b", to_user_id=ann.user_id))
        assert sent[0].room_id == sent[1].room_id and {sent[0].seq, sent[1].seq} == {1, 2}
        await leave(ann, ben)


@checks
async def presence_counts_all_devices():
    ann, ben = await people(2)
    await ann.call("subscribe", user_ids=[ben.user_id])
    tablet = await ben.again(server(), Tcp, "tablet")
    await leave(ben)
    status = (await ann.call("presence", user_ids=[ben.user_id])).presence[0]
    assert status.online, "one device is left"
    await leave(tablet)
    await ann.door.push("presence", lambda entry: entry.user_id == ben.user_id and not entry.online and entry.last_seen_ms > 0)
    back = await ben.again(server(), WebSocketJson, "first")
    await ann.door.push("presence", lambda entry: entry.user_id == ben.user_id and entry.online)
    await leave(ann, back)


@checks
async def a_room_has_exactly_its_size_under_concurrent_joins():
    owner, *others = await people(20, Http, "tight")
    for _ in range(3):
        room = (await owner.call("create_room", name="Small", joinable=True)).room.room_id

        async def join(person):
            try:
                await person.call("join_room", room_id=room)
                return person.user_id
            except Exception as refusal:
                assert (refusal.reason, refusal.status) == ("room_full", 409), refusal
        joined = {member for member in await asyncio.gather(*(join(person) for person in others)) if member}
        members = {member.user_id for member in (await owner.call("members", room_id=room)).members}
        assert len(joined) == 7 and members == joined | {owner.user_id}, (len(joined), len(members))
        assert (await owner.call("get_room", room_id=room)).room.member_count == 8
    await leave(owner, *others)


@checks
async def a_large_room_is_read_from_its_timeline():
    ann, ben, cleo, dave, eve = await people(5, WebSocketJson, "tight")
    everybody = (ann, ben, cleo, dave, eve)
    room = (await ann.call("create_room", name="Large", member_ids=[person.user_id for person in everybody[1:]])).room
    assert room.large
    await leave(eve)
    for person in (ben, cleo, dave):  # whose shard is not the room's is told to sync: a message may overtake the news of the room
        await person.door.push("event", lambda event: event.HasField("room"))
        await person.stream()
    await asyncio.gather(*(person.send(f"from {person.name}", room_id=room.room_id) for person in (ann, ben, cleo, dave)))
    timeline = await ann.timeline(room.room_id)
    for person in (ann, ben, cleo, dave):
        await person.door.wait(lambda: person.door.count("room_message") == 4, "four pushes")
        pushed = [push.room_message for push in person.door.pushes if push.HasField("room_message")]
        assert pushed == timeline
        assert not [event for event in await person.stream() if event.HasField("message")], "no entries in the stream"
    back = await eve.again(server("tight"), WebSocketBinary, "first")
    page = await back.call("sync", sync_key=0)
    assert [(head.room_id, head.head_seq, head.read_seq) for head in page.heads] == [(room.room_id, 4, 0)]
    entry = next(entry for entry in (await back.call("conversations")).conversations if entry.room.room_id == room.room_id)
    assert entry.unread == 4 and entry.last_message == timeline[-1]
    await back.call("mark_read", room_id=room.room_id, seq=4)
    assert not (await back.call("sync", sync_key=0)).heads
    await ann.call("remove_members", room_id=room.room_id, user_ids=[dave.user_id, back.user_id])
    assert (await ann.call("get_room", room_id=room.room_id)).room.large, "what was large stays large"
    await leave(ann, ben, cleo, dave, back)


@checks
async def a_large_room_hides_its_past_as_well():
    ann, ben, cleo, dave, eve = await people(5, WebSocketJson, "tight")
    room = (await ann.call("create_room", name="Large", joinable=True, history=pb.SINCE_JOIN,
                           member_ids=[person.user_id for person in (ben, cleo, dave)])).room
    assert room.large
    await ann.send("before", room_id=room.room_id)
    await eve.call("join_room", room_id=room.room_id)
    await reads(eve, room.room_id, 1)
    assert not (await eve.call("sync", sync_key=0)).heads
    await ann.send("hello eve", room_id=room.room_id)
    assert (await eve.door.push("room_message")).seq == 2
    await reads(eve, room.room_id, 1, "hello eve")
    await reads(ben, room.room_id, 0, "before", "hello eve")
    await leave(ann, ben, cleo, dave, eve)


@checks
async def what_is_hidden_stays_hidden_over_restarts():
    own = Server(shards=4, workers=2).start()
    ann, ben, cleo = [await Person.register(own, Http) for _ in range(3)]
    room = (await ann.call("create_room", name="Quiet", member_ids=[cleo.user_id], history=pb.SINCE_JOIN)).room.room_id
    await ann.send("before", room_id=room)
    await ann.call("invite", room_id=room, user_ids=[ben.user_id])
    for end in (own.kill, own.stop):
        await asyncio.to_thread(end)
        own.start()
        ann, ben, cleo = [await person.again(own, Http, "first") for person in (ann, ben, cleo)]
        assert (await ben.call("get_room", room_id=room)).room.history == pb.SINCE_JOIN
        await reads(ben, room, 1)
        await reads(cleo, room, 0, "before")
    await asyncio.to_thread(own.stop)


@checks
async def a_room_grows_large_and_nothing_is_lost_in_between():
    ann, ben, cleo, dave = await people(4, WebSocketBinary, "tight")
    room = (await ann.call("create_room", name="Growing", member_ids=[ben.user_id, cleo.user_id])).room.room_id
    writing = asyncio.Event()

    async def write():
        for number in range(60):
            await ann.send(f"{number}", room_id=room)
            if number == 20:
                writing.set()
    writer = asyncio.create_task(write())
    await writing.wait()
    assert (await ann.call("invite", room_id=room, user_ids=[dave.user_id])).room.large
    await writer
    timeline = await dave.timeline(room)
    assert texts(timeline) == [f"{number}" for number in range(60)]
    for person in (ann, ben, cleo):
        def got():
            pushes = person.door.pushes
            return [push.event.message if push.HasField("event") else push.room_message for push in pushes
                    if push.HasField("room_message") or push.HasField("event") and push.event.HasField("message")]
        await person.door.wait(lambda: len(got()) >= 60 or person.door.count("behind") > 0, "sixty messages, or to be told to sync")
        if person.door.count("behind") > 0:  # its shard is not the room's: a message may overtake the news that the room is large
            await person.stream()
        assert texts(got()) == [text for text in texts(timeline) if text in texts(got())], "from the stream first, then from the timeline, each once"
        assert person.door.count("behind") > 0 or got() == timeline
        assert await person.timeline(room) == timeline
    await ann.send("and on", room_id=room)
    for person in (ann, ben, cleo):  # dave has not synced
        await person.door.push("room_message", lambda message: message.body == b"and on")
    await leave(ann, ben, cleo, dave)


# ---- tokens ------------------------------------------------------------------------------------------------------------------

def minted(name, user_id, device_id="from-the-app", lifetime=60, issued=None, kid="default", key=None, claims=(), **header):
    """A token as an app's own backend makes it."""
    key = key or (server(name).data_dir / "keys" / kid).read_bytes()
    issued = int(time.time()) if issued is None else issued
    claims = {"sub": str(user_id), "dev": device_id, "plt": "app", "iat": issued, "exp": issued + lifetime} | dict(claims)
    return jwt.encode(claims, key, algorithm="HS256", headers={"kid": kid} | header)


@checks
async def an_apps_backend_mints_tokens():
    ann, = await people(1, WebSocketJson)
    token = minted("usual", ann.user_id)
    for door in SOCKET_DOORS:
        connection = await door.open(server())
        bound = await connection.call("auth", access_token=token)
        assert (bound.user_id, bound.name) == (ann.user_id, ann.name)
        assert any(device.device_id == "from-the-app" and device.online for device in (await connection.call("devices")).devices)
        await connection.close()
    web = await Http.open(server())
    web.token = token
    assert (await web.call("user", user_id=ann.user_id)).user.name == ann.name
    now = time.time()
    web.token = minted("usual", ann.user_id, issued=now, claims={"nbf": now - 0.5, "aud": ["app", "ringpost"], "iss": "ringpost"})
    assert (await web.call("user", user_id=ann.user_id)).user.name == ann.name, "times with fractions"
    await leave(ann)


@checks
async def a_backends_device_is_known_from_its_first_request():
    ann, = await people(1, WebSocketJson)
    web = await Http.open(server())
    web.token = minted("usual", ann.user_id, "kiosk")
    await refused("device_not_found", ann.call("revoke_device", device_id="kiosk"))
    assert (await web.call("user", user_id=ann.user_id)).user.name == ann.name
    assert "kiosk" in [device.device_id for device in (await ann.call("devices")).devices]
    await ann.call("revoke_device", device_id="kiosk")
    await refused("device_revoked", web.call("devices"), 401)
    assert "kiosk" not in [device.device_id for device in (await ann.call("devices")).devices]
    await leave(ann)


@checks
async def a_refresh_token_that_is_shown_again_ends_its_login():
    ann, = await people(1, WebSocketJson)
    stolen = await ann.again(server(), WebSocketJson, "stolen")
    first = stolen.refresh_token
    second = await ann.call("refresh", refresh_token=first)
    third = await ann.call("refresh", refresh_token=second.refresh_token)
    web = await Http.open(server())
    web.token = third.access_token
    await web.call("devices")
    error = await refused("token_invalid", ann.call("refresh", refresh_token=first))
    assert "used before" in error.message
    assert (await stolen.door.push("session_end")).reason == "revoked"
    await refused("device_revoked", web.call("devices"), 401)
    await refused("token_invalid", ann.call("refresh", refresh_token=third.refresh_token))
    assert await ann.call("devices"), "other devices go on"
    await leave(ann)


@checks
async def who_is_refused_leaves_a_line():
    ann, = await people(1, WebSocketJson)
    web = await Http.open(server())
    before = len(server().log_lines())
    await refused("wrong_password", web.call("login", name=ann.name, password="not that one", device_id="d"))
    await refused("wrong_password", web.call("login", name="nobody-" + ann.name, password="whatever it is", device_id="d"))
    web.token = minted("usual", ann.user_id, key=bytes(32))
    error = await refused("token_invalid", web.call("devices"))
    assert "signature" not in error.message, "nothing about keys"
    web.token = minted("usual", ann.user_id, claims={"aud": "another"})
    error = await refused("token_invalid", web.call("devices"))
    assert "token_audiences" in error.message, error.message
    web.token = minted("usual", ann.user_id, claims={"iss": "another"})
    assert "token_issuers" in (await refused("token_invalid", web.call("devices"))).message
    await refused("token_invalid", web.call("refresh", refresh_token="rubbish"))
    wanted = ["reason=wrong_password", "reason=unknown_user", "its signature does not fit", "token_audiences", "token_issuers",
              "it is no refresh token"]

    def written():
        lines = [line for line in server().log_lines()[before:] if "message=refused" in line and "address=127.0.0.1" in line]
        return all(any(want in line for line in lines) for want in wanted)
    wait_for("a line for each of them", written)
    await leave(ann)


@checks
async def tokens_that_are_not_good_are_refused():
    ann, = await people(1, WebSocketJson)
    good = minted("usual", ann.user_id)
    head, claims, signature = good.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT","kid":"default"}').decode().rstrip("=")
    changed = base64.urlsafe_b64encode(json.dumps({"sub": "1", "dev": "d", "plt": "", "iat": 1, "exp": 2}).encode()).decode().rstrip("=")
    bad = {
        "expired": (minted("usual", ann.user_id, issued=int(time.time()) - 3600, lifetime=60), "token_expired"),
        "for a year": (minted("usual", ann.user_id, lifetime=365 * 86400), "token_invalid"),
        "from the future": (minted("usual", ann.user_id, issued=int(time.time()) + 3600), "token_invalid"),
        "another key": (minted("usual", ann.user_id, key=bytes(32)), "token_invalid"),
        "an unknown key's name": (minted("usual", ann.user_id, kid="other", key=bytes(32)), "token_invalid"),
        "no signature": (f"{none}.{claims}.", "token_invalid"),
        "changed claims": (f"{head}.{changed}.{signature}", "token_invalid"),
        "cut": (good[:-1], "token_invalid"),
        "nobody": (minted("usual", (ann.user_id & ~(2**38 - 1)) + 2**37), "user_not_found"),
        "another shard": (minted("usual", 2**63 + 5), "token_invalid"),
        "for others": (minted("usual", ann.user_id, claims={"aud": ["others"]}), "token_invalid"),
        "of others": (minted("usual", ann.user_id, claims={"iss": "others"}), "token_invalid"),
        "rubbish": ("a.b.c", "token_invalid"),
    }
    web = await Http.open(server())
    socket_ = await WebSocketBinary.open(server())
    for what, (token, reason) in bad.items():
        web.token = token
        try:
            await refused(reason, web.call("devices"), 404 if reason == "user_not_found" else 401)
            await refused(reason, socket_.call("auth", access_token=token))
        except AssertionError as wrong:
            raise AssertionError(f"{what}: {wrong}") from None
    await leave(ann)
    await socket_.close()


@checks
async def leeway_is_for_accepting_a_token_and_not_for_staying_with_it():
    ann, = await people(1, WebSocketJson)  # the usual leeway of half a minute
    over = minted("usual", ann.user_id, "over", issued=int(time.time()) - 10, lifetime=5)
    web = await Http.open(server())
    web.token = over
    assert await web.call("devices"), "within the leeway"
    for door in SOCKET_DOORS:
        connection = await door.open(server())
        await refused("token_expired", connection.call("auth", access_token=over))
        ends = int(time.time()) + 2
        await connection.call("auth", access_token=minted("usual", ann.user_id, "short", issued=ends - 30, lifetime=30))
        await connection.push("session_end", lambda end: end.reason == "expired")
        assert ends <= time.time() < ends + 25, "not after the leeway"
    await leave(ann)


@checks
async def a_socket_ends_with_its_token_unless_it_shows_a_newer_one():
    ann, ben = await people(2, WebSocketJson, "tight")
    connection = await WebSocketJson.open(server("tight"))
    bound = await connection.call("auth", access_token=minted("tight", ann.user_id, "short", lifetime=2))
    assert bound.expires_ms <= (time.time() + 3) * 1000
    extended = await WebSocketJson.open(server("tight"))
    await extended.call("auth", access_token=minted("tight", ann.user_id, "extended", lifetime=2))
    bound = await extended.call("auth", access_token=minted("tight", ann.user_id, "extended", lifetime=600))
    assert bound.expires_ms > (time.time() + 500) * 1000
    await refused("other_user", extended.call("auth", access_token=ben.token))
    await connection.push("session_end", lambda end: end.reason == "expired")
    assert await connection.end_code() == 4401
    assert await extended.call("devices"), "it goes on"
    await extended.close()
    await leave(ann, ben)


@checks
async def revoking_ends_the_socket_and_the_tokens():
    ann, = await people(1, WebSocketJson)
    lost = await ann.again(server(), WebSocketJson, "lost")
    web = await Http.open(server())
    web.token = lost.token
    await ann.call("revoke_device", device_id="lost")
    assert (await lost.door.push("session_end")).reason == "revoked"
    assert await lost.door.end_code() == 4403
    await refused("device_revoked", web.call("devices"), 401)
    await refused("token_invalid", ann.call("refresh", refresh_token=lost.refresh_token))
    await ann.call("logout")
    assert (await ann.door.push("session_end")).reason in ("logged_out", "revoked")
    assert await ann.door.end_code() == 4403


@checks
async def sessions_of_a_device_stand_side_by_side_up_to_a_limit():
    name = "impatient"
    ann, = await people(1, WebSocketJson, name)
    tab = await ann.again(server(name), WebSocketJson, "first")
    assert await ann.call("devices"), "two tabs are two sessions of one device"
    newest = await ann.again(server(name), WebSocketJson, "first")
    assert await ann.door.end_code() == 1001, "at the limit the oldest makes room"
    assert await tab.call("devices") and await newest.call("devices")
    await leave(tab, newest)


@checks
async def a_user_has_a_limited_number_of_devices():
    name = "impatient"
    ann, = await people(1, Tcp, name)
    second = await ann.again(server(name), Tcp, "second")
    stranger = await Http.open(server(name))
    login = {"name": ann.name, "password": "correct horse battery"}
    await refused("too_many_devices", stranger.call("login", device_id="third", **login), 409)
    await leave(second)

    async def gives_its_place():
        try:
            return await stranger.call("login", device_id="third", **login)
        except Refused as refusal:
            assert refusal.reason == "too_many_devices"
    assert await eventually("the second one's connection to be gone", gives_its_place), "who is not connected makes room"
    await ann.door.event("device", lambda ended: (ended.device_id, ended.for_device_id) == ("second", "third"))
    await ann.call("revoke_device", device_id="third")
    assert await stranger.call("login", device_id="second", **login)
    assert await stranger.call("login", device_id="second", **login), "a known one may"
    await leave(ann)


# ---- limits -----------------------------------------------------------------------------------------------------------------

@checks
async def a_frame_that_is_too_large_closes_with_1009():
    for door in (WebSocketJson, WebSocketBinary):
        connection = await door.open(server())
        assert connection.hello.frame_size_max == 65536
        await connection.websocket.send("x" * 65537 if door is WebSocketJson else bytes(65537))
        assert await connection.end_code() == 1009
    connection = await Tcp.open(server())
    connection.writer.write((65537).to_bytes(4, "big"))
    await connection.end_code()


@checks
async def a_socket_that_does_not_log_in_is_closed_with_4401():
    for door in SOCKET_DOORS:
        connection = await door.open(server("impatient"))
        assert connection.hello.authenticate_timeout_ms == 200
        assert await connection.end_code() in (4401, None)
    ann, = await people(1, WebSocketJson, "impatient")
    other = await WebSocketJson.open(server("impatient"))
    await other.end_code()
    assert await ann.call("devices"), "who is logged in stays"
    await leave(ann)


@checks
async def a_silent_socket_is_closed_with_4408_and_one_that_answers_pings_stays():
    name = "impatient"
    deaf = await Person.register(server(name), WebSocketJson, deaf=True)
    alive, = await people(1, WebSocketBinary, name)
    silent = await Person.register(server(name), Tcp)
    assert await deaf.door.end_code() == 4408
    await silent.door.end_code()
    assert silent.door.heartbeats > 0, "it was asked"
    assert await alive.call("devices")
    await leave(alive)


@checks
async def too_many_messages_are_refused_with_the_time_to_wait():
    ann, ben = await people(2, Http, "impatient")
    room = (await ann.call("create_room", name="Fast", member_ids=[ben.user_id])).room.room_id
    for number in range(5):
        await ann.send(f"{number}", room_id=room)
    error = await refused("rate_limited", ann.send("one too many", room_id=room), 429)
    assert error.retryable and 0 < error.retry_after_ms <= 1000, error
    status, answer = server("impatient").get("/v1/chat/send", {"Authorization": f"Bearer {ann.token}"}, "POST", json.dumps(
        {"room_id": str(room), "client_msg_id": "raw", "body": "eA=="}))
    assert status == 429, answer

    async def goes_again():
        try:
            return await ann.send("later", client_msg_id="later", room_id=room)
        except Exception as refusal:
            assert refusal.reason == "rate_limited"
    assert (await eventually("the rate to allow it again", goes_again)).seq == 6
    await leave(ann, ben)


@checks
async def the_first_messages_to_somebody_keep_their_order():
    ann, = await people(1, WebSocketBinary, "tight")
    for _ in range(8):
        ben, = await people(1, WebSocketBinary, "tight")
        sends = [ann.call("send", to_user_id=ben.user_id, client_msg_id=f"first-{number}", body=b"x") for number in range(100)]
        assert [answer.seq for answer in await asyncio.gather(*sends)] == list(range(1, 101))
        await leave(ben)
    await leave(ann)


@checks
async def guessing_passwords_is_slowed_down_on_every_door():
    doors = [await door.open(server("guarded")) for door in (Http, Tcp, WebSocketJson)]
    guess = {"name": "nobody", "password": "guess after guess", "device_id": "one"}
    for door in doors:
        await refused("wrong_password", door.call("login", **guess))
    for door in doors:
        error = await refused("rate_limited", door.call("login", **guess))
        assert error.retryable and 0 < error.retry_after_ms <= 3000, error

    async def goes_again():
        try:
            await doors[0].call("login", **guess)
        except Exception as refusal:
            return refusal.reason == "wrong_password" or None
    await eventually("the next attempt to be allowed", goes_again)
    for door in doors:
        await door.close()


@checks
async def a_slow_reader_gets_behind_and_catches_up_with_nothing_lost():
    name = "tight"
    ann = await Person.register(server(name), WebSocketBinary)
    narrow = socket.create_connection((LOCALHOST, server(name).port))
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
    narrow.setblocking(False)
    slow = await Person.register(server(name), WebSocketBinary, sock=narrow, max_queue=1, read_limit=32768)
    room = (await ann.call("create_room", name="Flood", member_ids=[slow.user_id])).room.room_id
    await slow.door.event("room")
    resume = asyncio.Event()
    receive = slow.door.receive

    async def receive_slowly():
        envelope = await receive()
        await resume.wait()
        return envelope
    slow.door.receive = receive_slowly
    before, count = server(name).metric("ringpost_sessions_behind_total"), 0

    async def fell_behind():
        nonlocal count
        futures = [await ann.door.submit("send", room_id=room, client_msg_id=f"{count + n}", kind=pb.CUSTOM, body=bytes(30000)) for n in range(10)]
        for future in futures:
            assert (await future).HasField("send")
        count += 10
        return server(name).metric("ringpost_sessions_behind_total") > before
    await eventually("the reader to fall behind", fell_behind)
    resume.set()
    behind = await slow.door.push("behind")
    pushed = [push.event for push in slow.door.pushes[:slow.door.pushes.index(pb.Push(behind=behind))] if push.HasField("event")]
    assert [event.sync_key for event in pushed] == list(range(1, len(pushed) + 1)), "an unbroken beginning"
    assert len(pushed) < count + 1, "and not all"
    events = pushed
    while len(events) < count + 1:  # the last ones may still be on their way to the reader's shard, and are pushed or synced
        events += await slow.stream(len(events))
    assert [event.message.seq for event in events if event.HasField("message")] == list(range(1, count + 1))
    last = await ann.send("pushed again", room_id=room)
    await slow.door.event("message", lambda message: message.msg_id == last.msg_id)
    await leave(ann, slow)


@checks
async def who_asks_for_much_gets_it_at_their_own_pace_and_others_do_not_notice():
    name = "tight"
    ann, ben = await people(2, WebSocketBinary, name)
    narrow = socket.create_connection((LOCALHOST, server(name).port))
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
    narrow.setblocking(False)
    greedy = await Person.register(server(name), WebSocketBinary, sock=narrow, max_queue=1, read_limit=32768)
    room = (await ann.call("create_room", name="Much", member_ids=[greedy.user_id])).room.room_id
    for number in range(40):
        await ann.call("send", room_id=room, client_msg_id=f"{number}", kind=pb.CUSTOM, body=bytes(30000))
    await ann.call("invite", room_id=room, user_ids=[ben.user_id])
    hungry = asyncio.Event()
    receive = greedy.door.receive

    async def receive_when_hungry():
        envelope = await receive()
        await hungry.wait()
        return envelope
    greedy.door.receive = receive_when_hungry
    futures = [await greedy.door.submit("history", room_id=room, limit=200) for _ in range(60)]  # far above outbound_hard
    sent = await ann.send("meanwhile", room_id=room)
    await ben.door.event("message", lambda message: message.msg_id == sent.msg_id)
    hungry.set()
    for future in futures:
        page = (await asyncio.wait_for(future, 30)).history
        assert page.messages and page.messages[0].seq in (40, 41)
    assert len(await ben.timeline(room)) == 41
    await leave(ann, ben, greedy)


@checks
async def the_largest_bodies_reach_every_shard():
    """What is acknowledged is delivered, to the byte, on the other shard and over every encoding."""
    large = Server(shards=2, workers=2, body_size_max="1MiB", frame_size_max="2MiB", http_body_size_max="2MiB", outbound_hard="4MiB",
                   segment_size="2MiB", log_pending_max="2MiB", rate_messages_per_second=0).start()
    people = [await Person.register(large, door) for door in (WebSocketJson, WebSocketBinary, Tcp, WebSocketJson, WebSocketBinary)]
    while len({person.user_id >> 48 for person in people}) < 2:  # names are made by chance, and their hash says which shard
        people.append(await Person.register(large, WebSocketBinary))
    ann, *others = people
    room = (await ann.call("create_room", name="Much", member_ids=[person.user_id for person in others])).room.room_id
    sizes = [2**20 - below for below in (0, 1, 20, 42, 43, 44, 100, 4000)]
    for size in sizes:
        await ann.call("send", room_id=room, client_msg_id=f"{size:064}", kind=pb.CUSTOM, body=bytes(size))
    await refused("body_too_large", ann.call("send", room_id=room, client_msg_id="more", kind=pb.CUSTOM, body=bytes(2**20 + 1)))
    for person in others:
        await heard(person, room, len(sizes))
        bodies = [len(event.message.body) for event in await person.stream(limit=2) if event.WhichOneof("kind") == "message"]
        assert bodies == sizes, bodies
    await leave(*people)
    large.stop()


@checks
def who_takes_nothing_at_all_is_cut_off():
    before = server("impatient").metric("ringpost_connections_timed_out_total")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((LOCALHOST, server("impatient").port))
    connection.settimeout(0.05)
    request = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100

    def is_cut_off():
        try:
            connection.send(request)
        except TimeoutError:
            return False  # the server reads no more from us: as it should
        except OSError:
            return True
    wait_for("the connection to be reset", is_cut_off)
    connection.close()
    assert server("impatient").metric("ringpost_connections_timed_out_total") > before


@checks
def http_limits_answer_with_their_status():
    port = server().port
    cases = [
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20000 + b"\r\n\r\n", 431),
        (b"POST /v1/chat/send HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"rubbish\r\n\r\n", 501),
        (b"GET /" + b"a" * 12000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ]
    for request, status in cases:
        with socket.create_connection((LOCALHOST, port), timeout=10) as connection:
            connection.sendall(request)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        assert answer.startswith(b"HTTP/1.1 %d " % status), (request[:40], answer[:100])
        assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]["code"], answer


@checks
def pipelined_requests_are_answered_in_order():
    with socket.create_connection((LOCALHOST, server().port), timeout=10) as connection:
        paths = ["/version", "/healthz", "/readyz", "/nothing"] * 5
        connection.sendall(b"".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n{'Connection: close' if last else 'X: y'}\r\n\r\n".encode()
                                    for last, path in zip([False] * 19 + [True], paths)))
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    statuses = re.findall(rb"HTTP/1\.1 (\d+) ", answer)
    assert statuses == [b"200", b"200", b"200", b"404"] * 5


@checks
def a_newcomer_to_a_server_that_slept_has_its_whole_time():
    """Nobody asks anything for a while, so that the worker sleeps; whoever wakes it is not closed before its time is up."""
    for n in range(8):
        time.sleep(0.25)  # this silence is what is tested
        with socket.create_connection((LOCALHOST, server("idle").port), timeout=10) as connection:
            began = time.monotonic()
            assert connection.recv(1) == b""
            lasted = time.monotonic() - began
        assert lasted >= 0.295, (n, lasted)  # the connection was there a moment before the clock was read here


# ---- the end -----------------------------------------------------------------------------------------------------------------

@checks
async def stopping_says_going_away_and_keeps_everything():
    own = Server(shards=4, workers=2).start()
    ann, ben = [await Person.register(own, WebSocketJson) for _ in range(2)]
    sent = await ann.send("kept", to_user_id=ben.user_id)
    await asyncio.to_thread(own.stop)
    assert await ann.door.end_code() == 1001
    own.start()
    back = await ben.again(own, WebSocketJson, "first")
    assert texts(await back.timeline(sent.room_id)) == ["kept"]
    assert await (await Http.open(own)).call("login", name=ann.name, password="correct horse battery", device_id="first")
    await leave(back)
    await asyncio.to_thread(own.stop)


@checks
def the_servers_stop_in_order_and_have_logged_no_error():
    for name, running in _servers.items():
        running.stop()
        bad = [line for line in running.log_lines() if "level=error" in line or "level=fatal" in line]
        assert not bad, (name, bad[:3])


checks.run()
