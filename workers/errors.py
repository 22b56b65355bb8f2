"""What can go wrong between the server and an application; the classes that applications may see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ..protocols.engine import LocalProtocolError

if TYPE_CHECKING:
    from ..protocols.events import Fields


def is_failure(error: BaseException, cancellation: tuple[type[BaseException], ...]) -> bool:
    """Whether `error`, raised by an application, is its failure; what else there is must pass to the loop.

    `SystemExit` is one: a request must not end the worker that serves others. So is GeneratorExit, which a group of
    tasks makes a group of errors when the generator that holds it is closed. `cancellation` (of `Runtime`) and
    KeyboardInterrupt are not, nor groups that hold one of them.
    """
    if isinstance(error, Exception):
        return True
    passing = (*cancellation, KeyboardInterrupt)
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return group.subgroup(passing) is None
    return not isinstance(error, passing)


def as_bytes(given: Any, what: str) -> bytes:
    """What an application gave as bytes; another buffer is copied.

    Raises:
        LocalProtocolError: it is neither; `what` names it.
    """
    try:
        return bytes(memoryview(given))  # bytes(5) would be five zeros
    except TypeError as error:
        raise LocalProtocolError(f"bytes are wanted as {what}, not {given!r}") from error


def as_fields(given: Any, what: str) -> Fields:
    """What an application gave as fields: any pairs of bytes or of other buffers, copied.

    Raises:
        LocalProtocolError: it is something else; `what` names it.
    """
    try:
        return [(bytes(memoryview(name)), bytes(memoryview(value))) for name, value in given]
    except (TypeError, ValueError) as error:
        raise LocalProtocolError(f"pairs of bytes are wanted as {what}, not {given!r}") from error


class UnexpectedMessageError(Exception):
    """The application sent a message that its exchange cannot take in its present state."""

    def __init__(self, state: object, message_type: str) -> None:
        name = getattr(state, "name", state)
        super().__init__(f"the application sent {message_type!r}, which is not possible in state {name}")
        self.state = state
        self.message_type = message_type


class ClientDisconnected(OSError):
    """`send()` after the client has gone (ASGI HTTP specification 2.4 asks for an `OSError`)."""

    def __init__(self) -> None:
        super().__init__("the client has disconnected")


def is_departure(error: BaseException) -> bool:
    """Whether `error` is `ClientDisconnected`, or what a framework made of it, or a group of nothing else.

    Frameworks raise a class of their own while they handle the first (Starlette: `ClientDisconnect`). A built-in class
    that was raised there is a mistake in what handles it.
    """
    seen: list[BaseException] = []
    present: BaseException | None = error
    while present is not None and present not in seen:
        if isinstance(present, ClientDisconnected):
            return True
        if isinstance(present, BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", present)
            return all(map(is_departure, group.exceptions))
        if type(present).__module__ == "builtins":
            return False
        seen.append(present)
        present = present.__cause__ or present.__context__
    return False


class LifespanTimeoutError(Exception):
    """The application did not complete a lifespan stage in time."""

    def __init__(self, stage: str) -> None:
        super().__init__(f"the application did not complete its lifespan {stage} within the {stage} timeout")
        self.stage = stage


class LifespanFailureError(Exception):
    """The application answered a lifespan stage with a failure, or raised in it."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(f"lifespan {stage} failed: {message}" if message else f"lifespan {stage} failed")
        self.stage = stage
