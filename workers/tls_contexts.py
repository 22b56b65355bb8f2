"""The certificate that new connections get: the TLS context of a worker, made anew when the files behind it have changed."""

from __future__ import annotations

import logging
import os
import ssl
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..config.errors import TLSConfigError
from ..config.tls import shows_certificate, watched_files
from .tls import TLSLayer, TLSMemory

if TYPE_CHECKING:
    from typing import Self

    from ..config.settings import Settings

logger = logging.getLogger("hypercorn.error")

_Signature = tuple[tuple[int, int, int, int, int] | None, ...]

#: What every context gets. A handshake in the middle of a TLS 1.2 connection serves nobody but attackers (TLS 1.3
#: has none); the rest is what the standard library's defaults for servers have.
_OPTIONS = (
    ssl.OP_NO_RENEGOTIATION
    | ssl.OP_NO_COMPRESSION
    | ssl.OP_CIPHER_SERVER_PREFERENCE
    | ssl.OP_SINGLE_DH_USE
    | ssl.OP_SINGLE_ECDH_USE
    | ssl.OP_ENABLE_MIDDLEBOX_COMPAT
)
#: How often the files are looked at, in seconds.
_LOOK_INTERVAL = 1.0


class TLSContexts:
    """The TLS context of a worker, renewed when its files change. Open connections keep the one they have.

    A look at the files compares what the links lead to (device, inode, times, size), so that a changed
    link, as Kubernetes and certbot make them, counts as a change. A change is taken up when two looks in a
    row find the same, for certificate and key are rarely written at the same moment. If no context can be
    made of them, that is logged and the old one stays until the files change again.
    """

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Those of the user's configuration. Raises as the constructor does."""
        return cls(settings.config.create_ssl_context, watched_files(settings))

    def __init__(self, make: Callable[[], ssl.SSLContext | None], files: Iterable[str]) -> None:
        """Make the first context.

        Args:
            make: usually the `create_ssl_context` of the user's `Config`. Must not give None.
            files: what `make` reads (`config.tls.watched_files`).

        Raises:
            TLSConfigError: the context cannot be made, or `make` raises.
        """
        self._make: Callable[[], object] = make
        self._files = tuple(files)
        # Taken before the files are read: a change in between is then seen as one.
        self._tried = self._seen = self._used = self._signature((None,) * len(self._files))
        self._began_as_root = os.geteuid() == 0
        self._next_look = 0.0
        self._last_complaint = ""
        self._memory = TLSMemory()
        self.current = self._make_context()

    def tell_unreadable(self) -> None:
        """Log it if the files can be read no more, since root is given up: only a new worker takes up a change."""
        for path in self._files:
            if not os.access(path, os.R_OK):
                logger.info("%s is for root alone: after it has changed, send HUP to the master", path)
                return

    def new_layer(self) -> TLSLayer:
        """The TLS side of a new connection, with the newest certificate."""
        return TLSLayer(self.current, self._memory)

    def reload_if_changed(self, now: float) -> bool:
        """Look at the files, at most once a second of the monotonic time `now`; True: a new context is in use.

        Costs one `stat` per file (some microseconds) and, after a change, the reading of the files.
        """
        if now < self._next_look:
            return False
        self._next_look = now + _LOOK_INTERVAL
        signature = self._signature(self._seen)
        is_settled, self._seen = signature == self._seen, signature
        if signature == self._tried or not is_settled:
            return False
        return self.reload()

    def reload(self) -> bool:
        """Make a new context now, changed or not; False: it could not be made, and the old one stays."""
        self._tried = self._seen = self._signature(self._seen)
        try:
            self.current = self._make_context()
        except TLSConfigError as error:
            is_for_root = (
                self._began_as_root and os.geteuid() != 0 and isinstance(error.__cause__, PermissionError)
            )
            hint = "; send HUP to the master, so that it is read as root" if is_for_root else ""
            self._complain(f"{error}{hint}")
            return False
        both = zip(self._files, self._used, self._tried, strict=True)
        if changed := [path for path, before, now in both if before != now]:
            logger.info("TLS certificate reloaded from %s", ", ".join(changed))
        self._used = self._tried
        self._last_complaint = ""
        return True

    def _make_context(self) -> ssl.SSLContext:
        try:
            made = self._make()
        except TLSConfigError:
            raise
        except Exception as error:
            text = f"create_ssl_context failed: {type(error).__name__}: {error}"
            raise TLSConfigError(text) from error
        if made is None:
            raise TLSConfigError("create_ssl_context gave no context for a listener that speaks TLS")
        if not isinstance(made, ssl.SSLContext):
            raise TLSConfigError(f"create_ssl_context gave {made!r}, which is not an ssl.SSLContext")
        if made.protocol is ssl.PROTOCOL_TLS_CLIENT:
            raise TLSConfigError("create_ssl_context gave a context for clients: use ssl.Purpose.CLIENT_AUTH")
        if not shows_certificate(made):
            # No more than that: it may be one that only special clients can use.
            logger.warning(
                "The context of create_ssl_context seems to have no certificate: a client was refused"
            )
        if made.sni_callback is not None and not isinstance(sys.unraisablehook, _UnraisableHook):
            sys.unraisablehook = _UnraisableHook(sys.unraisablehook)
        # Also for contexts that users make themselves; TLSLayer.encrypt relies on one of them.
        made.options |= _OPTIONS
        return made

    def _complain(self, complaint: str) -> None:
        if complaint != self._last_complaint:
            self._last_complaint = complaint
            logger.error("The new TLS certificate is not used, the old one stays: %s", complaint)

    def _signature(self, before: _Signature) -> _Signature:
        return tuple(_file_signature(path, old) for path, old in zip(self._files, before, strict=True))


class _UnraisableHook:
    """Keeps for the `TLSLayer` what would come to standard error whenever a client asks for a name that is not ASCII.

    CPython decodes a name before it calls `sni_callback`, and has nobody to raise the error to. The handshake is
    refused then: no name of a host is such a one (RFC 6066 §3). Where the application speaks TLS as a server itself, its
    own connections are treated so, too. All else is left to the hook before.
    """

    def __init__(self, before: Callable[[sys.UnraisableHookArgs], object]) -> None:
        self._before = before

    def __call__(self, unraisable: sys.UnraisableHookArgs) -> None:
        error, traceback = unraisable.exc_value, unraisable.exc_traceback
        frame = traceback.tb_frame if traceback is not None else None
        # In Python code, also that of a callback or a finalizer, it would be another frame.
        if (
            frame is not None
            and frame.f_code is ssl.SSLObject.do_handshake.__code__
            and isinstance(error, UnicodeDecodeError)
        ):
            frame.f_locals["self"].refused_name = error.object
        else:
            self._before(unraisable)


def _file_signature(
    path: str, before: tuple[int, int, int, int, int] | None
) -> tuple[int, int, int, int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError:
        # Most often the worker has given up the right to look (`user`): that is not a change.
        return before
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
