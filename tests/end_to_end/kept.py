"""What is slow to start is started once for all tests that want it alike; each of them sees only its own part."""

import contextlib
import tempfile

MOST = 8  # at a time; of more, the one that was not used for the longest is ended


class Kept:
    """Gateways or stages by their configuration; one that has ended is started anew."""

    def __init__(self, make, folder):
        """`make(home, *configuration, **settings)` is one that is not started yet; `home` is a folder of its own."""
        self._make, self._folder = make, folder
        self._running = {}

    @contextlib.contextmanager
    def __call__(self, *configuration, **settings):
        key = repr((configuration, sorted(settings.items())))
        one = self._running.pop(key, None)
        if one is None or one.has_ended:
            home = type(self._folder)(tempfile.mkdtemp(dir=self._folder))
            one = self._make(home, *configuration, **settings).__enter__()
        self._running[key] = one
        while len(self._running) > MOST:
            self._running.pop(next(iter(self._running))).__exit__(None, None, None)
        with one.visited() as seen:
            yield seen

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.ExitStack() as stack:
            for one in self._running.values():
                stack.push(one)
