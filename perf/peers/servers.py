"""perf/peers/servers.py - the servers that are measured beside each other: how each is started by hand, and what its acknowledgement means.

Every measurement has a server of its own: an empty directory, a free port of 127.0.0.1, all threads on one core, in the foreground, in a
process group that is ended afterwards. Limits that would make a server drop or hold back messages are lifted; nothing else is tuned.
"""
import os
import signal
import socket
import subprocess
import time

READY_SECONDS = 90
STOP_SECONDS = 5
LOCALHOST = "127.0.0.1"
RINGPOST_FLAGS = ["--workers", "1", "--shards", "1", "--pin-workers", "false", "--rate-messages-per-second", "0",
                  "--rate-requests-per-second", "0", "--rate-logins-per-second", "0", "--connections-per-ip-max", "0",
                  "--room-members-max", "100k", "--password-ops", "1", "--password-memory", "1MiB"]
MQTT_CONNECT = bytes.fromhex("10 11 0004 4d515454 04 02 003c 0005") + b"ready"


class ServerError(Exception):
    """It did not start; the text says why."""


def free_port():
    with socket.socket() as probe:
        probe.bind((LOCALHOST, 0))
        return probe.getsockname()[1]


def answers_mqtt(port, connect=MQTT_CONNECT):
    """A CONNECT gets a CONNACK of any code: the broker is up."""
    with socket.create_connection((LOCALHOST, port), timeout=5) as client:
        client.settimeout(5)
        client.sendall(connect)
        return client.recv(1) == b"\x20"


def answers_readyz(port):
    with socket.create_connection((LOCALHOST, port), timeout=5) as client:
        client.settimeout(5)
        client.sendall(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        return b" 200 " in client.recv(100)


def write(directory, name, text):
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)
    return path


def first_line(*command):
    """What a program says about its version."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.splitlines()[0].strip()
    except (OSError, IndexError, subprocess.SubprocessError):
        return "unknown"


def debian_version(package):
    return first_line("dpkg-query", "-W", "-f", "${Version}", package)


class Server:
    """One row of the comparison. A subclass says how to start it."""
    name = title = durability = package = ""
    peer = True            # somebody else's server; False: Ringpost and the floors
    syncs = False          # an acknowledged message is on disk
    keeps_sessions = True  # can be asked for what came while a client was away
    program = ""           # None of it there: this server is skipped
    load_options = ["--protocol", "mqtt", "--broker", "plain"]
    answers = staticmethod(answers_mqtt)

    def is_there(self):
        return os.access(self.program, os.X_OK)

    def version(self):
        return f"{self.title} {debian_version(self.package)} (Debian)"

    def command(self, directory, port):
        """The command and what it adds to the environment."""
        raise NotImplementedError

    def options(self, directory):
        """Of the load generator."""
        return self.load_options + ["--name", self.name]


class Floor(Server):
    name, title = "floor", "floor"
    durability = "stores nothing: what a core can pass on at all"
    peer = keeps_sessions = False

    def __init__(self, program):
        self.program = program

    def version(self):
        return "perf/floor of this commit"

    def command(self, directory, port):
        return [self.program, "--listen", str(port)], {}


class LoggingFloor(Floor):
    name, title = "logging-floor", "logging floor"
    durability = "on disk (one group-committed log, synced) before it is acknowledged or delivered"
    syncs = True

    def command(self, directory, port):
        return [self.program, "--listen", str(port), "--log", os.path.join(directory, "log")], {}


class Ringpost(Server):
    durability = "on disk (synced log) before it is acknowledged or delivered"
    peer = False
    syncs = True
    answers = staticmethod(answers_readyz)

    def __init__(self, name, title, program, protocol, libraries):
        self.name, self.title, self.program, self.protocol, self.libraries = name, title, program, protocol, libraries

    def version(self):
        return f"{first_line(self.program, '--version')}, {self.libraries}"

    def command(self, directory, port):
        return [self.program, "serve", "--listen", f"{LOCALHOST}:{port}", "--data-dir", os.path.join(directory, "data"), *RINGPOST_FLAGS], {}

    def options(self, directory):
        return ["--protocol", self.protocol, "--broker", "ringpost", "--name", self.name,
                "--data-dir", os.path.join(directory, "data"), "--users", os.path.join(directory, "users")]


class Mosquitto(Server):
    name = title = package = "mosquitto"
    program = "/usr/sbin/mosquitto"
    durability = "in memory; the database is written every autosave_interval (30 minutes) and at the end: a crash loses what came since"

    def command(self, directory, port):
        config = write(directory, "mosquitto.conf", f"""
listener {port} {LOCALHOST}
allow_anonymous true
user root
persistence true
persistence_location {directory}/
max_inflight_messages 0
max_queued_messages 0
set_tcp_nodelay true
log_type error
log_dest stderr
""")
        return [self.program, "-c", config], {}


class Nats(Server):
    name, title, package = "nats", "NATS JetStream", "nats-server"
    program = "/usr/sbin/nats-server"
    durability = ("written to a file of the stream without a sync: 2.9 syncs every two minutes and has no option to sync each write; "
                  "a power cut loses up to that")

    def command(self, directory, port):
        config = write(directory, "nats.conf", f"""
