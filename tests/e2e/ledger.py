"""tests/e2e/ledger.py - people who talk while the server is torn down, and a book of everything it has acknowledged to them.

  await ledger.found(server)    registers the people, makes the rooms
  await ledger.load(server)     everybody acts until their connection breaks; what was acknowledged or pushed goes into the book
  await ledger.verify(server)   after a restart: nothing of the book is missing, nothing is there twice, nothing has changed

What verify() looks at: every acknowledged message stands where its acknowledgement said, once; seq and sync_key have no holes; all that
was ever pushed is in the stream as it was pushed; every stream holds every message of the person's small rooms once and in order; read
marks never go back; rooms and memberships that were acknowledged are there; sends that were under way are sent again and give one message;
sends that were answered long ago give the same answer again; refresh tokens work, once.
"""
import asyncio
import collections
import itertools

from harness import Closed, Person, Tcp, WebSocketBinary, WebSocketJson, eventually, pb

PEOPLE = 6
HANDS = 4  # requests one person has under way
SMALL_MEMBERS = 4  # the server's fanout_threshold
OPTIONS = {"fanout_threshold": SMALL_MEMBERS, "rate_messages_per_second": 0, "rate_requests_per_second": 0, "flush_interval": "1s",
           "outbound_soft": "16MiB", "outbound_hard": "32MiB", "inbox_events_max": "1M"}
REPEATS = 20
DOORS = [WebSocketJson, WebSocketBinary, Tcp]
PERSISTENT_REASONS = ("disk_full",)  # refusals a person may meet while the server lives on


class Account:
    """What one person knows."""

    def __init__(self, person, door):
        self.name, self.user_id, self.door, self.refresh_token = person.name, person.user_id, door, person.refresh_token
        self.connection = self.access_token = None
        self.pending = {}  # client_msg_id: fields, sent and not acknowledged
        self.pushed = {}  # sync_key: event, told since the last look at the stream
        self.is_behind = False
        self.stream = []
        self.received = collections.defaultdict(list)  # room_id: messages of the stream
        self.marks = {}  # room_id: acknowledged read mark
        self.in_lobby = False  # None: a join or leave was under way
        self.numbers = itertools.count(1)

    async def connect(self, server):
        self.is_behind = False
        self.connection = await self.door.open(server)
        self.connection.on_push = self.take_push
        answer = await self.connection.call("refresh", refresh_token=self.refresh_token)
        again = await self.connection.call("refresh", refresh_token=self.refresh_token)  # as if the answer had been lost
        assert again.refresh_token == answer.refresh_token, "a used refresh token has two successors"
        self.refresh_token = answer.refresh_token
        self.access_token = answer.access_token
        await self.connection.call("auth", access_token=answer.access_token)

    def take_push(self, push):
        if push.HasField("event"):
            self.take_event(push.event)
        elif push.HasField("behind"):
            self.is_behind = True

    def take_event(self, event):
        known = self.pushed.setdefault(event.sync_key, event)
        assert known == event, f"{self.name}: sync_key {event.sync_key} was told with something else before"

    async def catch_up(self):
        """What a client does that was told `behind`: pushes come again when it has synced."""
        self.is_behind = False
        page = pb.SyncResponse(has_more=True, sync_key=max(self.pushed, default=len(self.stream)))
        while page.has_more:
            page = await self.call("sync", sync_key=page.sync_key)
            for event in page.events:
                self.take_event(event)

    def call(self, method, **fields):
        return self.connection.call(method, **fields)


