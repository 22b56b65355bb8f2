"""The arbiter's loop: turns signals, child exits, messages and time into events, and carries out the plan's commands.

It decides nothing. It never imports the application (with `--preload` the facade has loaded it before) and has a
single thread; between events it sleeps until the plan's earliest deadline.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from setproctitle import setproctitle

from ..config.settings import Settings
from ..config.sockets import BindError, Listener
from ..config.supervision import Adopt, Drain, Instruction, Release, Report
from . import messages as m
from . import plan, process, watcher
from .banner import name_of
from .channel import Channel, ChannelError, open_line
from .child import Child
from .daemon import errorlog_file, forget_terminal
from .listeners import ListenerTable
from .notify import Notifier
from .scoreboard import Row, Scoreboard
from .state import State
from .wakeup import REQUESTS, WakeUp, wake_up

logger = logging.getLogger("hypercorn.error")

#: Settings that belong to the arbiter itself and cannot change under it.
FIXED = ("daemon", "pid_path", "proc_name", "chdir", "preload_app", "use_reloader")


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


@dataclass(slots=True)
class _Handle:
    """The parent's view of a worker's process."""

    worker: int
    pid: int
    line: Channel[Report]
    row: Row
    is_open: bool = True


@dataclass(slots=True)
class _Watching:
    """The process that watches files."""

    pid: int
    reader: int
    rest: bytes = b""
    is_begun: bool = False


class Master:
    """Runs one service; `run` is called once."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._settings = {1: service.settings}
        self._current = service.settings
        self._state = State()
        self._scoreboard = Scoreboard(2 * plan.MOST_WORKERS, service.counters)
        self._handles: dict[int, _Handle] = {}
        self._events: deque[m.Event] = deque()
        self._watching: _Watching | None = None
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
            self._take(self._events.popleft())
        if self._exit is None:
            self._wait()

    def _take(self, event: m.Event) -> None:
        waiting = list(self._events)
        self._events.clear()
        for command in plan.step(self._state, event, time.monotonic()):
            self._do(command)
        # What came of the commands happened before what waits to be looked at.
        self._events.extend(waiting)

    # Waiting

    def _wait(self) -> None:
        assert self._wake_up is not None
        poll = select.poll()
        poll.register(self._wake_up.reader, select.POLLIN)
        lines = {handle.line.sock.fileno(): handle for handle in self._handles.values() if handle.is_open}
        for descriptor in lines:
            poll.register(descriptor, select.POLLIN)
        if self._watching is not None:
            poll.register(self._watching.reader, select.POLLIN)
        found = {descriptor for descriptor, _ in poll.poll(self._timeout_ms())}
        # Signals first: a whole process group may have been told to end, and the workers have heard it as well.
        if self._wake_up.reader in found:
            self._receive_signals(self._wake_up)
        for descriptor in found & lines.keys():
            self._hear(lines[descriptor])
        if self._watching is not None and self._watching.reader in found:
            self._hear_changes(self._watching)
        self._pass_time()

    def _timeout_ms(self) -> int | None:
        moments = [] if self._state.due is None else [self._state.due]
        if self._service.notifier.ping_seconds is not None:
            moments.append(self._next_ping)
        if not moments:
            return None
        return max(0, int((min(moments) - time.monotonic()) * 1000) + 1)

    def _pass_time(self) -> None:
        now = time.monotonic()
        if self._state.due is not None and now >= self._state.due:
            for handle in self._handles.values():
                handle.line.flush()
            self._events.append(m.Tick({handle.worker: handle.row.beat for handle in self._handles.values()}))
        ping_seconds = self._service.notifier.ping_seconds
        if ping_seconds is not None and now >= self._next_ping:
            self._next_ping = now + ping_seconds
            self._service.notifier.ping()

    def _hear(self, handle: _Handle) -> None:
        if not handle.is_open:
            return  # or collected in the meantime
        try:
            reports, handle.is_open = handle.line.receive()
        except ChannelError:
            logger.exception(
                "Worker with pid %d does not speak the arbiter's language and is killed", handle.pid
            )
            handle.is_open = False
            process.kill(handle.pid, signal.SIGKILL)
            return
        self._events.extend(m.Said(handle.worker, report) for report in reports)

    def _hear_changes(self, watching: _Watching) -> None:
        data = os.read(watching.reader, 65536)
        *lines, watching.rest = (watching.rest + data).split(b"\n")
        if lines and not watching.is_begun:
            watching.is_begun = True
            logger.info("Files are watched now")
        paths = dict.fromkeys(path for line in lines for path in json.loads(line))
        if paths:
            self._events.append(m.Changed(tuple(paths)))
        if not data:
            logger.error("Files are not watched any more: the watching process has ended")
            os.close(watching.reader)
            self._watching = None

    def _receive_signals(self, wake_up: WakeUp) -> None:
        numbers = wake_up.drain()
        for number in numbers:
            if number in REQUESTS:
                if REQUESTS[number] is not m.Request.PAUSE:  # each resize of a terminal
                    logger.info("Received %s", number.name)
                self._events.append(m.Asked(REQUESTS[number]))
        if signal.SIGCHLD in numbers:
            self._reap()

    def _reap(self) -> None:
        by_pid = {handle.pid: handle for handle in self._handles.values()}
        for ended in process.reap():
            handle = by_pid.get(ended.pid)
            if handle is None:
                continue  # somebody else's child, left to us because we are process 1; or the watcher
            self._hear(handle)  # its last words come before its end
            self._discard(handle)
            self._events.append(m.Exited(handle.worker, ended.status, ended.signal))

    def _discard(self, handle: _Handle) -> None:
        del self._handles[handle.worker]
        handle.line.close()
        self._scoreboard.release(handle.row, self._service.lasting)

    # Carrying out

    def _do(self, command: m.Command) -> None:
        match command:
            case m.Log(severity, text):
                logger.log(severity, "%s", text)
            case m.StartWorker():
                self._start(command)
            case m.DumpStacks(worker):
                self._kill(worker, signal.SIGABRT)
            case m.KillWorker(worker):
                self._kill(worker, signal.SIGKILL)
            case m.TellAdopt() | m.TellRelease() | m.TellDrain():
                self._tell(command)
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

    def _kill(self, worker: int, number: signal.Signals) -> None:
        # One that has been reaped is not signalled: its number may be another process's by now.
        if (handle := self._handles.get(worker)) is not None:
            process.kill(handle.pid, number)

    def _tell(self, command: m.TellAdopt | m.TellRelease | m.TellDrain) -> None:
        handle = self._handles.get(command.worker)
        if handle is None:
            return  # it has just ended; the plan hears of it next
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
        for instruction in instructions:
            handle.line.send(instruction)

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
        ours, theirs = open_line()
        try:
            row = self._scoreboard.claim(command.slot, command.generation, time.monotonic())
            pid = process.fork(lambda: self._be_worker(command, settings, keys, (row, ours, theirs)))
        except OSError as error:
            logger.error("A worker cannot be forked: %s", error)
            ours.close()
            theirs.close()
            self._events.append(m.Exited(command.worker, status=process.EXIT_CRASHED))
            return
        theirs.close()
        row.pid = pid
        self._handles[command.worker] = _Handle(command.worker, pid, ours, row)
        self._events.append(m.Forked(command.worker, pid))

    def _be_worker(
        self,
        command: m.StartWorker,
        settings: Settings,
        keys: frozenset[int],
        line: tuple[Row, Channel[Report], Channel[Instruction]],
    ) -> int:
        """The worker's process, from its first moment."""
        row, ours, theirs = line
        ours.close()
        self._let_go()
        self._service.listeners.keep_only(keys)
        setproctitle(f"hypercorn: worker {command.slot} [{name_of(settings)}]")
        errorlog = errorlog_file(settings)
        on_ready = (lambda: forget_terminal(errorlog)) if settings.daemon else None
        child = Child(command.slot, command.generation, row, theirs, on_ready)
        return self._service.worker(settings, self._service.listeners.get(keys), child)

    def _let_go(self) -> None:
        """In a child: close what is the arbiter's, so that its end is seen by all workers."""
        for handle in self._handles.values():
            handle.line.close()
        if self._watching is not None:
            os.close(self._watching.reader)
        if self._wake_up is not None:
            self._wake_up.close_in_child()

    def _watch(self) -> None:
        if not self._current.use_reloader:
            return
        watch = watcher.Watch.from_settings(self._current)
        reader, writer = os.pipe()
        arbiter = os.getpid()

        def run() -> int:
            self._let_go()
            os.close(reader)
            self._service.listeners.keep_only(())
            setproctitle(f"hypercorn: watcher [{name_of(self._current)}]")
            return watcher.run(watch, writer, arbiter)

        pid = process.fork(run)
        os.close(writer)
        self._watching = _Watching(pid, reader)

    def _clean_up(self) -> None:
        for handle in list(self._handles.values()):
            self._discard(handle)  # workers of a failed arbiter see the end of their line, and drain
        if self._watching is not None:
            process.kill(self._watching.pid, signal.SIGKILL)
            process.wait(self._watching.pid)
            os.close(self._watching.reader)


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
