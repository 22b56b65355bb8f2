"""Application strings, detection of the interface, and what an operator reads when loading fails."""

from __future__ import annotations

import functools
import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hypercorn.workers.application import (
    ApplicationError,
    Target,
    classify,
    evaluate,
    import_target,
    is_asgi,
    load_application,
    parse_target,
)

ASGI = "async def app(scope, receive, send): ...\n"
WSGI = "def app(environ, start_response): ...\n"


@dataclass
class Settings:
    """The three settings that loading looks at."""

    application_path: str
    app_dir: str | None = None
    factory: bool = False


Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """An empty current directory, a writer of files in it, and an import system that is as before afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    yield write_file
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) is None or str(tmp_path) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]


def load(path: str, **settings: Any) -> Any:
    return load_application(Settings(path, **settings))  # type: ignore[arg-type]


def failure(path: str, **settings: Any) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        load(path, **settings)
    assert "\n" not in caught.value.sentence
    assert str(caught.value) == caught.value.sentence
    return caught.value


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("module", Target(None, "module", None)),
        ("module:app", Target(None, "module", "app")),
        ("wsgi:app", Target(None, "wsgi", "app")),
        ("asgi:application", Target(None, "asgi", "application")),
        ("asgi:module:app", Target("asgi", "module", "app")),
        ("wsgi:a.b:site.app", Target("wsgi", "a.b", "site.app")),
        ("dir/app.py:app", Target(None, "dir/app.py", "app")),
        ("module:create('a:b')", Target(None, "module", "create('a:b')")),
        ("asgi:create('a:b')", Target(None, "asgi", "create('a:b')")),
        ("asgi:module:create('a:b', {1: 2})", Target("asgi", "module", "create('a:b', {1: 2})")),
    ],
)
def test_parse_target(path: str, target: Target) -> None:
    assert parse_target(path) == target


@pytest.mark.parametrize(
    "path", ["", ":app", "module:", "http:module:app", "asgi:a:b:c", "create_app()", "asgi::app"]
)
def test_parse_target_refuses(path: str) -> None:
    with pytest.raises(ApplicationError, match=r"\[asgi:\|wsgi:\]module\[:expression\]"):
        parse_target(path)


@pytest.mark.parametrize(
    "path", ["site1", "site1:app", "site1.py", "./site1.py:app", "site1.py:app", "asgi:site1:app"]
)
def test_module_in_the_current_directory(write: Write, path: str) -> None:
    write("site1.py", ASGI)
    loaded = load(path)
    assert loaded.mode == "asgi"
    assert loaded.callable.__name__ == "app"


def test_wsgi_prefix_overrules(write: Write) -> None:
    write("site1.py", "def app(*arguments): ...\n")
    assert load("site1").mode == "wsgi"
    assert load("asgi:site1:app").mode == "asgi"
    assert load("wsgi:site1:app").mode == "wsgi"


@pytest.mark.parametrize("path", ["deep/er/site2.py:app", "deep/er/site2:app"])
def test_file_path_makes_its_directory_importable(write: Write, path: str) -> None:
    write("deep/er/sibling.py", ASGI)
    write("deep/er/site2.py", "from sibling import app\n")
    assert load(path).mode == "asgi"


def test_paths_of_packages(write: Write) -> None:
    write("deep/pkg1/__init__.py", "from .part import app\n")
    write("deep/pkg1/part.py", WSGI)
    assert load("deep/pkg1:app").mode == "wsgi"
    assert load("deep/pkg1.part:app").mode == "wsgi"


def test_dotted_module(write: Write) -> None:
    write("pkg2/__init__.py", "")
    write("pkg2/part.py", "class site:\n    async def app(scope, receive, send): ...\n")
    assert load("pkg2.part:site.app").mode == "asgi"


def test_app_dir(write: Write) -> None:
    write("elsewhere/site3.py", ASGI)
    assert load("site3:app", app_dir="elsewhere").mode == "asgi"
    assert load("site3.py:app", app_dir="elsewhere").mode == "asgi"


def test_own_names_do_not_collide(write: Write) -> None:
    for name in ("config", "workers", "protocols", "arbiter"):
        write(f"{name}.py", f"NAME = {name!r}\n")
    write(
        "site4.py", "import config, workers, protocols, arbiter\nasync def app(scope, receive, send): ...\n"
    )
    assert load("site4").mode == "asgi"
    assert sys.modules["config"].NAME == "config"


FACTORIES = """
    class Site:
        def __init__(self, *arguments, **named):
            self.arguments, self.named = arguments, named
        async def __call__(self, scope, receive, send): ...
    create_app = Site
    sites = {"main": Site("main"), -1: Site(-1)}
    LEVEL = 3
    def nested(): return type("Box", (), {"app": Site("boxed")})
    """


@pytest.mark.parametrize(
    ("expression", "arguments", "named"),
    [
        ("create_app()", (), {}),
        ("create_app('a:b', 1, debug=True)", ("a:b", 1), {"debug": True}),
        ("create_app(LEVEL, [1, (2,)], {'k': {3}})", (3, [1, (2,)], {"k": {3}}), {}),
        ("sites['main']", ("main",), {}),
        ("sites[-1]", (-1,), {}),
        ("nested().app", ("boxed",), {}),
    ],
)
def test_expressions(write: Write, expression: str, arguments: Any, named: Any) -> None:
    write("factories.py", FACTORIES)
    loaded = load(f"factories:{expression}")
    assert (loaded.callable.arguments, loaded.callable.named) == (arguments, named)


def test_factory_option(write: Write) -> None:
    write("factories.py", FACTORIES)
    assert load("factories:Site", factory=True).callable.arguments == ()
    assert load("factories", factory=True).mode == "asgi"


@pytest.mark.parametrize(
    "expression",
    ["1 + 1", "[a for a in b]", "lambda: 1", "not create_app", "create_app(**{})", "create_app(*[])"],
)
def test_other_expressions_are_refused(write: Write, expression: str) -> None:
    write("factories.py", FACTORIES)
    module = import_target(Target(None, "factories", None))
    with pytest.raises(ApplicationError):
        evaluate(expression, module)


def test_builtins_are_not_reachable(write: Write) -> None:
    write("site1.py", ASGI)
    assert "has no 'exit'" in failure("site1:exit()").sentence


def test_missing_module(write: Write) -> None:
    write("main_site.py", ASGI)
    error = failure("main_sit:app")
    assert "there is no module 'main_sit' in " in error.sentence
    assert error.sentence.endswith("; did you mean 'main_site'?")
    assert error.traceback == ""


def test_a_current_directory_that_is_gone(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = write("gone/app.py", ASGI).parent
    monkeypatch.chdir(gone)
    (gone / "app.py").unlink()
    gone.rmdir()
    error = failure("app:app")
    assert error.sentence.startswith("the current directory cannot be used: No such file or directory; ")


@pytest.mark.skipif(os.geteuid() != 0, reason="root reads everything, others cannot become another")
def test_a_directory_that_the_user_cannot_read(write: Write) -> None:
    place = write("closed/app.py", ASGI).parent
    place.chmod(0o700)
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            os.setuid(65534)
            os.write(writer, failure("app:app", app_dir=str(place)).sentence.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as said:
        assert said.read() == f"there is no module 'app' to be found: user 65534 cannot read {place}"
    os.waitpid(pid, 0)


def test_a_mark_of_an_editable_installation_is_no_place(write: Write) -> None:
    """Those of setuptools put one on the path of each package without an `__init__`."""
    write("space/__init__.py", "__path__.append('__editable__.space.finder.__path_hook__')\n")
    write("space/views.py", ASGI)
    assert failure("space.view:app").sentence == (
        "there is no module 'space.view' in package 'space'; did you mean 'space.views'?"
    )


def test_missing_submodule(write: Write) -> None:
    write("pkg3/__init__.py", "")
    write("pkg3/views.py", ASGI)
    write("plain.py", ASGI)
    assert failure("pkg3.view:app").sentence == (
        "there is no module 'pkg3.view' in package 'pkg3'; did you mean 'pkg3.views'?"
    )
    assert "'plain' is a module and not a package" in failure("plain.app").sentence


def test_missing_file(write: Write) -> None:
    path = write("dir/site.py", ASGI)
    assert failure("dir/sit.py:app").sentence == (
        f"there is no file {path.with_name('sit.py')}; did you mean 'site.py'?"
    )


def test_missing_name(write: Write) -> None:
    path = write("site5.py", "async def application(scope, receive, send): ...\n")
    assert failure("site5:aplication").sentence == (
        f"module 'site5' ({path}) has no 'aplication'; did you mean 'application'?"
    )
    assert failure("site5").sentence.endswith("has no 'app'; did you mean 'application'?")
    assert failure("site5:application.x").sentence.startswith("'application' has no 'x'")


def test_nested_import_error_is_shown_without_our_frames(write: Write) -> None:
    write("site6.py", "import broken6\n")
    write("broken6.py", "import no_such_module_anywhere\n")
    error = failure("site6:app")
    assert error.sentence == (
        "module 'site6' failed to import: ModuleNotFoundError: No module named 'no_such_module_anywhere'"
    )
    assert 'site6.py", line 1' in error.traceback
    assert 'broken6.py", line 1' in error.traceback
    assert "workers/application.py" not in error.traceback
    assert "importlib" not in error.traceback
    assert error.report() == f"{error.sentence}\n{error.traceback.rstrip()}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def app(:\n", "SyntaxError"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
    ],
)
def test_module_that_fails(write: Write, text: str, said: str) -> None:
    write("site7.py", text)
    error = failure("site7:app")
    assert said in error.sentence
    assert "site7.py" in error.traceback


def test_name_that_is_taken(write: Write) -> None:
    path = write("textwrap.py", ASGI)
    assert failure("./textwrap.py:app").sentence.startswith(f"{path} cannot be imported as 'textwrap': ")


def test_factory_failures(write: Write) -> None:
    write(
        "site8.py",
        """
        def create_app(): raise ValueError("no database")
        async def async_factory(): ...
        def nothing(): ...
        answer = 42
        """,
    )
    error = failure("site8:create_app()")
    assert error.sentence == "the factory 'create_app' failed: ValueError: no database"
    assert "in create_app" in error.traceback
    assert "workers/application.py" not in error.traceback
    assert "missing" not in failure("site8:async_factory", factory=True).sentence
    assert "it is None" in failure("site8:nothing()").sentence
    assert "it is no function" in failure("site8:answer()").sentence
    assert "unexpected keyword argument" in failure("site8:create_app(debug=True)").sentence


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


def wsgi(environ: Any, start_response: Any) -> Any: ...


def handing_on(scope: Any, receive: Any, send: Any) -> Any:
    return asgi(scope, receive, send)


@functools.wraps(asgi)
def decorated(*arguments: Any) -> Any:
    return asgi(*arguments)


async def with_options(options: Any, scope: Any, receive: Any, send: Any) -> None: ...


class ASGIObject:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    async def method(self, scope: Any, receive: Any, send: Any) -> None: ...


class WSGIClass:
    def __init__(self, environ: Any, start_response: Any) -> None: ...

    def __iter__(self) -> Iterator[bytes]:
        return iter(())


class WSGIObject:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...


class ASGI2:
    def __init__(self, scope: Any) -> None: ...

    async def __call__(self, receive: Any, send: Any) -> None: ...


@pytest.mark.parametrize(
    ("app", "mode"),
    [
        (asgi, "asgi"),
        (ASGIObject(), "asgi"),
        (ASGIObject().method, "asgi"),
        (handing_on, "asgi"),
        (decorated, "asgi"),
        (functools.partial(with_options, {}), "asgi"),
        (functools.partial(ASGIObject()), "asgi"),
        (wsgi, "wsgi"),
        (WSGIClass, "wsgi"),
        (WSGIObject(), "wsgi"),
        (WSGIObject().__call__, "wsgi"),
        (functools.partial(wsgi), "wsgi"),
        (lambda *arguments: None, "wsgi"),
        (dict, "wsgi"),
    ],
)
def test_detection(app: Any, mode: Any) -> None:
    assert classify(app).mode == mode
    assert is_asgi(app) == (mode == "asgi")
    assert classify(app, "asgi").mode == "asgi"


@pytest.mark.parametrize(
    ("app", "said"),
    [
        (None, "is None"),
        (sys, "is a module"),
        (42, "an instance of int"),
        (ASGI2, "looks like ASGI 2"),
        (lambda scope: None, "looks like ASGI 2"),
        (lambda: None, "looks like a factory"),
        (ASGIObject, "is a class"),
        (lambda a, b, c, d: None, "takes neither"),
    ],
)
def test_what_cannot_be_served(app: Any, said: str) -> None:
    with pytest.raises(ApplicationError, match=said):
        classify(app)
