"""An upstream on a bare socket that says exactly the bytes it is told to, in exactly these writes."""

import asyncio
import socket
import struct
from dataclasses import dataclass, field


@dataclass
class Play:
    """What is written for one request, and what then becomes of the connection."""

    writes: list  # bytes, or an event that is waited for first
    then: str = "keep"  # or: close, reset, stall (nothing more is read or written)
    pause: float = 0.0  # after each write; at 0 the loop may turn
    early: bool = False  # before the body of the request is read, which it never is


@dataclass
class Rough:
    """Plays its plays in turn, one for each request, on whatever connection that comes."""

    plays: list = field(default_factory=list)
    asked: list = field(default_factory=list)  # (number of the connection, head, body)
    writers: list = field(default_factory=list)  # of the connections
    closed: set = field(default_factory=set)  # numbers of connections that the other side has left
    tls: object = None
    connections: int = 0
    played: int = 0  # plays that came to their last write, or to a connection that was left

    async def __aenter__(self):
        self._tasks = set()
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        scheme = "https" if self.tls else "http"
        self.url = f"{scheme}://{'localhost' if self.tls else '127.0.0.1'}:{self.port}/v1/x"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _connected(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        number, self.connections = self.connections, self.connections + 1
        self.writers.append(writer)
        try:
            while await self._one(number, reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side hung up, or the test is over
        finally:
            self.closed.add(number)
            writer.close()

    async def _one(self, number, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        play = self.plays.pop(0)
        body = b"" if play.early else await reader.readexactly(int(length or 0))
        self.asked.append((number, head, body))
        try:
            for data in play.writes:
                if isinstance(data, asyncio.Event):
                    await data.wait()
                    continue
                writer.write(data)
                await writer.drain()
                await asyncio.sleep(play.pause)
        finally:
            self.played += 1
        if play.then == "stall":
            await reader.read()
        elif play.then == "reset":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return play.then == "keep"


def answer(body=b"{}", status=b"200 OK", headers=b"content-type: application/json\r\n"):
    return b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status, headers, len(body), body)


def in_chunks(*chunks, trailers=b""):
    framed = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in chunks)
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%b0\r\n%b\r\n" % (framed, trailers)
