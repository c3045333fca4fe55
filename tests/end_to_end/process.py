"""The real process on a free port, and an upstream whose every byte and hang-up is on record."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gateway.config.model import DEFAULT
from tests.patience import LONG, until

# A look may take as long as a busy machine makes it, unless a policy says how long.
PATIENT = f"\ndefaults: {{timeout: {LONG / 2:.0f}s}}\n"


_held = []  # sockets that never listen: while one is bound, nobody is given its port who did not ask for it
_left = []  # ports of upstreams that are over


def bound(port=0):
    one = socket.socket()
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        one.setsockopt(socket.SOL_SOCKET, option, 1)
    one.bind(("127.0.0.1", port))
    return one


def free_port():
    """One that is nobody else's for as long as these tests run."""
    _held.append(bound())
    return _held[-1].getsockname()[1]


def environment(**settings):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OUTRIDER_", "OPENAI_"))}
    return {**clean, **{f"OUTRIDER_{k.upper()}": str(v) for k, v in settings.items()}}


class Logged:
    """Who has `lines` of a log knows the receipts in it."""

    since = ""  # of requests that began before and were told late there is none

    @property
    def log(self):
        return "".join(self.lines)

    def receipts(self, count=1):
        """The receipts so far, once there are `count`."""
        end = time.monotonic() + LONG
        while True:
            found = [json.loads(line) for line in self.lines if '"event":"receipt"' in line]
            found = [receipt for receipt in found if receipt["time"] >= self.since]
            if len(found) >= count:
                return found
            assert time.monotonic() < end, f"{len(found)} of {count} receipts: {self.log}"
            time.sleep(0.01)


class Gateway(Logged):
    """`outrider serve` as a user runs it. Ended by its pid; its log is kept."""

    def __init__(self, folder, house, policy=None, command=("serve",), **settings):
        (folder / "outrider.yaml").write_text(house)
        if policy is not None:
            (folder / "policies").mkdir(exist_ok=True)
            patient = "" if "timeout:" in policy or "defaults:" in policy else PATIENT
            (folder / "policies" / "policy.yaml").write_text(policy + patient)
            settings.setdefault("policies", folder / "policies")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        settings.setdefault("admin_port", 0)
        env = environment(port=self.port, config=folder / "outrider.yaml", log_format="json", **settings)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway", *command], env=env, cwd=folder, stderr=subprocess.PIPE, text=True
        )
        self.lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)

    def __enter__(self):
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.url}/readyz", timeout=1).read()
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.03)
        raise AssertionError(f"did not start: {''.join(self.lines)}")

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(LONG)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._reader.join(LONG)
            self.process.stderr.close()
        assert "Traceback" not in self.log, self.log

    @property
    def has_ended(self):
        return self.process.poll() is not None

    @contextlib.contextmanager
    def visited(self):
        """For one of several tests that use it in turn."""
        visit = Visit(self)
        yield visit
        assert "Traceback" not in visit.log, visit.log


class Visit(Logged):
    """What was logged and asked since one came."""

    def __init__(self, gateway):
        self.port, self.url, self.process = gateway.port, gateway.url, gateway.process
        self._all, self._from = gateway.lines, len(gateway.lines)
        self.since = datetime.now(UTC).isoformat(timespec="milliseconds")[:23]

    @property
    def lines(self):
        return self._all[self._from :]


