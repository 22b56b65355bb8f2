"""The ASGI lifespan of one worker: start-up before it accepts, shutdown after it has drained.

With `lifespan = "auto"` an application that raises *before* it has asked for the first message, or that answers
with a message of HTTP, does not know the protocol, and is served without it. One that has taken
`lifespan.startup` and then raises has failed to start: hiding that, as some servers do, would put a broken
worker into service.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from .errors import LifespanFailureError, LifespanTimeoutError, UnexpectedMessageError, is_failure
from .runtime import Runtime, Task

logger = logging.getLogger("hypercorn.error")

Message = dict[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


class Lifespan:
    """Runs the application's lifespan call beside the server.

    Args:
        application: an ASGI application.
        runtime: the loop.
        is_required: an application that does not support lifespan has failed to start.
        state: the mapping that the application may fill; each request gets a shallow copy.
    """

    def __init__(
        self, application: Application, runtime: Runtime, is_required: bool, state: dict[str, Any]
    ) -> None:
        self._application = application
        self._runtime = runtime
        self._is_required = is_required
        self._state = state
        self._startup = runtime.make_event()
        self._shutdown = runtime.make_event()
        self._wake = runtime.make_event()
        self._stage: Literal["startup", "running", "shutdown", "over"] = "startup"
        self._received_startup = False
        self._received_shutdown = False
        #: It has asked for messages, and answered none with one of another protocol.
        self._knows_lifespan = False
        self._failure: LifespanFailureError | None = None
        self.task: Task | None = None
        self._is_given_up = False
        self.supported = True

    async def startup(self, timeout: float) -> None:
        """Start the application.

        Raises:
            LifespanTimeoutError: it is not done within `timeout` seconds.
            LifespanFailureError: it says that it failed, or raised.
        """
        self.task = self._runtime.spawn(self._run)
        if not await self._runtime.wait(self._startup, timeout):
            self.cancel()
            raise LifespanTimeoutError("startup")
        if self._failure is not None:
            raise self._failure

    async def shutdown(self, timeout: float) -> None:
        """Tell the application to shut down and wait for it; raises like `startup`."""
        if not self.supported or self._stage == "over":
            return
        self._stage = "shutdown"
        self._wake.set()
        if not await self._runtime.wait(self._shutdown, timeout):
            self.cancel()
            raise LifespanTimeoutError("shutdown")
        if self._failure is not None:
            raise self._failure

    def cancel(self) -> None:
        """Stop the application's lifespan call, as when the server itself is cancelled."""
        self._is_given_up = True
        if self.task is not None:
            self.task.cancel()

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"spec_version": "2.0", "version": "3.0"},
            "state": self._state,
        }
        try:
            await self._application(scope, self._receive, self._send)
        except BaseException as error:
            # A border: whatever the application raises, sys.exit() too, is judged by the stage it is in.
            if not is_failure(error, self._runtime.cancellation()):
                if self._stage != "running" and not self._is_given_up:
                    # Not from here: it must have cancelled itself.
                    self._raised(error)
                raise
            self._raised(error)
        else:
            self._returned()
        finally:
            self._stage = "over"
            self._startup.set()
            self._shutdown.set()

    def _raised(self, error: BaseException) -> None:
        if self._failure is not None:
            return
        if self._stage == "startup" and not self._knows_lifespan and not self._is_required:
            self.supported = False
            logger.debug("The application does not support lifespan: %r", error)
        elif self._stage in ("startup", "shutdown"):
            self._failure = LifespanFailureError(self._stage, f"{type(error).__name__}: {error}")
            self._failure.__cause__ = error
        else:
            logger.error("The application's lifespan ended with an error while serving", exc_info=error)

    def _returned(self) -> None:
        if self._stage == "startup" and self._failure is None:
            if self._is_required:
                self._failure = LifespanFailureError("startup", "the application returned without an answer")
            self.supported = False

    async def _receive(self) -> Message:
        if not self._received_startup:
            self._received_startup = self._knows_lifespan = True
            return {"type": "lifespan.startup"}
        await self._wake.wait()
        if self._received_shutdown:
            # Nothing will ever follow; an application that asks again is parked until it is cancelled.
            await self._runtime.make_event().wait()
        self._received_shutdown = True
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete" and self._stage == "startup":
            self._stage = "running"
            self._startup.set()
        elif kind == "lifespan.startup.failed" and self._stage == "startup":
            self._failure = LifespanFailureError("startup", str(message.get("message", "")))
            self._startup.set()
        elif kind == "lifespan.shutdown.complete" and self._stage == "shutdown":
            self._shutdown.set()
        elif kind == "lifespan.shutdown.failed" and self._stage == "shutdown":
            self._failure = LifespanFailureError("shutdown", str(message.get("message", "")))
            self._shutdown.set()
        else:
            if not kind.startswith("lifespan."):
                self._knows_lifespan = False
            raise UnexpectedMessageError(self._stage, kind)
