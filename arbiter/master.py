"""The arbiter's loop: turns signals, child exits, messages and time into events, and carries out the plan's commands.

It decides nothing. It never imports the application (with `--preload` the facade has loaded it before) and has a
single thread; between events it sleeps until the plan's earliest deadline.
"""

from __future__ import annotations

import logging
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from setproctitle import setproctitle

from ..config.limits import refusal
from ..config.options_serving import MOST_WORKERS
from ..config.settings import Settings
from ..config.sockets import BindError, Listener
from ..config.supervision import Adopt, Drain, ExitStatus, Failed, Failure, Instruction, Release
from . import messages as m
from . import plan
from .banner import name_of
from .channel import Channel
from .child import Child
from .daemon import errorlog_file, forget_terminal
from .listeners import ListenerTable
from .notify import Notifier
from .scoreboard import Row
from .state import State
from .wakeup import REQUESTS, WakeUp, wake_up
from .watcher import Watch
from .watching import Watching
from .workforce import Workforce

logger = logging.getLogger("hypercorn.error")

#: Settings that belong to the arbiter itself and cannot change under it.
FIXED = ("daemon", "pid_path", "proc_name", "chdir", "preload_app", "use_reloader")

#: Seconds. poll(2) takes no more than 2^31 milliseconds, and a timeout of the settings may be longer.
LONGEST_SLEEP = 86400.0


@dataclass(frozen=True, slots=True)
class Service:
    """What the facade hands to the arbiter.

    Attributes:
        settings: of the first generation.
        listeners: open for slots 1 to `settings.workers`.
        worker: serves until drained, in the worker's process; gives the exit status.
        reread: gives the settings anew; may raise anything that reading a Python file can.
        configure_logs: called with new settings that have proven themselves.
        reopen_logs: opens log files anew.
        counters: how many figures each worker has.
        lasting: which of them count events, see `Scoreboard.release`.
        on_start: the service serves for the first time.
    """

    settings: Settings
    listeners: ListenerTable
    worker: Callable[[Settings, Sequence[Listener], Child], int]
    reread: Callable[[], Settings]
    configure_logs: Callable[[Settings], None]
    reopen_logs: Callable[[], None]
    counters: int
    lasting: frozenset[int] = frozenset()
    notifier: Notifier = field(default_factory=lambda: Notifier(None))
    on_start: Callable[[], None] = lambda: None