def outrider(folder, *args, **settings):
    """A command as a user runs it: exit status, output, errors."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *map(str, args)],
        env=environment(**settings),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


@dataclass
class Seen:
    """One request that reached the upstream."""

    head: bytes
    body: dict
    closed: bool = False  # the other side has hung up
    data: bytes = b""

    async def wait_closed(self):
        await until(lambda: self.closed, "the connection to the upstream is still open")


@dataclass
class Fake:
    """An upstream that plays `script(seen, writer)` for every request.

    One after another they stand at the same port, so that what calls them has one configuration.
    """

    script: object
    seen: list = field(default_factory=list)
    tls: object = None  # the context of one that speaks TLS
    client = DEFAULT  # what calls it; tests of calls set each in turn

    async def __aenter__(self):
        self.port = _left.pop() if _left else free_port()
        self._server = await asyncio.start_server(self._connected, sock=bound(self.port), ssl=self.tls)
        self.url = f"https://localhost:{self.port}/v1" if self.tls else f"http://127.0.0.1:{self.port}/v1"
        self._tasks = set()
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        for task in list(self._tasks):
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await task
        _left.append(self.port)

    async def _connected(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        waits = set()
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (
                        int(line.split(b":")[1])
                        for line in head.lower().split(b"\r\n")
                        if line.startswith(b"content-length")
                    ),
                    0,
                )
                data = await reader.readexactly(length)
                is_json = b"application/json" in head.lower().partition(b"content-type:")[2].partition(b"\r\n")[0]
                body = json.loads(data) if is_json else {}
                seen = Seen(head, body, data=data)
                self.seen.append(seen)
                played = asyncio.create_task(self.script(seen, writer))
                gone = asyncio.create_task(reader.read(1))
                waits = {played, gone}
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                if not gone.done():
                    await asyncio.wait({gone}, timeout=5)
                seen.closed = gone.done()
                return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the other side hung up, or the test is over
        finally:
            for one in waits:
                if not one.cancel() and not one.cancelled():
                    one.exception()  # it was writing when the other side hung up, or was reset
            writer.close()

    @property
    def house(self):
        up = f"{{base_url: '{self.url}', api_key: sk-secret-key, client: {self.client}}}"
        return f"upstreams: {{up: {up}}}\ndefault_upstream: up\n"


async def never(*_):
    """An upstream that says nothing, or nothing more, until the test is over."""
    await asyncio.Event().wait()


def plain_answer(text="All is well.", **more):
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        **more,
    }


def chunk(delta=None, finish=None, **more):
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [choice],
        **more,
    }


def event(document):
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return b"data: " + data + b"\n\n"


async def send_json(writer, document, status="200 OK", headers=b""):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n".encode()
    writer.write(head + headers + b"\r\n" + body)
    await writer.drain()


async def begin_stream(writer, headers=b""):
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n"
        + headers
        + b"\r\n"
    )
    await writer.drain()


async def send_part(writer, data):
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))
    await writer.drain()


async def end_stream(writer):
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def stream_all(writer, *documents):
    await begin_stream(writer)
    for document in documents:
        await send_part(writer, event(document))
    await send_part(writer, event(b"[DONE]"))
    await end_stream(writer)


def ask(text="hello", *, stream=False, model="m", **more):
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": text}], **more}


def new():
    """A text that no verdict is kept of."""
    return f"hello {uuid.uuid4()}"


class Wire:
    """A client on a raw socket: what came, byte for byte, and when the first byte came."""

    def __init__(self, port):
        self._port = port
        self.first_byte = None
        self.data = b""

    async def __aenter__(self):
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_):
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def post(self, document, path="/v1/chat/completions", headers=b"", content_type=b"application/json"):
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        await self.send(
            b"POST %s HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: %s\r\ncontent-length: %d\r\n%s\r\n%s"
            % (path.encode(), content_type, len(body), headers, body)
        )

    async def send(self, data):
        self._writer.write(data)
        await self._writer.drain()

    async def read(self, until=None, times=1):
        """To the end of the connection, or until these bytes have come so many times."""
        async with asyncio.timeout(LONG):
            while until is None or self.data.count(until) < times:
                data = await self._reader.read(65536)
                if not data:
                    break
                if self.first_byte is None:
                    self.first_byte = time.monotonic()
                self.data += data
        return self.data

    @property
    def status(self):
        return int(self.data.split(b" ", 2)[1])

    @property
    def headers(self):
        head = self.data.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return {k.lower(): v for k, _, v in (line.partition(": ") for line in head)}

    @property
    def body(self):
        rest = self.data.partition(b"\r\n\r\n")[2]
        if self.headers.get("transfer-encoding") != "chunked":
            return rest
        body = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            count = int(size, 16)
            if count == 0:
                break
            body, rest = body + rest[:count], rest[count + 2 :]
        return body

    @property
    def error(self):
        return json.loads(self.body)["error"]

    @property
    def events(self):
        return [e.removeprefix(b"data: ") for e in self.body.split(b"\n\n") if e]
