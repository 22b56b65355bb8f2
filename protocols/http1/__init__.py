"""HTTP/1.1 and HTTP/1.0 (RFC 9110, RFC 9112), as a server speaks them, without any I/O.

`engine.py` drives one connection, on `state.py`, `receiving.py` and `sending.py`; `request.py` reads heads (two lanes,
one meaning: see `docs/decisions/http1-two-lanes.md`), `rules.py` says what is refused and why, `body.py` decodes
bodies, `response.py` writes heads, `grammar.py` holds the regular expressions.
"""

from __future__ import annotations

from .engine import HTTP1Engine
from .parameters import HTTP1Parameters

__all__ = ["HTTP1Engine", "HTTP1Parameters"]
