"""The grammar of HTTP/1.1 messages as compiled regular expressions, each under its RFC rule.

Repetitions of single characters are possessive (`++`, `*+`), and what is repeated as a group begins with a character
that cannot follow it: each match costs time linear in the input. Groups are not possessive, because CPython before
3.11.5 matched those wrongly that hold alternatives. Where an expression is stricter or laxer than its rule, the
comment says why.
"""

from __future__ import annotations

import re

# RFC 9110 §5.6.2: token = 1*tchar
_TCHAR = rb"[-!#$%&'*+.^_`|~0-9A-Za-z]"
TOKEN = re.compile(_TCHAR + rb"++")

# RFC 9110 §5.5: field-value = *field-content, of VCHAR, obs-text, SP and HTAB. Other control characters are
# invalid by the grammar, and refused.
_FIELD_CONTENT = rb"[\t\x20-\x7e\x80-\xff]"
FIELD_VALUE = re.compile(_FIELD_CONTENT + rb"*+")

# RFC 9112 §5: field-line = field-name ":" OWS field-value OWS
FIELD_LINES = re.compile(rb"(?:" + _TCHAR + rb"++:" + _FIELD_CONTENT + rb"*+\r\n)*")

# RFC 9112 §2.1: the field lines of a message and the empty line that ends them.
FIELD_BLOCK = re.compile(FIELD_LINES.pattern + rb"\r\n")

# RFC 9112 §3, §3.2.1: a request line with an origin-form target; groups are method, path, query, and the minor
# version. Within a path or query all of VCHAR is let through but "#", which never is part of a target: browsers
# leave characters such as "|" or "^" as they are, and they are no danger to framing.
ORIGIN_FORM_LINE = re.compile(rb"(" + _TCHAR + rb"++) (/[!\"$->@-~]*+)\??+([!\"$-~]*+) HTTP/1\.([01])\r\n")

# RFC 9112 §3: request-line = method SP request-target SP HTTP-version
REQUEST_LINE = re.compile(rb"(" + _TCHAR + rb"++) ([!-~]++) HTTP/([0-9])\.([0-9])")

# RFC 9112 §3.2.2: absolute-form, of which an origin server sees "http" and "https"; groups: scheme, authority, path,
# query.
ABSOLUTE_FORM = re.compile(rb"((?i:https?))://([!\"$-.0->@-~]*+)(/[!\"$->@-~]*+)?(?:\?([!\"$-~]*+))?")

# RFC 9112 §2.2: what no head and no trailer section may hold: a CR that is not followed by LF, an LF that does not
# follow CR, other control characters; and a line that begins with white space (obs-fold, RFC 9112 §5.2, or white
# space before the first field line). A CR at the very end may yet be followed by its LF.
BAD_OCTETS = re.compile(rb"\r[^\n]|(?<!\r)\n|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\n[ \t]")

# RFC 9112 §7.1 and §7.1.1: chunk-size [ chunk-ext ] CRLF. Bad white space (BWS) is allowed around ";" and "=".
# Sixteen digits are beyond any body.
_QUOTED = rb"\"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*\""
_CHUNK_EXTENSION = (
    rb"[ \t]*+;[ \t]*+" + _TCHAR + rb"++(?:[ \t]*+=[ \t]*+(?:" + _TCHAR + rb"++|" + _QUOTED + rb"))?"
)
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16}+)((?:" + _CHUNK_EXTENSION + rb")*)\r\n")

# The same behind the CRLF that ends the data of the chunk before.
NEXT_CHUNK_LINE = re.compile(rb"\r\n" + CHUNK_LINE.pattern)

# What may yet become one of the two.
_PARTIAL = rb"(?:[0-9A-Fa-f]{1,16}+(?:[ \t;][\t\x20-\x7e\x80-\xff]*+)?\r?)?"
PARTIAL_CHUNK_LINE = re.compile(_PARTIAL)
PARTIAL_NEXT_CHUNK_LINE = re.compile(rb"\r?|\r\n" + _PARTIAL)

# RFC 7540 §3.2.1: HTTP2-Settings = token68, base64url without padding.
HTTP2_SETTINGS = re.compile(rb"[-_0-9A-Za-z]*+")