class Ledger:
    def __init__(self, random):
        self.random = random
        self.people = []
        self.small, self.large, self.lobby = [], None, None  # room ids; members of small ones: self.members
        self.members = {}
        self.acknowledged = {}  # (room_id, sender_id, client_msg_id): SendResponse and fields
        self.unverified = []
        self.timelines = {}  # room_id: messages
        self.known_ids = set()  # msg_id of all of them
        self.made = {}  # client_room_id: (account, room_id)
        self.refusals = 0  # of those a full disk gives

    # ---- before -------------------------------------------------------------------------------------------------------

    async def found(self, server):
        for door in itertools.islice(itertools.cycle(DOORS), PEOPLE):
            person = await Person.register(server, door)
            account = Account(person, door)
            account.connection = person.door
            account.connection.on_push = account.take_push
            for push in person.door.pushes:
                account.take_push(push)
            self.people.append(account)
        first = self.people[0]
        for chosen in (self.people[:SMALL_MEMBERS], self.people[-SMALL_MEMBERS + 1:] + [first]):
            self.small.append(await self.make_room(first, "Small", chosen))
        self.large = await self.make_room(first, "Large", self.people)
        self.lobby = (await first.call("create_room", name="Lobby", joinable=True)).room.room_id
        self.members[self.lobby] = [first]
        await self.disconnect()

    async def make_room(self, owner, name, members):
        others = [account.user_id for account in members if account is not owner]
        room_id = (await owner.call("create_room", name=name, member_ids=others)).room.room_id
        self.members[room_id] = list(members)
        return room_id

    async def connect(self, server):
        await asyncio.gather(*(account.connect(server) for account in self.people))

    async def disconnect(self):
        await asyncio.gather(*(account.connection.close() for account in self.people))

    # ---- load -----------------------------------------------------------------------------------------------------------

    async def load(self, server, stopping=None):
        """Ends when every connection is gone, or when `stopping` is set and all that was begun is answered."""
        stopping = stopping or asyncio.Event()
        hands = [asyncio.create_task(self.hand(account, stopping)) for account in self.people for _ in range(HANDS)]
        await asyncio.gather(*hands)

    async def hand(self, account, stopping):
        actions = [self.send] * 40 + [self.mark_read] * 4 + [self.walk] * 2 + [self.create_room]
        try:
            while not stopping.is_set():
                if account.is_behind:
                    await account.catch_up()
                await self.random.choice(actions)(account)
        except Closed:
            pass

    async def send(self, account):
        target = self.random.choice(["small", "small", "large", "person"])
        if target == "person":
            fields = {"to_user_id": self.random.choice([other.user_id for other in self.people if other is not account])}
        else:
            rooms = [self.large] if target == "large" else [room for room in self.small if account in self.members[room]]
            if not rooms:
                return
            fields = {"room_id": self.random.choice(rooms)}
        client_msg_id = f"{account.name}-{next(account.numbers)}"
        body = f"{client_msg_id} ".encode() * self.random.choice([1, 2, 5, 50])
        await self.send_as(account, fields | {"client_msg_id": client_msg_id, "body": body})

    async def send_as(self, account, fields):
        account.pending[fields["client_msg_id"]] = fields
        answer = await self.unless_full(account.call("send", **fields))
        del account.pending[fields["client_msg_id"]]
        if answer is None:
            return
        self.members.setdefault(answer.room_id, [account, self.of(fields.get("to_user_id"))])
        key = (answer.room_id, account.user_id, fields["client_msg_id"])
        known = self.acknowledged.setdefault(key, (answer, fields))
        assert known[0] == answer, f"{key} was acknowledged as {known[0]}, now as {answer}"
        self.unverified.append(key)

    async def unless_full(self, call):
        """The answer, or None where the disk is full: then nothing happened."""
        try:
            return await call
        except Exception as refusal:
            if getattr(refusal, "reason", None) not in PERSISTENT_REASONS:
                raise
            self.refusals += 1
            await asyncio.sleep(0)

    def of(self, user_id):
        return next((account for account in self.people if account.user_id == user_id), None)

    async def mark_read(self, account):
        rooms = [room for room in self.small if account in self.members[room]]
        if not rooms:
            return
        room = self.random.choice(rooms)
        heads = [event.message.seq for event in account.pushed.values() if event.HasField("message") and event.message.room_id == room]
        answer = await self.unless_full(account.call("mark_read", room_id=room, seq=max(heads, default=1)))
        if answer:
            account.marks[room] = max(account.marks.get(room, 0), answer.read_seq)

    async def walk(self, account):
        """In and out of the lobby."""
        if account is self.people[0] or account.in_lobby is None:
            return
        inside, account.in_lobby = account.in_lobby, None
        answer = await self.unless_full(account.call("leave_room" if inside else "join_room", room_id=self.lobby))
        account.in_lobby = inside if answer is None else not inside

    async def create_room(self, account):
        client_room_id = f"room-{next(account.numbers)}-{account.name}"
        answer = await self.unless_full(account.call("create_room", name="Another", client_room_id=client_room_id))
        if answer:
            self.made[client_room_id] = (account, answer.room.room_id)

    # ---- after ----------------------------------------------------------------------------------------------------------

    async def verify(self, server, whole=False):
        """`whole`: everything is read again from the beginning, not only what is new."""
        await self.connect(server)
        await asyncio.gather(*(self.send_pending(account) for account in self.people))
        await self.repeat_some()
        for room_id in self.members:
            await self.read_timeline(room_id, whole)
        self.check_acknowledged(whole)
        for account in self.people:
            await self.read_stream(account, whole)
            await self.check_marks(account)
        await self.check_large_heads()
        await self.check_lobby()
        await self.check_made()

    async def send_pending(self, account):
        for fields in list(account.pending.values()):
            await self.send_as(account, fields)

    async def repeat_some(self):
        for key in self.random.sample(list(self.acknowledged), min(REPEATS, len(self.acknowledged))):
            await self.send_as(self.of(key[1]), self.acknowledged[key][1])

    async def read_timeline(self, room_id, whole):
        reader = self.members[room_id][0]
        known = self.timelines.setdefault(room_id, [])
        messages = [] if whole else list(known)
        while True:
            page = await self.page(reader, room_id, after_seq=len(messages))
            messages += page.messages
            if not page.has_more:
                break
        assert [message.seq for message in messages] == list(range(1, len(messages) + 1)), f"room {room_id} has a hole"
        assert messages[:len(known)] == known, f"room {room_id}: what was read before has changed"
        assert not messages or page.head_seq == len(messages), (room_id, page.head_seq, len(messages))
        assert len({(message.sender_id, message.client_msg_id) for message in messages}) == len(messages), f"room {room_id}: twice"
        for message in messages[len(known):]:
            assert message.msg_id not in self.known_ids, f"msg_id {message.msg_id} was given twice"
            assert (room_id, message.sender_id, message.client_msg_id) in self.acknowledged, f"nobody sent this: {message}"
            self.known_ids.add(message.msg_id)
        self.timelines[room_id] = messages

    @staticmethod
    async def page(reader, room_id, **fields):
        return await reader.call("history", room_id=room_id, limit=200, **fields)

    def check_acknowledged(self, whole):
        for key in self.acknowledged if whole else self.unverified:
            answer, fields = self.acknowledged[key]
            timeline = self.timelines[answer.room_id]
            assert answer.seq <= len(timeline), f"lost: {key}, acknowledged as seq {answer.seq} of {len(timeline)}"
            message = timeline[answer.seq - 1]
            assert (message.msg_id, message.sender_id, message.client_msg_id, message.time_ms, message.body) == (
                answer.msg_id, key[1], key[2], answer.time_ms, fields["body"]), f"another message stands in place of {key}"
        self.unverified.clear()

    async def read_stream(self, account, whole):
        if whole:
            before, account.stream = account.stream, []
            account.received.clear()
            await self.extend_stream(account)
            assert account.stream[:len(before)] == before, f"{account.name}: the stream has changed"

        async def complete():
            await self.extend_stream(account)
            return all(len(account.received[room_id]) >= len(self.timelines[room_id]) for room_id in rooms)
        rooms = [room_id for room_id in self.timelines if self.is_small(room_id) and account in self.members[room_id]]
        await eventually(f"the stream of {account.name}", complete)
        for room_id in rooms:
            assert account.received[room_id] == self.timelines[room_id], f"{account.name}: room {room_id} is different in the stream"
        for sync_key, event in account.pushed.items():
            assert sync_key <= len(account.stream), f"{account.name}: sync_key {sync_key} was pushed and is lost"
            assert account.stream[sync_key - 1] == event, f"{account.name}: sync_key {sync_key} was pushed otherwise"
        account.pushed.clear()

    def is_small(self, room_id):
        return room_id not in (self.large, self.lobby)

    async def extend_stream(self, account):
        while True:
            page = await account.call("sync", sync_key=len(account.stream), limit=500)
            assert not page.reset
            expected = range(len(account.stream) + 1, len(account.stream) + 1 + len(page.events))
            assert [event.sync_key for event in page.events] == list(expected), f"{account.name}: a hole"
            account.stream += page.events
            for event in page.events:
                if event.HasField("message"):
                    account.received[event.message.room_id].append(event.message)
            if not page.has_more:
                return

    async def conversations(self, account):
        found, cursor = {}, 0
        while True:
            page = await account.call("conversations", cursor=cursor, limit=500)
            found |= {entry.room.room_id: entry for entry in page.conversations}
            if not page.has_more:
                return found
            cursor = page.next_cursor

    async def check_marks(self, account):
        found = await self.conversations(account)
        for room_id, mark in account.marks.items():
            assert found[room_id].read_seq >= mark, f"{account.name}: the read mark of {room_id} went back from {mark}"
        for room_id, entry in found.items():
            if self.is_small(room_id) and room_id in self.timelines:
                timeline = self.timelines[room_id]
                assert entry.head_seq == len(timeline) and entry.unread == entry.head_seq - entry.read_seq, entry
                assert not timeline or entry.last_message == timeline[-1], entry

    async def check_large_heads(self):
        expected = len(self.timelines[self.large])
        for account in self.people:
            async def arrived():
                return (await self.conversations(account))[self.large].head_seq == expected
            await eventually(f"the head of the large room at {account.name}", arrived)

    async def check_lobby(self):
        owner = self.people[0]
        inside = {member.user_id for member in (await owner.call("members", room_id=self.lobby, limit=500)).members}
        assert (await owner.call("get_room", room_id=self.lobby)).room.member_count == len(inside)
        for account in self.people[1:]:
            if account.in_lobby is None:
                account.in_lobby = account.user_id in inside
            assert account.in_lobby == (account.user_id in inside), f"{account.name}: {'joined' if account.in_lobby else 'left'}, it was said"

    async def check_made(self):
        for client_room_id, (account, room_id) in self.made.items():
            room = (await account.call("get_room", room_id=room_id)).room
            assert room.owner_id == account.user_id
            again = await account.call("create_room", name="Another", client_room_id=client_room_id)
            assert again.room.room_id == room_id, f"{client_room_id} was made twice"

    def __str__(self):
        return f"{len(self.acknowledged)} messages in {len(self.timelines)} rooms, {sum(len(account.stream) for account in self.people)} events"
