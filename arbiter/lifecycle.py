"""The life of one worker as the arbiter sees it: one table.

(state, event) gives (next state, action). What is not in the table must not happen: the plan logs it and changes
nothing, and the tests fail on it. The table decides nothing about slots, generations or the service: see `plan`.

    STARTING -> READY -> ASKED -> DRAINING -> GONE       the usual way
        |         \\________________^                      it drains by itself (TERM from an operator)
        `-> FAILED                                         it said why it cannot start
    ABORTING -> KILLED                                     its loop stands still, or time is up
"""

from __future__ import annotations

import enum
from collections.abc import Mapping


class WorkerState(enum.Enum):
    """Where a worker is in its life."""

    STARTING = "starting"
    READY = "ready"
    ASKED = "asked to drain"
    DRAINING = "draining"
    FAILED = "failed"
    ABORTING = "dumping its stacks"
    KILLED = "killed"
    GONE = "gone"


class WorkerEvent(enum.Enum):
    """What can happen to a worker."""

    SAID_READY = "said ready"
    SAID_FAILED = "said why it cannot start"
    SAID_RETIRE = "asked for a successor"
    SAID_DRAINING = "said that it drains"
    EXITED = "exited"
    DRAIN = "is to drain"
    HURRY = "is to leave quickly"
    SILENT = "does not beat"
    LATE = "has used up its time"


class Action(enum.Enum):
    """What the plan does about it."""

    NOTHING = "nothing"
    SERVE = "take it into service"
    NOTE_FAILURE = "remember the reason, await its exit"
    REPLACE = "start a successor, then drain it"
    LEAVE = "it leaves by itself: give its slot another"
    GIVE_TIME = "it heard: let it finish connections and lifespan"
    TELL_DRAIN = "tell it to drain"
    TELL_END = "it drains for a successor already: tell it that the service ends"
    TELL_HURRY = "tell it to leave quickly"
    DUMP = "let it dump its stacks"
    GIVE_UP = "tell what it dumped, then kill it"
    KILL = "kill it"
    BURY = "forget it; what its end means depends on what had been wished"


_S = WorkerState
_E = WorkerEvent
_A = Action

