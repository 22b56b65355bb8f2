"""The one table of settings.

Each is declared once, in the class of its group: type and name, default, flags, help and what else `Option` knows. The
groups stand in `options_serving`, `options_protocols` and `options_logs`. The command line, the environment, `Config`'s
attributes, validation, `--print-config` and the reference manual are made from the table. Adding a setting is adding it
there, and running `make docs`.
"""

from __future__ import annotations

from .declaration import Option, collect
from .options_logs import LoggerOptions, LogOptions, MetricOptions
from .options_protocols import HTTP2Options, HTTPOptions, TimeoutOptions, TLSOptions, WebSocketOptions
from .options_serving import (
    ApplicationOptions,
    ApplicationPathOptions,
    BindOptions,
    DevelopmentOptions,
    ProcessOptions,
    SocketOptions,
    WorkerOptions,
)

#: Every setting by its name, in the order of the help.
TABLE: dict[str, Option] = collect(
    (
        ApplicationPathOptions,
        ApplicationOptions,
        BindOptions,
        SocketOptions,
        WorkerOptions,
        TimeoutOptions,
        HTTPOptions,
        HTTP2Options,
        WebSocketOptions,
        TLSOptions,
        LogOptions,
        LoggerOptions,
        MetricOptions,
        ProcessOptions,
        DevelopmentOptions,
    )
)


class Options(
    ApplicationOptions,
    SocketOptions,
    WorkerOptions,
    TimeoutOptions,
    HTTPOptions,
    HTTP2Options,
    WebSocketOptions,
    TLSOptions,
    LogOptions,
    MetricOptions,
    ProcessOptions,
    DevelopmentOptions,
):
    """Attributes that `Config` and `Settings` share, with their defaults as class attributes.

    All of the table but what `Config` has as properties, or, as for the application, not before it is assigned.
    """
