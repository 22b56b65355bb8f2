"""What operators ask for with signals, and what else begins a new generation. Pure."""

from __future__ import annotations

import dataclasses

from ..config.options_serving import MOST_WORKERS
from ..config.supervision import SAME_REQUEST_SECONDS
from . import messages as m
from .lives import Lives
from .messages import Request, Severity
from .reports import replacing
from .state import Generation, Mode


class Requests:
    """Takes requests in; what has to happen for them is found by `reconciling.py`."""

    def __init__(self, lives: Lives) -> None:
        self.turn = lives.turn
        self.state = lives.state
        self.lives = lives

    def asked(self, request: Request) -> None:
        """An operator asked for something."""
        state = self.state
        if request is Request.STOP:
            self._stop()
        elif request is Request.QUICK:
            self.lives.stop(Mode.QUICK)
        elif not state.is_ending:
            self._asked_while_serving(request)

    def _stop(self) -> None:
        state, now = self.state, self.turn.now
        if not state.is_ending:
            state.stop_asked_at = now
            self.lives.stop(Mode.STOPPING)
        elif state.stop_asked_at is None or now - state.stop_asked_at > SAME_REQUEST_SECONDS:
            self.lives.stop(Mode.QUICK)

    def _asked_while_serving(self, request: Request) -> None:
        match request:
            case Request.RELOAD:
                self._reload()
            case Request.RESTART:
                self.turn.do(m.ReopenLogs())
                self.turn.log("Restart: the workers are replaced one by one")
                self._renew()
            case Request.UPGRADE:
                text = "A hot upgrade (USR2) is not supported yet; nothing is done"
                self.turn.log(text, Severity.WARNING)
            case Request.PAUSE:
                self._pause()
            case _:
                self._resize(1 if request is Request.MORE else -1)

    def changed(self, event: m.Changed) -> None:
        """Watched files have changed."""
        paths = event.paths
        if self.state.is_ending:
            return
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        what = "the configuration is read again, then the workers" if event.has_settings else "the workers"
        self.turn.log(f"Changed: {', '.join(paths[:3])}{more}; {what} are replaced")
        if event.has_settings:
            self._reread()
        else:
            self._renew()

    def configured(self, generation: Generation) -> None:
        """The settings of a generation, the first or one that was asked for with a reload."""
        state = self.state
        state.is_rereading = False
        state.last_generation = max(state.last_generation, generation.number)
        state.generations[generation.number] = generation
        state.open_keys |= generation.keys.all()
        if state.is_ending:
            return
        self._aim_at(generation.number)
        if not state.slots:
            state.apply_count(generation, self.turn.now)

    def _reload(self) -> None:
        self.turn.log("Reload: the configuration is read again, then the workers are replaced one by one")
        self._reread()

    def _reread(self) -> None:
        self._tell_preloaded()
        replacing(self.turn)
        self.state.last_generation += 1
        self.state.is_rereading = True
        self.turn.do(m.Reread(self.state.last_generation))

    def _renew(self) -> None:
        """Start a generation with the settings of the present one."""
        state = self.state
        self._tell_preloaded()
        replacing(self.turn)
        state.last_generation += 1
        model = state.generations[state.target]
        self.turn.do(m.Renew(state.last_generation, model.number))
        state.generations[state.last_generation] = dataclasses.replace(model, number=state.last_generation)
        self._aim_at(state.last_generation)

    def _aim_at(self, generation: int) -> None:
        self.state.target = generation
        self.state.mode = Mode.RUNNING
        for slot in self.state.slots.values():
            slot.forgive(self.turn.now)

    def _tell_preloaded(self) -> None:
        serving = self.state.serving
        if serving is not None and serving.limits.is_preloaded:
            text = "The preloaded application stays as it is; only a new start loads it again"
            self.turn.log(text, Severity.WARNING)

    def _pause(self) -> None:
        serving = self.state.serving
        if serving is not None and serving.limits.is_daemon:
            self.turn.log("All workers drain; HUP brings them back")
            self.state.mode = Mode.PAUSED

    def _resize(self, change: int) -> None:
        state = self.state
        if state.mode is Mode.PAUSED:
            text = "There are no workers to add to or take from; HUP brings them back"
            self.turn.log(text, Severity.WARNING)
            return
        active = state.active()
        if change < 0 and len(active) > 1:
            active[-1].is_active = False
        elif change > 0 and len(active) < MOST_WORKERS:
            free = next(n for n in range(1, MOST_WORKERS + 1) if not state.is_active(n))
            state.activate(free, self.turn.now)
        else:
            limit = "the most that can be supervised" if change > 0 else "the last one stays"
            self.turn.log(f"The number of workers stays at {len(active)}: {limit}", Severity.WARNING)
            return
        count = len(state.active())
        self.turn.log(f"{count} worker{'s' if count > 1 else ''} from now on")