TABLE: Mapping[tuple[WorkerState, WorkerEvent], tuple[WorkerState, Action]] = {
    (_S.STARTING, _E.SAID_READY): (_S.READY, _A.SERVE),
    (_S.STARTING, _E.SAID_FAILED): (_S.FAILED, _A.NOTE_FAILURE),
    # TERM from an operator before it was ready.
    (_S.STARTING, _E.SAID_DRAINING): (_S.DRAINING, _A.LEAVE),
    (_S.STARTING, _E.EXITED): (_S.GONE, _A.BURY),
    (_S.STARTING, _E.DRAIN): (_S.ASKED, _A.TELL_DRAIN),
    (_S.STARTING, _E.HURRY): (_S.ASKED, _A.TELL_HURRY),
    (_S.STARTING, _E.LATE): (_S.ABORTING, _A.DUMP),
    (_S.READY, _E.SAID_RETIRE): (_S.READY, _A.REPLACE),
    (_S.READY, _E.SAID_DRAINING): (_S.DRAINING, _A.LEAVE),
    (_S.READY, _E.EXITED): (_S.GONE, _A.BURY),
    (_S.READY, _E.DRAIN): (_S.ASKED, _A.TELL_DRAIN),
    (_S.READY, _E.HURRY): (_S.ASKED, _A.TELL_HURRY),
    (_S.READY, _E.SILENT): (_S.ABORTING, _A.DUMP),
    # What it said before it heard that it is to drain still arrives.
    (_S.ASKED, _E.SAID_READY): (_S.ASKED, _A.NOTHING),
    (_S.ASKED, _E.SAID_FAILED): (_S.ASKED, _A.NOTHING),
    (_S.ASKED, _E.SAID_RETIRE): (_S.ASKED, _A.NOTHING),
    (_S.ASKED, _E.SAID_DRAINING): (_S.DRAINING, _A.GIVE_TIME),
    (_S.ASKED, _E.EXITED): (_S.GONE, _A.BURY),
    (_S.ASKED, _E.DRAIN): (_S.ASKED, _A.TELL_END),
    (_S.ASKED, _E.HURRY): (_S.ASKED, _A.TELL_HURRY),
    (_S.ASKED, _E.SILENT): (_S.ABORTING, _A.DUMP),
    (_S.ASKED, _E.LATE): (_S.KILLED, _A.KILL),
    # The worker says it again for each reason it hears.
    (_S.DRAINING, _E.SAID_DRAINING): (_S.DRAINING, _A.NOTHING),
    # Its lifespan was still starting when it was told, and could not end well.
    (_S.DRAINING, _E.SAID_READY): (_S.DRAINING, _A.NOTHING),
    (_S.DRAINING, _E.SAID_FAILED): (_S.DRAINING, _A.NOTHING),
    (_S.DRAINING, _E.SAID_RETIRE): (_S.DRAINING, _A.NOTHING),
    (_S.DRAINING, _E.EXITED): (_S.GONE, _A.BURY),
    (_S.DRAINING, _E.DRAIN): (_S.DRAINING, _A.TELL_END),
    (_S.DRAINING, _E.HURRY): (_S.DRAINING, _A.TELL_HURRY),
    (_S.DRAINING, _E.SILENT): (_S.ABORTING, _A.DUMP),
    (_S.DRAINING, _E.LATE): (_S.KILLED, _A.KILL),
    (_S.FAILED, _E.SAID_FAILED): (_S.FAILED, _A.NOTHING),
    (_S.FAILED, _E.SAID_DRAINING): (_S.FAILED, _A.NOTHING),
    (_S.FAILED, _E.EXITED): (_S.GONE, _A.BURY),
    (_S.FAILED, _E.DRAIN): (_S.FAILED, _A.NOTHING),
    (_S.FAILED, _E.HURRY): (_S.KILLED, _A.KILL),
    (_S.FAILED, _E.LATE): (_S.KILLED, _A.KILL),
    # Whatever it still says, it has to go.
    (_S.ABORTING, _E.SAID_READY): (_S.ABORTING, _A.NOTHING),
    (_S.ABORTING, _E.SAID_FAILED): (_S.ABORTING, _A.NOTHING),
    (_S.ABORTING, _E.SAID_RETIRE): (_S.ABORTING, _A.NOTHING),
    (_S.ABORTING, _E.SAID_DRAINING): (_S.ABORTING, _A.NOTHING),
    (_S.ABORTING, _E.EXITED): (_S.GONE, _A.BURY),
    (_S.ABORTING, _E.DRAIN): (_S.ABORTING, _A.NOTHING),
    (_S.ABORTING, _E.HURRY): (_S.KILLED, _A.KILL),
    (_S.ABORTING, _E.LATE): (_S.KILLED, _A.GIVE_UP),
    (_S.KILLED, _E.SAID_READY): (_S.KILLED, _A.NOTHING),
    (_S.KILLED, _E.SAID_FAILED): (_S.KILLED, _A.NOTHING),
    (_S.KILLED, _E.SAID_RETIRE): (_S.KILLED, _A.NOTHING),
    (_S.KILLED, _E.SAID_DRAINING): (_S.KILLED, _A.NOTHING),
    (_S.KILLED, _E.EXITED): (_S.GONE, _A.BURY),
    (_S.KILLED, _E.DRAIN): (_S.KILLED, _A.NOTHING),
    (_S.KILLED, _E.HURRY): (_S.KILLED, _A.NOTHING),
}

#: States in which a worker's loop has to beat.
BEATING = frozenset({WorkerState.READY, WorkerState.ASKED, WorkerState.DRAINING})
