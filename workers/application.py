"""Finds the application that an application string names, and tells ASGI from WSGI.

    [asgi:|wsgi:]module[:expression]        module: dotted name or path of a file; expression: `app` if absent

The expression is a name in the module, an attribute path, an index, or a call of one of these whose arguments
are literals or again such expressions: `app`, `sites["main"]`, `create_app("production", debug=False).asgi`.
It is interpreted from its syntax tree and never given to `eval`: operators, comprehensions, lambdas and
builtins are refused with a sentence that says so.

This module runs application code (the import, the factory) but no event loop; both may block.
"""

from __future__ import annotations

import ast
import difflib
import functools
import importlib
import inspect
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from ..config.settings import Settings

Mode: TypeAlias = Literal["asgi", "wsgi"]
_MODES: dict[str, Mode] = {"asgi": "asgi", "wsgi": "wsgi"}


class ApplicationError(Exception):
    """The application cannot be loaded.

    Attributes:
        sentence: one line for the operator, also `str(error)`.
        traceback: what the application's own code raised, formatted, without the server's frames; or `""`.
    """

    def __init__(self, sentence: str, traceback: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.traceback = traceback

    def report(self) -> str:
        """The sentence, and below it the traceback where there is one."""
        return f"{self.sentence}\n{self.traceback.rstrip()}" if self.traceback else self.sentence


@dataclass(frozen=True, slots=True)
class LoadedApplication:
    """An application and how it is called: `(scope, receive, send)` or `(environ, start_response)`."""

    callable: Callable[..., Any]
    mode: Mode


@dataclass(frozen=True, slots=True)
class Target:
    """An application string, taken apart. `expression` is None where the string has none."""

    mode: Mode | None
    module: str
    expression: str | None


def load_application(settings: Settings) -> LoadedApplication:
    """Import and, for a factory, call what `settings.application_path` names.

    The current directory, `settings.app_dir` and the directory of a file path are put in front of `sys.path`.

    Raises:
        ApplicationError: it is not there, fails to import, or is nothing that can be served.
    """
    return load_target(parse_target(settings.application_path), settings.app_dir, settings.factory)


def load_target(target: Target, app_dir: str | None = None, factory: bool = False) -> LoadedApplication:
    """As `load_application`, for a string that is taken apart already."""
    module = import_target(target, app_dir)
    expression = target.expression or ("create_app" if factory else "app")
    value = evaluate(expression, module)
    if factory:
        value = _call(value, (), {}, expression)
    return classify(value, target.mode, f"'{module.__name__}:{expression}'")


def parse_target(path: str) -> Target:
    """Split an application string.

    Raises:
        ApplicationError: it has a mode prefix other than `asgi` and `wsgi`, or names no module.
    """
    # Colons inside the arguments of a call are not separators.
    head, bracket, arguments = path.strip().partition("(")
    mode: Mode | None = None
    if head.count(":") > 1:
        prefix, head = head.split(":", 1)
        mode = _MODES.get(prefix)
        if mode is None or head.count(":") > 1:
            raise ApplicationError(f"application {path!r}: the form is [asgi:|wsgi:]module[:expression]")
    module, colon, expression = head.partition(":")
    expression += bracket + arguments
    if not module or (bracket and not colon) or (colon and not expression.strip()):
        raise ApplicationError(f"application {path!r}: the form is [asgi:|wsgi:]module[:expression]")
    return Target(mode, module, expression.strip() if colon else None)


def import_target(target: Target, app_dir: str | None = None) -> ModuleType:
    """Import the module of `target`, with its directory, `app_dir` and the current one importable.

    Raises:
        ApplicationError: there is no such module, or its own code failed.
    """
    _make_importable(_current_directory())
    if app_dir is not None:
        _make_importable(Path(app_dir).resolve())
    name, file = target.module, None
    # Not `is_file` alone: `pkg/app` names pkg/app.py, and a missing app.py deserves its own sentence.
    if "/" in name or name.endswith(".py"):
        file = _resolve_file(name, app_dir)
        _make_importable(file.parent)
        name = file.stem if file.suffix == ".py" else file.name
    importlib.invalidate_caches()
    module = _import(name)
    if file is not None and not _is_made_from(module, file):
        raise ApplicationError(
            f"{file} cannot be imported as '{name}': a module of that name is already loaded"
            f" from {getattr(module, '__file__', 'the interpreter')}; rename the file"
        )
    return module


def _current_directory() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        text = f"the current directory cannot be used: {error.strerror}; start the server in one that exists"
        raise ApplicationError(text) from None


def _make_importable(directory: Path) -> None:
    entry = str(directory)
    if sys.path[:1] != [entry]:
        sys.path.insert(0, entry)


def _resolve_file(name: str, app_dir: str | None) -> Path:
    """The file (or, without `.py`, the module or package) that a path names."""
    candidates = [Path(app_dir or "", name).resolve(), Path(name).resolve()]
    for path in candidates:
        if path.is_file() or path.is_dir():
            return path
        if path.with_name(path.name + ".py").is_file():
            return path.with_name(path.name + ".py")
        # `path/to/package.module`
        if path.suffix and not name.endswith(".py") and path.with_suffix("").is_dir():
            return path
    missing = candidates[0]
    siblings = sorted(entry.name for entry in missing.parent.glob("*.py"))
    raise ApplicationError(f"there is no file {missing}{_suggest(missing.name, siblings)}")


def _is_made_from(module: ModuleType, file: Path) -> bool:
    origin = getattr(module, "__file__", None)
    if origin is None:  # a namespace package
        return True
    made_from = Path(origin).resolve()
    return file in (made_from, made_from.parent) or file.suffix != ".py"


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    # The border to the application: whatever its module level raises, exit() included, becomes a report.
    except (Exception, SystemExit) as error:
        frames = _skip_own_frames(error.__traceback__)
        if frames is None and isinstance(error, ModuleNotFoundError):
            raise ApplicationError(_describe_missing_module(name, error)) from None
        if frames is None and not isinstance(error, SyntaxError):
            raise ApplicationError(f"module '{name}' cannot be imported: {error}") from None
        raise ApplicationError(
            f"module '{name}' failed to import: {_describe(error)}", _format(error, frames)
        ) from error


def _describe_missing_module(name: str, error: ModuleNotFoundError) -> str:
    missing = error.name or name
    parent, _, last = missing.rpartition(".")
    if parent and not hasattr(sys.modules.get(parent), "__path__"):
        return f"there is no module '{name}': '{parent}' is a module and not a package"
    places = list(sys.modules[parent].__path__) if parent else sys.path[:1]
    if closed := [place for place in places if _is_closed(place or os.curdir)]:
        return f"there is no module '{missing}' to be found: user {os.geteuid()} cannot read {closed[0] or Path.cwd()}"
    names = {found.name for found in pkgutil.iter_modules(places)}
    where = f"in package '{parent}'" if parent else f"in {Path.cwd()} or on the import path"
    return f"there is no module '{missing}' {where}{_suggest(last, names, parent and parent + '.')}"


def _is_closed(place: str) -> bool:
    """Whether this directory of an import path may not be read. What is none, such as a mark of an editable
    installation, is not there."""
    try:
        os.scandir(place).close()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def evaluate(expression: str, module: ModuleType) -> Any:
    """The value of an application expression in the namespace of `module`.

    Raises:
        ApplicationError: it is not of the form that this module's docstring describes, names something that
            is not there, or a call in it failed.
    """
    try:
        tree = ast.parse(expression, mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise ApplicationError(
            f"application expression {expression!r} cannot be read: {error.args[0]}"
        ) from None
    return _Evaluation(expression, module).value(tree)


class _Evaluation:
    """Interprets one expression; each method gives the value of one kind of node."""

    def __init__(self, expression: str, module: ModuleType) -> None:
        self._expression = expression
        self._module = module

    def value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return self._attribute(self._module, node.id, f"module '{self._module.__name__}'")
            case ast.Attribute():
                return self._attribute(self.value(node.value), node.attr, f"'{ast.unparse(node.value)}'")
            case ast.Subscript():
                return self._item(node)
            case ast.Call():
                return self._call(node)
            case ast.Tuple() | ast.List() | ast.Set() | ast.Dict():
                return self._display(node)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                return -number
            case _:
                raise ApplicationError(
                    f"application expression {self._expression!r}: {ast.unparse(node)!r} is neither a name,"
                    " an attribute, an index, a literal nor a call"
                )

    def _attribute(self, owner: Any, name: str, description: str) -> Any:
        try:
            return getattr(owner, name)
        except AttributeError:
            if owner is self._module and (origin := getattr(owner, "__file__", None)):
                description += f" ({origin})"
            raise ApplicationError(f"{description} has no '{name}'{_suggest(name, _public(owner))}") from None

    def _item(self, node: ast.Subscript) -> Any:
        container, key = self.value(node.value), self.value(node.slice)
        try:
            return container[key]
        except (LookupError, TypeError):
            raise ApplicationError(f"'{ast.unparse(node.value)}' has no item {key!r}") from None

    def _call(self, node: ast.Call) -> Any:
        arguments = [self.value(argument) for argument in node.args]
        named = {word.arg: self.value(word.value) for word in node.keywords if word.arg is not None}
        if len(named) != len(node.keywords):
            raise ApplicationError(f"application expression {self._expression!r}: ** is not supported")
        return _call(self.value(node.func), arguments, named, ast.unparse(node.func))

    def _display(self, node: ast.Tuple | ast.List | ast.Set | ast.Dict) -> Any:
        match node:
            case ast.Tuple():
                return tuple(self.value(element) for element in node.elts)
            case ast.List():
                return [self.value(element) for element in node.elts]
            case ast.Set():
                return {self.value(element) for element in node.elts}
            case ast.Dict():
                if None in node.keys:
                    raise ApplicationError(
                        f"application expression {self._expression!r}: ** is not supported"
                    )
                keys = [self.value(key) for key in node.keys if key is not None]
                return dict(zip(keys, map(self.value, node.values), strict=True))


def _call(factory: Any, arguments: Iterable[Any], named: dict[str, Any], name: str) -> Any:
    if not callable(factory):
        raise ApplicationError(f"'{name}' is called, but it is no function: {_kind(factory)}")
    try:
        value = factory(*arguments, **named)
    # The border to the application, as in _import.
    except (Exception, SystemExit) as error:
        frames = _skip_own_frames(error.__traceback__)
        text = _format(error, frames) if frames is not None else ""
        raise ApplicationError(f"the factory '{name}' failed: {_describe(error)}", text) from error
    if inspect.iscoroutine(value):
        value.close()
        raise ApplicationError(f"'{name}' is a coroutine function: it is an application, or else a factory"
                               " that must not be asynchronous")  # fmt: skip
    return value


def classify(app: Any, mode: Mode | None = None, name: str = "the application") -> LoadedApplication:
    """Tell how `app` is called. ASGI 3: a coroutine function, an object with such a `__call__`, or a callable
    that takes three arguments and not two; every other callable is WSGI. `mode` overrules.

    Raises:
        ApplicationError: it cannot be called as either (not callable, a factory, ASGI 2).
    """
    if not callable(app):
        raise ApplicationError(f"{name} is not callable: {_kind(app)}")
    if mode is not None:
        return LoadedApplication(app, mode)
    if _is_coroutine_function(app):
        _refuse_unless(_takes(app, 3), app, name)
        return LoadedApplication(app, "asgi")
    if _takes(app, 2):
        return LoadedApplication(app, "wsgi")
    _refuse_unless(_takes(app, 3), app, name)
    return LoadedApplication(app, "asgi")


def is_asgi(app: Any) -> bool:
    """Whether `app` is called the ASGI way, as far as its shape tells; never raises."""
    return callable(app) and (_is_coroutine_function(app) or (_takes(app, 3) and not _takes(app, 2)))


def _is_coroutine_function(app: Any) -> bool:
    while isinstance(app, functools.partial):
        app = app.func
    if inspect.isclass(app):
        return False
    # A decorator's wrapper may be a plain function that hands on the coroutine.
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(inspect.unwrap(app)):
        return True
    return inspect.iscoroutinefunction(type(app).__call__)


def _takes(app: Any, count: int) -> bool:
    """Whether `app` can be called with `count` positional arguments; True where it does not tell."""
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def _refuse_unless(acceptable: bool, app: Any, name: str) -> None:
    if acceptable:
        return
    if inspect.isclass(app) and _takes(app, 0):
        hint = "is a class: name an instance of it, or call it"
    elif _takes(app, 0):
        hint = "takes no arguments and looks like a factory: call it, or use --factory"
    elif _takes(app, 1):
        hint = "takes one argument and looks like ASGI 2: wrap it with asgiref.compatibility"
    else:
        hint = "takes neither (scope, receive, send) nor (environ, start_response)"
    raise ApplicationError(f"{name} {hint}")


def _kind(value: Any) -> str:
    if isinstance(value, ModuleType):
        return "it is a module"
    return "it is None" if value is None else f"it is an instance of {type(value).__qualname__}"


def _public(owner: Any) -> list[str]:
    return [name for name in dir(owner) if not name.startswith("_")]


def _suggest(wanted: str, names: Iterable[str], prefix: str = "") -> str:
    known = list(names)
    near = difflib.get_close_matches(wanted, known, n=1)
    if not near:
        near = [name for name in ("app", "application", "asgi", "wsgi", "create_app") if name in known]
    return f"; did you mean '{prefix}{near[0]}'?" if near else ""


def _describe(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]


def traceback_of(error: BaseException) -> str:
    """What the application's own code raised, formatted, without the frames of the server that called it."""
    package = str(Path(__file__).parent)
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(package):
        frames = frames.tb_next
    return _format(error, frames)


def _skip_own_frames(frames: TracebackType | None) -> TracebackType | None:
    while frames is not None and _is_own(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    return frames


def _is_own(filename: str) -> bool:
    return filename in (__file__, importlib.__file__) or filename.startswith("<frozen importlib")


def _format(error: BaseException, frames: TracebackType | None) -> str:
    return "".join(traceback.format_exception(type(error), error, frames))
