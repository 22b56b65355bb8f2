"""The servers: what they are installed from, how each is started, and what it can speak."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / ".venv-bench"

#: What is installed into each environment. Hypercorn 0.18 has our distribution's name, hence one of its own.
PACKAGES = {
    "ours": ("--editable", f"{ROOT}[trio,speed]"),
    "hypercorn": ("hypercorn[trio]==0.18", "uvloop"),
    "peers": (
        "uvicorn[standard]",
        "zttp",
        "gunicorn[fast,http2]",
        "granian[uvloop]",
        "cryptography",
        "uvloop",
        "waitress",
    ),
}


@dataclass(frozen=True)
class Certificate:
    """A pair of PEM files; the key in PKCS #8, the only form that granian reads."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Server:
    """One server in one configuration.

    Attributes:
        name: as it stands in the table.
        environment: a key of `PACKAGES`.
        program: the command's name in that environment.
        arguments: the rest of the command, from the port and the certificate (None: clear text).
        speaks: of "http1", "h2c", "h2", "websocket", "websocket-h2" (RFC 8441), "tls"; or "wsgi", when it serves `wsgi_app:app`.
        package: whose version is reported.
    """

    name: str
    environment: str
    program: str
    arguments: Callable[[int, Certificate | None], list[str]]
    speaks: frozenset[str]
    package: str

    def command(self, python: str, port: int, certificate: Certificate | None) -> list[str]:
        """The whole command that serves its application from the current folder on a loopback port."""
        return [
            str(environment(self.environment, python) / "bin" / self.program),
            *self.arguments(port, certificate),
        ]

    def version(self, python: str) -> str:
        """The installed version of its package."""
        code = f"import importlib.metadata as m; print(m.version({self.package!r}))"
        interpreter = environment(self.environment, python) / "bin" / "python"
        return subprocess.run(
            [interpreter, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()


def _hypercorn(
    loop: str, application: str = "app:app", options: tuple[str, ...] = ()
) -> Callable[[int, Certificate | None], list[str]]:
    def arguments(port: int, certificate: Certificate | None) -> list[str]:
        command = ["-b", f"127.0.0.1:{port}", "-w", "1", "-k", loop, "--backlog", "1024", *options]
        if certificate is not None:
            command += ["--certfile", str(certificate.certificate), "--keyfile", str(certificate.key)]
        return [*command, application]

    return arguments


#: h2load does not open a connection again that was closed after its thousandth request.
_LASTING = ("--keep-alive-max-requests", "1000000000")


def _uvicorn(*options: str) -> Callable[[int, Certificate | None], list[str]]:
    def arguments(port: int, certificate: Certificate | None) -> list[str]:
        command = [
            "--port",
            str(port),
            "--loop",
            "uvloop",
            "--no-access-log",
            "--log-level",
            "warning",
            *options,
        ]
        if certificate is not None:
            command += ["--ssl-certfile", str(certificate.certificate), "--ssl-keyfile", str(certificate.key)]
        return [*command, "app:app"]

    return arguments


def _gunicorn(port: int, certificate: Certificate | None) -> list[str]:
    command = [
        "-b",
        f"127.0.0.1:{port}",
        "-w",
        "1",
        "-k",
        "asgi",
        "--asgi-loop",
        "uvloop",
        "--log-level",
        "warning",
    ]
    command += ["--keep-alive", "30"]
    if certificate is None:
        return [*command, "--http-parser", "fast", "app:app"]
    command += ["--certfile", str(certificate.certificate), "--keyfile", str(certificate.key)]
    return [*command, "--http-parser", "fast", "--http-protocols", "h2,h1", "app:app"]


def _gunicorn_h2c(port: int, certificate: Certificate | None) -> list[str]:
    return [
        "-b",
        f"127.0.0.1:{port}",
        "-w",
        "1",
        "-k",
        "asgi",
        "--asgi-loop",
        "uvloop",
        "--log-level",
        "warning",
        "--http2-cleartext",
        "prior-knowledge",
        "app:app",
    ]


def _granian(port: int, certificate: Certificate | None) -> list[str]:
    command = ["--interface", "asgi", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--loop", "uvloop", "--log-level", "warning"]
    if certificate is not None:
        command += ["--ssl-certificate", str(certificate.certificate), "--ssl-keyfile", str(certificate.key)]
    return [*command, "app:app"]


def _gthread(port: int, certificate: Certificate | None) -> list[str]:
    command = ["-b", f"127.0.0.1:{port}", "-w", "1", "-k", "gthread", "--threads", str(_THREADS)]
    return [*command, "--keep-alive", "30", "--log-level", "warning", "wsgi_app:app"]


def _waitress(port: int, certificate: Certificate | None) -> list[str]:
    return ["--listen", f"127.0.0.1:{port}", "--threads", str(_THREADS), "wsgi_app:app"]


def _granian_wsgi(*options: str) -> Callable[[int, Certificate | None], list[str]]:
    # Without options it may start as many threads for the application as half its backlog, 512, and starts one for
    # each request that finds the others busy: for 32 connections 40 to 80.
    def arguments(port: int, certificate: Certificate | None) -> list[str]:
        command = ["--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        return [*command, "--log-level", "warning", *options, "wsgi_app:app"]

    return arguments


def _floor(port: int, certificate: Certificate | None) -> list[str]:
    script = str(Path(__file__).with_name("floor.py"))
    pair = () if certificate is None else (str(certificate.certificate), str(certificate.key))
    return [script, str(port), *pair]


#: What a WSGI server gets as its pool: as many as ours makes by default.
_THREADS = min(32, (os.cpu_count() or 1) + 4)

_ALL = frozenset({"http1", "h2c", "h2", "websocket", "tls"})
_HYPERCORN = _ALL | {"websocket-h2"}
_WSGI = frozenset({"wsgi"})

#: The name of what every other server is compared with.
OURS = "this server, uvloop"
#: No server at all, see `floor.py`.
FLOOR = "the floor"

SERVERS = (
    Server(OURS, "ours", "hypercorn", _hypercorn("uvloop", options=_LASTING), _HYPERCORN, "hypercorn"),
    Server(
        "this server, asyncio",
        "ours",
        "hypercorn",
        _hypercorn("asyncio", options=_LASTING),
        _HYPERCORN,
        "hypercorn",
    ),
    Server(
        "this server, trio",
        "ours",
        "hypercorn",
        _hypercorn("trio", options=_LASTING),
        _HYPERCORN,
        "hypercorn",
    ),
    Server("hypercorn, uvloop", "hypercorn", "hypercorn", _hypercorn("uvloop"), _HYPERCORN, "hypercorn"),
    Server("hypercorn, asyncio", "hypercorn", "hypercorn", _hypercorn("asyncio"), _HYPERCORN, "hypercorn"),
    Server("hypercorn, trio", "hypercorn", "hypercorn", _hypercorn("trio"), _HYPERCORN, "hypercorn"),
    Server(
        "uvicorn, httptools",
        "peers",
        "uvicorn",
        _uvicorn("--http", "httptools"),
        frozenset({"http1", "websocket", "tls"}),
        "uvicorn",
    ),
    Server(
        "uvicorn, zttp",
        "peers",
        "uvicorn",
        _uvicorn("--http", "zttp", "--http2"),
        frozenset({"http1", "h2c", "h2", "tls"}),
        "uvicorn",
    ),
    Server(
        "gunicorn asgi, C parser",
        "peers",
        "gunicorn",
        _gunicorn,
        frozenset({"http1", "h2", "websocket", "tls"}),
        "gunicorn",
    ),
    Server("gunicorn asgi, h2c", "peers", "gunicorn", _gunicorn_h2c, frozenset({"h2c"}), "gunicorn"),
    Server("granian", "peers", "granian", _granian, _ALL, "granian"),
    Server(FLOOR, "ours", "python", _floor, frozenset({"websocket", "tls"}), "hypercorn"),
    *(
        Server(
            f"this server, {loop}",
            "ours",
            "hypercorn",
            _hypercorn(loop, "wsgi:wsgi_app:app", _LASTING),
            _WSGI,
            "hypercorn",
        )
        for loop in ("uvloop", "asyncio", "trio")
    ),
    *(
        Server(
            f"hypercorn, {loop}",
            "hypercorn",
            "hypercorn",
            _hypercorn(loop, "wsgi:wsgi_app:app"),
            _WSGI,
            "hypercorn",
        )
        for loop in ("uvloop", "trio")
    ),
    Server("gunicorn gthread", "peers", "gunicorn", _gthread, _WSGI, "gunicorn"),
    Server("waitress", "peers", "waitress-serve", _waitress, _WSGI, "waitress"),
    Server("granian", "peers", "granian", _granian_wsgi(), _WSGI, "granian"),
    Server(
        f"granian, {_THREADS} threads",
        "peers",
        "granian",
        _granian_wsgi("--blocking-threads", str(_THREADS)),
        _WSGI,
        "granian",
    ),
)


def environment(name: str, python: str) -> Path:
    """Where the environment of that name is, for this Python (a path; its version is part of the folder's name)."""
    return ENVIRONMENTS / f"{name}-{_version(python)}"


_versions: dict[str, str] = {}


def _version(python: str) -> str:
    if python not in _versions:
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        result = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
        _versions[python] = result.stdout.strip()
    return _versions[python]


def install(python: str, names: set[str]) -> None:
    """Make what is missing of the environments and install their packages; takes minutes the first time.

    Raises:
        subprocess.CalledProcessError: it did not work; pip has said why.
    """
    for name in sorted(names):
        folder = environment(name, python)
        stamp = folder / ".packages"
        wanted = "\n".join(PACKAGES[name])
        if stamp.exists() and stamp.read_text() == wanted:
            continue
        print(f"installing {name} into {folder.relative_to(ROOT)}", file=sys.stderr)
        subprocess.run([ROOT / ".ci" / "make-venv", python, folder], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--upgrade"]
        subprocess.run([*pip, *PACKAGES[name]], check=True)
        stamp.write_text(wanted)


def make_certificate(python: str) -> Certificate:
    """A self-signed certificate for localhost, made once."""
    folder = ENVIRONMENTS / "tls"
    pair = Certificate(folder / "certificate.pem", folder / "key.pem")
    if not pair.key.exists():
        folder.mkdir(parents=True, exist_ok=True)
        interpreter = environment("peers", python) / "bin" / "python"
        script = Path(__file__).with_name("certificate.py")
        subprocess.run([interpreter, script, pair.certificate, pair.key], check=True)
    return pair