class Master:
    """Runs one service; `run` is called once."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._settings = {1: service.settings}
        self._current = service.settings
        self._state = State()
        # A replacement and what leaves slowly need room beside them.
        self._workforce = Workforce(2 * MOST_WORKERS, service.counters, service.lasting)
        self._events: deque[m.Event] = deque()
        self._watching: Watching | None = None
        self._wake_up: WakeUp | None = None
        self._exit: m.Exit | None = None
        self._next_ping = time.monotonic()

    def run(self) -> m.Exit:
        """Supervise until the service ends, which blocks; gives the exit status and the reason."""
        setproctitle(f"hypercorn: master [{name_of(self._current)}]")
        with wake_up() as self._wake_up:
            try:
                self._watch()
                self._configure(1, self._current)
                while self._exit is None:
                    self._carry_on()
                return self._exit
            finally:
                self._clean_up()

    def _carry_on(self) -> None:
        while self._events and self._exit is None:
            event = self._events.popleft()
            self._take(event)
            if not isinstance(event, m.Asked):  # or a flood of signals would be all that is looked at
                self._receive_signals()
        if self._exit is None:
            self._wait()

    def _take(self, event: m.Event) -> None:
        waiting, self._events = self._events, deque()
        for command in plan.step(self._state, event, time.monotonic()):
            self._do(command)
        # What came of the commands happened before what waits to be looked at, which may be a flood of signals.
        waiting.extendleft(reversed(self._events))
        self._events = waiting

    # Waiting

    def _wait(self) -> None:
        assert self._wake_up is not None
        lines = self._workforce.lines()
        changes = None if self._watching is None else self._watching.reader
        poll = select.poll()
        for descriptor in (self._wake_up.reader, *lines, *(() if changes is None else (changes,))):
            poll.register(descriptor, select.POLLIN)
        found = {descriptor for descriptor, _ in poll.poll(self._timeout_ms())}
        # Signals first: a whole process group may have been told to end, and the workers have heard it as well.
        if self._wake_up.reader in found:
            self._receive_signals()
        for descriptor in found & lines.keys():
            self._events.extend(self._workforce.hear(lines[descriptor]))
        if self._watching is not None and changes in found and (paths := self._watching.changes()):
            self._events.append(m.Changed(paths, self._watching.has_settings(paths)))
        self._pass_time()

    def _timeout_ms(self) -> int | None:
        moments = [] if self._state.due is None else [self._state.due]
        if self._service.notifier.ping_seconds is not None:
            moments.append(self._next_ping)
        if not moments:
            return None
        seconds = min(min(moments) - time.monotonic(), LONGEST_SLEEP)
        return max(0, int(seconds * 1000) + 1)

    def _pass_time(self) -> None:
        now = time.monotonic()
        if self._state.due is not None and now >= self._state.due:
            self._workforce.flush()
            self._events.append(m.Tick(self._workforce.beats()))
        ping_seconds = self._service.notifier.ping_seconds
        if ping_seconds is not None and now >= self._next_ping:
            self._next_ping = now + ping_seconds
            self._service.notifier.ping()

    def _receive_signals(self) -> None:
        assert self._wake_up is not None
        numbers = self._wake_up.drain()
        requests = [m.Asked(REQUESTS[number]) for number in numbers if number in REQUESTS]
        for number in numbers:
            if number in REQUESTS and REQUESTS[number] is not m.Request.PAUSE:  # each resize of a terminal
                logger.info("Received %s", number.name)
        # Before the answers to commands, of which each may bring the next.
        self._events.extendleft(reversed(requests))
        if signal.SIGCHLD in numbers:
            self._events.extend(self._workforce.reap())

    # Carrying out

    def _do(self, command: m.Command) -> None:
        match command:
            case m.Log(severity, text):
                logger.log(severity, "%s", text)
            case m.StartWorker():
                self._start(command)
            case m.TellAdopt() | m.TellRelease() | m.TellDrain():
                self._tell(command)
            case m.DumpStacks() | m.TellStacks() | m.KillWorker():
                self._give_up(command)
            case m.OpenListeners() | m.CloseListeners():
                self._change_listeners(command)
            case m.Reread() | m.Renew() | m.Settle() | m.Forget():
                self._change_generations(command)
            case _:
                self._inform(command)

    def _inform(self, command: m.Command) -> None:
        match command:
            case m.Notify(phase, status):
                self._notify(phase, status)
            case m.Announce():
                self._announce()
            case m.ReopenLogs():
                self._service.reopen_logs()
            case m.Exit():
                self._exit = command
            case _:
                raise TypeError(f"not a command: {command!r}")

    def _give_up(self, command: m.DumpStacks | m.TellStacks | m.KillWorker) -> None:
        match command:
            case m.DumpStacks(worker):
                self._workforce.dump_stacks(worker)
            case m.TellStacks(worker, sentence):
                stacks = self._workforce.stacks(worker)
                logger.error("%s; %s", sentence, f"its stacks:\n{stacks}" if stacks else "it shows no stacks")
            case m.KillWorker(worker):
                self._workforce.kill(worker)

    def _tell(self, command: m.TellAdopt | m.TellRelease | m.TellDrain) -> None:
        instructions: list[Instruction]
        match command:
            case m.TellDrain(_, reason, ending):
                instructions = [Drain(reason, ending)]
            case m.TellRelease(_, keys):
                instructions = [Release(keys)]
            case m.TellAdopt(_, keys):
                adopted = self._service.listeners.get(keys)
                # No more at a time than descriptors fit into one message.
                instructions = [Adopt(adopted[start : start + 60]) for start in range(0, len(adopted), 60)]
        self._workforce.tell(command.worker, instructions)

    def _change_listeners(self, command: m.OpenListeners | m.CloseListeners) -> None:
        listeners = self._service.listeners
        if isinstance(command, m.CloseListeners):
            listeners.close(command.keys)
            return
        try:
            keys = listeners.open(self._settings[command.generation], [command.slot])
        except BindError as error:
            self._events.append(m.OpenFailed(command.slot, str(error)))
        else:
            self._events.append(m.Opened(command.slot, command.generation, keys))

    def _change_generations(self, command: m.Reread | m.Renew | m.Settle | m.Forget) -> None:
        match command:
            case m.Reread(generation):
                self._reread(generation)
            case m.Renew(generation, like):
                self._settings[generation] = self._settings[like]
            case m.Forget(generation):
                self._settings.pop(generation, None)
            case m.Settle(generation):
                if self._settings[generation] is not self._current:
                    self._current = self._settings[generation]
                    self._service.configure_logs(self._current)

    def _reread(self, generation: int) -> None:
        try:
            settings = self._service.reread()
            if settings.workers < 1:
                raise ValueError("workers = 0 needs a new start")
            self._configure(generation, settings)
        # A configuration file may be Python, so reading it can raise anything; whatever is wrong with it must not
        # stop the service.
        except Exception as error:  # noqa: BLE001
            self._events.append(m.Rejected(str(error) or type(error).__name__))
            return
        for name in FIXED:
            if getattr(settings, name) != getattr(self._service.settings, name):
                logger.warning("The setting %s has changed; that needs a new start", name)

    def _configure(self, generation: int, settings: Settings) -> None:
        # Slots of a paused service too; they are filled again by this very reload.
        active = {slot.number for slot in self._state.slots.values() if slot.is_active}
        slots = active.union(range(1, settings.workers + 1))
        keys = self._service.listeners.open(settings, sorted(slots))
        self._settings[generation] = settings
        self._events.append(m.Configured(generation, limits_of(settings), keys))

    def _notify(self, phase: m.Phase, status: str) -> None:
        notifier = self._service.notifier
        match phase:
            case m.Phase.READY:
                notifier.ready(status)
            case m.Phase.RELOADING:
                notifier.reloading(status)
            case m.Phase.STOPPING:
                notifier.stopping(status)
            case m.Phase.STATUS:
                notifier.status(status)

    def _announce(self) -> None:
        for url in self._service.listeners.urls(self._current):
            logger.info("Running on %s (CTRL + C to quit)", url)
        self._service.on_start()

    # Processes

    def _start(self, command: m.StartWorker) -> None:
        settings = self._settings[command.generation]
        keys = self._state.generations[command.generation].keys.of(command.slot)

        def work(row: Row, line: Channel[Instruction]) -> int:
            self._let_go()
            self._service.listeners.keep_only(keys)
            setproctitle(f"hypercorn: worker {command.slot} [{name_of(settings)}]")
            errorlog = errorlog_file(settings)
            on_ready = (lambda: forget_terminal(errorlog)) if settings.daemon else None
            child = Child(command.slot, command.generation, row, line, on_ready)
            return self._service.worker(settings, self._service.listeners.get(keys), child)

        try:
            pid = self._workforce.start(command, work)
        except OSError as error:
            # As if it had said so itself: the plan logs it, and why nothing serves if no worker can be made.
            reason = f"a process cannot be forked: {refusal(error)}"
            self._events.append(m.Said(command.worker, Failed(Failure.STARTUP, reason)))
            self._events.append(m.Exited(command.worker, status=ExitStatus.FAILED))
        else:
            self._events.append(m.Forked(command.worker, pid))

    def _let_go(self) -> None:
        """In a child: close what is the arbiter's own."""
        if self._watching is not None:
            self._watching.let_go()
        if self._wake_up is not None:
            self._wake_up.close_in_child()

    def _watch(self) -> None:
        if self._current.use_reloader:

            def let_go() -> None:
                self._let_go()
                self._service.listeners.keep_only(())

            title = f"hypercorn: watcher [{name_of(self._current)}]"
            try:
                self._watching = Watching(Watch.from_settings(self._current), title, let_go)
            except OSError as error:
                reason = f"files cannot be watched, as --reload wants it: {refusal(error)}"
                self._exit = m.Exit(ExitStatus.FAILED, reason)

    def _clean_up(self) -> None:
        self._workforce.close()
        if self._watching is not None:
            self._watching.stop()


def limits_of(settings: Settings) -> m.Limits:
    """What the plan needs of the settings."""
    taken: dict[str, Any] = {
        name: getattr(settings, name)
        for name in ("workers", "worker_timeout", "startup_timeout", "graceful_timeout", "shutdown_timeout")
    }
    return m.Limits(
        **taken,
        is_daemon=settings.daemon,
        is_reloading=settings.use_reloader,
        is_preloaded=settings.preload_app,
    )
