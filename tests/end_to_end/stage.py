"""One gateway process and one upstream for many tests: the upstream's script is set by each test."""

import asyncio
import contextlib
import json
import threading

from tests.end_to_end.process import Fake, Gateway, Wire, begin_stream, end_stream, event, send_json, send_part
from tests.patience import LONG

MARKER = "FORBIDDEN-7Q"
DENY = f"policy: deny\nchecks: {{marker: {{use: keywords, words: [{MARKER}]}}}}\n"


class Stage:
    """Keeps its upstream on a loop of its own thread, so that it outlives a test's loop."""

    def __init__(self, folder, policy=DENY, house="", tls=None, **settings):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._fake = Fake(self._play, tls=tls)
        self._script = None
        self._run(self._fake.__aenter__())
        self._gateway = Gateway(folder, self._fake.house + house, policy, **settings)

    def __enter__(self):
        self._gateway.__enter__()
        return self

    def __exit__(self, *error):
        try:
            self._gateway.__exit__(*error)
        finally:
            self._run(self._fake.__aexit__(*error))
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(LONG)
            self._loop.close()

    @property
    def has_ended(self):
        return self._gateway.has_ended

    @contextlib.contextmanager
    def visited(self):
        yield self

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(LONG)

    async def _play(self, seen, writer):
        await self._script(seen, writer)

    @property
    def gateway(self):
        return self._gateway

    @property
    def port(self):
        return self._gateway.port

    @property
    def log(self):
        return self._gateway.log

    @property
    def seen(self):
        return self._fake.seen

    def plays(self, script):
        """From now on, to whoever asks."""
        self._script = script
        self._fake.seen.clear()

    async def ask(self, document, script=None, path="/v1/chat/completions", **more):
        """Send one request while the upstream plays `script`; give back the wire, the receipt, what it saw."""
        self.plays(script or nothing)
        with self._gateway.visited() as gateway:
            async with Wire(self.port) as wire:
                await wire.post(document, path, **more)
                await wire.read()
            receipts = await asyncio.to_thread(gateway.receipts)
        return wire, receipts[0], list(self._fake.seen)


async def nothing(_seen, writer):
    await send_json(writer, {"error": {"message": "no script"}}, "500 Oops")


def answers(document, chunks=None, headers=b"", done=True):
    """JSON to a plain request, these events to a stream request."""

    async def play(seen, writer):
        if seen.body is not None and seen.body.get("stream") and chunks is not None:
            await begin_stream(writer, headers)
            for one in chunks:
                await send_part(writer, one if isinstance(one, bytes) else event(one))
            if done:
                await send_part(writer, event(b"[DONE]"))
            await end_stream(writer)
        else:
            await send_json(writer, document, headers=headers)

    return play


def sends(data, media=b"application/json", status="200 OK"):
    """These very bytes as the body, whatever was asked."""

    async def play(_seen, writer):
        head = b"HTTP/1.1 %s\r\ncontent-type: %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        writer.write(head % (status.encode(), media, len(data)) + data)
        with contextlib.suppress(ConnectionError):
            await writer.drain()

    return play


def streams(*parts):
    """An event stream in exactly these writes."""

    async def play(_seen, writer):
        await begin_stream(writer)
        for part in parts:
            await send_part(writer, part)
        await end_stream(writer)

    return play


def text(document):
    return json.dumps(document, ensure_ascii=False)