server_name: bench
listen: "{LOCALHOST}:{free_port()}"
jetstream {{ store_dir: "{directory}/jetstream" }}
mqtt {{ listen: "{LOCALHOST}:{port}", max_ack_pending: 65535 }}
""")
        return [self.program, "-c", config], {}


class RabbitMq(Server):
    name, title, package = "rabbitmq", "RabbitMQ", "rabbitmq-server"
    program = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    durability = ("a durable classic queue for each session: acknowledged when written and synced there, or when every subscriber has "
                  "acknowledged it before that")
    syncs = True

    def command(self, directory, port):
        config = write(directory, "rabbitmq.conf", f"""
listeners.tcp = none
mqtt.listeners.tcp.1 = {LOCALHOST}:{port}
mqtt.allow_anonymous = true
mqtt.prefetch = 65535
log.console = false
log.file.level = error
""")
        plugins = write(directory, "plugins", "[rabbitmq_mqtt].\n")
        epmd_port = str(free_port())
        environment = {
            "HOME": directory, "RABBITMQ_NODENAME": "bench@localhost", "RABBITMQ_CONFIG_FILE": config,
            "RABBITMQ_ENABLED_PLUGINS_FILE": plugins, "RABBITMQ_MNESIA_BASE": f"{directory}/mnesia", "RABBITMQ_LOG_BASE": f"{directory}/log",
            "RABBITMQ_CONF_ENV_FILE": f"{directory}/none", "RABBITMQ_DIST_PORT": str(free_port()), "ERL_EPMD_PORT": epmd_port,
            "ERL_EPMD_ADDRESS": LOCALHOST, "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+P 1048576"}
        # Erlang's name server is a process that outlives its node, unless it is ours; here it is a child of the same group.
        script = f'epmd -port {epmd_port} -address {LOCALHOST} & exec "{self.program}"'
        return ["/bin/sh", "-c", script], environment


class Ejabberd(Server):
    name = title = package = "ejabberd"
    program = "/usr/sbin/ejabberdctl"
    durability = "in memory: queues of sessions live in the process of each session; mod_mqtt keeps only retained messages on disk (Mnesia)"
    user, password = "bench@localhost", "bench"

    def command(self, directory, port):
        config = write(directory, "ejabberd.yml", f"""
hosts: [localhost]
loglevel: error
listen:
  - port: {port}
    ip: "{LOCALHOST}"
    module: mod_mqtt
    backlog: 4096
auth_method: anonymous
anonymous_protocol: login_anon
allow_multiple_connections: true
modules:
  mod_mqtt:
    max_queue: unlimited
""")
        environment = {"HOME": directory, "ERL_LIBS": "/usr/lib/x86_64-linux-gnu", "EJABBERD_CONFIG_PATH": config,
                       "EJABBERD_LOG_PATH": f"{directory}/ejabberd.log", "ERL_CRASH_DUMP": f"{directory}/crash", "ERL_MAX_PORTS": "65536"}
        # As ejabberdctl does it, but as whoever runs this, and without a name on the network: no epmd.
        return ["erl", "+K", "true", "+P", "1048576", "-noinput", "-mnesia", "dir", f'"{directory}/mnesia"', "-s", "ejabberd"], environment

    def options(self, directory):
        return super().options(directory) + ["--user", self.user, "--password", self.password]


class Running:
    """A started server; `with` ends it with everything it started."""

    def __init__(self, server, directory, core):
        self.server, self.directory, self.port = server, directory, free_port()
        os.makedirs(directory, exist_ok=True)  # Ringpost: a second life of the same data
        command, environment = server.command(directory, self.port)
        self.log_path = os.path.join(directory, "output.log")
        with open(self.log_path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(command, cwd=directory, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True, preexec_fn=lambda: os.sched_setaffinity(0, {core}))

    @property
    def pid(self):
        return self.process.pid

    def __enter__(self):
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *unused):
        self.stop()

    def wait_until_ready(self):
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise ServerError(f"{self.server.title} ended while it started: {self.last_words()}")
            try:
                if self.server.answers(self.port):
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise ServerError(f"{self.server.title} was not ready after {READY_SECONDS} s: {self.last_words()}")

    def last_words(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return " ".join(log.read()[-400:].split())

    def stop(self):
        """Asks the whole group to end, then makes it."""
        for sign, patience in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
            try:
                os.killpg(self.pid, sign)
            except ProcessLookupError:
                break
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline and self.group_lives():
                time.sleep(0.02)
            if not self.group_lives():
                break
        self.process.wait()

    def group_lives(self):
        self.process.poll()  # or a zombie would look alive
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return True
