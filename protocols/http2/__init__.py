"""HTTP/2, made for few steps per request. Imported when HTTP/2 is first spoken; see `engine.py`."""

from .engine import HTTP2Engine
from .parameters import HTTP2Parameters

__all__ = ["HTTP2Engine", "HTTP2Parameters"]
