"""HTTP/2, made for few steps per request. Imported when HTTP/2 is first spoken.

`engine.py` drives one connection, on `state.py`, `ending.py` (GOAWAY, and all that leads to it), `sending.py`,
`control.py` (frames that are no messages) and `receiving.py`. `frames.py` has the wire's figures, `field_decoder.py`
and `field_encoder.py` are HPACK, `request_blocks.py`, `requests.py` and `responses.py` judge field sections,
`priorities.py` and `dependencies.py` say whose data goes next, `allowance.py` what a peer may do.
"""

from .engine import HTTP2Engine
from .parameters import HTTP2Parameters

__all__ = ["HTTP2Engine", "HTTP2Parameters"]
