"""Signals such as Ctrl-C come in; a note that one did goes out, for a run to stop by."""

import signal
import threading
from typing import Any

import jax


class Interrupted(KeyboardInterrupt):
    """A run that was asked to stop, and did when a step was done.

    Attributes:
        state: after that step.
        history: up to it.
    """

    state: Any
    history: Any


ASKING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM") if hasattr(signal, name)
)


class Interrupt:
    """A context in which Ctrl-C, and SIGTERM, are noted rather than obeyed at once.

    The second one is obeyed. Signals reach the main thread alone; in another, or where
    someone else handles them already, nothing is changed.

    Attributes:
        asked: whether there was one.
    """

    asked = False

    def __enter__(self):
        self._before = {}
        alone = jax.process_count() == 1  # others would wait for one that leaves
        if alone and threading.current_thread() is threading.main_thread():
            defaults = {signal.SIGINT: signal.default_int_handler}
            for number in ASKING:
                before = signal.getsignal(number)
                if before == defaults.get(number, signal.SIG_DFL):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number, frame):
        del frame
        self.asked = True
        signal.signal(number, self._before.pop(number))

    def __exit__(self, *error):
        for number, before in self._before.items():
            signal.signal(number, before)
