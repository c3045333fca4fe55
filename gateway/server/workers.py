"""Several processes behind one port: starts them, starts those that die anew, passes signals on, asks all how they stand.

This process serves nothing, runs no loop and no thread, so that it can fork at any time; a worker that it
starts has the policies that were last known to be good. Each worker listens on the port with SO_REUSEPORT, so that
the kernel shares connections out, and a dead worker's socket is gone with it.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import structlog

from gateway.server.line import Message, Unpacking, packed
from gateway.server.sums import Families, lasting, merged

log = structlog.get_logger()

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
BACK_OFF = (0.1, 5.0)  # seconds until a dead worker is replaced: the first time, the longest
STEADY = 10.0  # seconds after which a worker has proved that it can live
PATIENCE = 1.0  # seconds that a worker may take to say how it stands
SPARE = 10.0  # seconds beyond their grace after which workers that do not end are killed

Work = Callable[[socket.socket, bool], int]  # the line to this process, whether another one was here before


@dataclass
class Worker:
    """One place, and the process that fills it."""

    number: int
    pid: int = 0  # 0: nobody is there
    line: socket.socket | None = None
    unpacking: Unpacking = field(default_factory=Unpacking)
    out: bytearray = field(default_factory=bytearray)
    listened: bool = False  # this place has been served
    started: float = 0.0
    due: float | None = None  # when the next one is started
    pause: float = BACK_OFF[0]
    last: Families = field(default_factory=dict)  # what its process counted when it last told


@dataclass
class Question:
    """A worker wants to know how all stand."""

    by: Worker
    number: int  # its own
    until: float
    states: dict[int, Message | None]  # by the number of the worker; None: not yet


class Supervisor:
    """The parent of the workers."""

    def __init__(self, count: int, work: Work, *, loaded: Callable[[], None], grace: float) -> None:
        """`work` is what a worker does; `loaded` hears that the policies have changed; `grace`: to end in, seconds."""
        self._work = work
        self._loaded = loaded
        self._grace = grace
        self._workers = [Worker(number) for number in range(count)]
        self._questions: dict[int, Question] = {}
        self._asked = 0
        self._restarts = 0
        self._gone: Families = {}
        self._stop_by: float | None = None
        self._status = 0
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Until every worker has ended. 0: as they were told to; 1: some were killed; 2: they could not start."""
        with self._hearing() as ear:
            self._selector.register(ear, selectors.EVENT_READ)
            for worker in self._workers:
                self._start(worker)
            while self._stop_by is None or any(worker.pid for worker in self._workers):
                self._turn(ear)
        self._selector.close()
        log.info("workers_ended", status=self._status)
        return self._status

    @contextlib.contextmanager
    def _hearing(self) -> Iterator[socket.socket]:
        """Signals as bytes on a socket, so that one wait is enough."""
        ear, mouth = socket.socketpair()
        ear.setblocking(False)
        mouth.setblocking(False)
        signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)
        try:
            yield ear
        finally:
            signal.set_wakeup_fd(-1)
            ear.close()
            mouth.close()

    def _turn(self, ear: socket.socket) -> None:
        for key, mask in self._selector.select(self._until_due()):
            if key.fileobj is ear:
                self._heard(ear.recv(4096))
            elif mask & selectors.EVENT_READ:
                self._read(key.data)
            else:
                self._flush(key.data)
        self._reap()
        now = time.monotonic()
        for worker in self._workers:
            if worker.due is not None and worker.due <= now and self._stop_by is None:
                self._restarts += 1
                self._start(worker)
        for question in [q for q in self._questions.values() if q.until <= now]:
            self._answer(question)
        if self._stop_by is not None and self._stop_by <= now:
            self._kill()

    def _until_due(self) -> float | None:
        """Seconds until something is to be done of itself; None: nothing is."""
        dues = [worker.due for worker in self._workers if worker.due is not None and self._stop_by is None]
        dues += [question.until for question in self._questions.values()]
        if self._stop_by is not None:
            dues.append(self._stop_by)
        return max(0.0, min(dues) - time.monotonic()) if dues else None

    # --- signals

    def _heard(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGHUP:
                self._signal(signal.SIGHUP)
            elif number in {signal.SIGTERM, signal.SIGINT}:
                self._stop()

    def _stop(self, status: int = 0) -> None:
        """Tell the workers to drain, once."""
        if self._stop_by is None:
            self._status = status
            self._stop_by = time.monotonic() + self._grace + SPARE
            self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        for worker in self._workers:
            if worker.pid:
                os.kill(worker.pid, number)

    def _kill(self) -> None:
        log.error("workers_killed", pids=[worker.pid for worker in self._workers if worker.pid])
        self._status = self._status or 1
        self._stop_by = time.monotonic() + SPARE
        self._signal(signal.SIGKILL)

    # --- life and death

    def _start(self, worker: Worker) -> None:
        ours, theirs = socket.socketpair()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # one that comes now waits until it is clear who gets it
        pid = os.fork()
        if pid == 0:
            self._become(worker, ours, theirs)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        theirs.close()
        ours.setblocking(False)
        worker.pid, worker.line, worker.started, worker.due = pid, ours, time.monotonic(), None
        worker.unpacking, worker.out = Unpacking(), bytearray()
        self._selector.register(ours, selectors.EVENT_READ, worker)
        log.info("worker_started", worker=worker.number, pid=pid)

    def _become(self, worker: Worker, ours: socket.socket, theirs: socket.socket) -> None:
        """In the new process: forget the parent's part, do the work, end."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            self._selector.close()
            for line in (ours, *(other.line for other in self._workers)):
                if line is not None:
                    line.close()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            status = self._work(theirs, worker.listened)
        except BaseException:  # noqa: BLE001 -- nothing may run on into the parent's code
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        for worker in self._workers:
            if worker.pid:
                pid, status = os.waitpid(worker.pid, os.WNOHANG)
                if pid:
                    self._died(worker, os.waitstatus_to_exitcode(status))

    def _died(self, worker: Worker, status: int) -> None:
        pid, worker.pid = worker.pid, 0
        if worker.line is not None:
            self._read(worker)  # what it said last
        self._hang_up(worker)
        self._gone = merged([self._gone, lasting(worker.last)])
        worker.last = {}
        for question in list(self._questions.values()):
            self._told(question, worker, None)
        if self._stop_by is not None:
            return
        if not worker.listened and status == 2:  # it said why
            self._stop(status)
            return
        lived = time.monotonic() - worker.started
        pause = BACK_OFF[0] if lived > STEADY else worker.pause
        worker.pause = min(2 * pause, BACK_OFF[1])
        worker.due = time.monotonic() + pause
        log.error("worker_died", worker=worker.number, pid=pid, status=status, again_in=pause)

    # --- the lines

    def _hang_up(self, worker: Worker) -> None:
        if worker.line is not None:
            self._selector.unregister(worker.line)
            worker.line.close()
            worker.line = None
        self._questions = {n: q for n, q in self._questions.items() if q.by is not worker}

    def _read(self, worker: Worker) -> None:
        assert worker.line is not None
        while True:
            try:
                data = worker.line.recv(1 << 18)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:  # its end is closed; its death is told by a signal
                self._hang_up(worker)
                return
            for message in worker.unpacking.feed(data):
                self._take(worker, message)

    def _take(self, worker: Worker, message: Message) -> None:
        match message["is"]:
            case "listening":
                worker.listened = True
            case "loaded":
                self._loaded()
            case "ask":
                self._ask(worker, message["number"])
            case "told":
                worker.last = message["state"]["families"]
                question = self._questions.get(message["number"])
                if question is not None:
                    self._told(question, worker, message["state"])

    def _ask(self, by: Worker, number: int) -> None:
        self._asked += 1
        alive = [worker for worker in self._workers if worker.line is not None]
        question = Question(by, number, time.monotonic() + PATIENCE, {worker.number: None for worker in alive})
        self._questions[self._asked] = question
        for worker in alive:
            self._say(worker, {"is": "tell", "number": self._asked})

    def _told(self, question: Question, worker: Worker, state: Message | None) -> None:
        if state is None:
            question.states.pop(worker.number, None)
        elif worker.number in question.states:
            question.states[worker.number] = state
        if all(question.states.values()):
            self._answer(question)

    def _answer(self, question: Question) -> None:
        """Tell what is known by now: of a worker that is too busy to answer, what it last counted."""
        self._questions = {n: q for n, q in self._questions.items() if q is not question}
        silent = [worker.last for worker in self._workers if worker.pid and not question.states.get(worker.number)]
        told: Message = {
            "is": "all",
            "number": question.number,
            "wanted": len(self._workers),
            "restarts": self._restarts,
            "states": [state for state in question.states.values() if state],
            "gone": [self._gone, *silent],
        }
        self._say(question.by, told)

    def _say(self, worker: Worker, message: Message) -> None:
        worker.out += packed(message)
        self._flush(worker)

    def _flush(self, worker: Worker) -> None:
        """Send what the socket takes now, the rest when it takes more."""
        if worker.line is None:
            return
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while worker.out:
                del worker.out[: worker.line.send(worker.out)]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.out else 0)
        self._selector.modify(worker.line, wanted, worker)
