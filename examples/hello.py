"""A small ASGI application without a framework: what `make serve` serves.

    /         a page with what the server told the application about this request
    /stream   ten lines, one each quarter of a second, sent as they are made
    /echo     gives the request's body back while it is still coming in
    /ws       a WebSocket that says what it hears

Run it with:  hypercorn --app-dir examples hello:app
"""

from __future__ import annotations

import asyncio
import html
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>It works</title>
<style>
  body {{ font: 17px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem;
         color: #1c2430; background: #fbfaf7 }}
  h1 {{ font-size: 2rem; margin-bottom: 0 }}
  table {{ border-collapse: collapse; width: 100%; margin: 1.5rem 0 }}
  th, td {{ text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #e2dfd6; vertical-align: top }}
  td {{ font-family: ui-monospace, monospace; font-size: .85em; word-break: break-all }}
  pre {{ background: #f0eee7; padding: 1rem; overflow-x: auto }}
  @media (prefers-color-scheme: dark) {{
    body {{ color: #e8e6df; background: #191c21 }}
    th, td {{ border-color: #363b44 }}
    pre {{ background: #22262d }}
  }}
</style>
<h1>It works</h1>
<p>Served by worker process {pid}, which has been up for {uptime:.0f} s.</p>
<table>{rows}</table>
<p>More to try:</p>
<pre>curl -N {base}/stream
curl --data-binary @README.md {base}/echo
curl --http2-prior-knowledge {base}/</pre>
<p>A WebSocket: <code id="ws">connecting…</code></p>
<script>
  const shown = document.getElementById("ws");
  const socket = new WebSocket(location.href.replace(/^http/, "ws").replace(/\\/$/, "") + "/ws");
  socket.onopen = () => socket.send("hello");
  socket.onmessage = (event) => {{ shown.textContent = event.data; }};
  socket.onerror = () => {{ shown.textContent = "not available"; }};
</script>
</html>
"""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The application: one call for the lifespan, and one for each request or WebSocket."""
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    elif scope["type"] == "websocket":
        await echo_messages(scope, receive, send)
    else:
        handler = {"/": page, "/stream": stream, "/echo": echo}.get(scope["path"], not_found)
        await handler(scope, receive, send)


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Note when the worker started, in the state that every request sees."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            scope["state"]["started"] = time.monotonic()
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    """A page that shows the scope."""
    host = dict(scope["headers"]).get(b"host", b"localhost").decode("latin-1")
    shown: dict[str, object] = {
        "Protocol": f"HTTP/{scope['http_version']} over {scope['scheme']}",
        "Client": scope.get("client"),
        "Server": scope.get("server"),
        "Extensions": ", ".join(scope.get("extensions") or {}) or "none",
        **{name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
    }
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in shown.items()
    )
    content = PAGE.format(
        pid=os.getpid(),
        uptime=time.monotonic() - scope["state"]["started"],
        rows=rows,
        base=html.escape(f"{scope['scheme']}://{host}"),
    )
    await respond(send, 200, b"text/html; charset=utf-8", content.encode())


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    """Ten lines, a quarter of a second apart."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for number in range(1, 11):
        await send({"type": "http.response.body", "body": b"line %d of 10\n" % number, "more_body": True})
        await pause(0.25)
    await send({"type": "http.response.body"})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Each piece of the request's body goes back as soon as it is here."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message.get("more_body", False)
        await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})


async def echo_messages(scope: Scope, receive: Receive, send: Send) -> None:
    """A WebSocket: what is received goes back."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") is not None:
            await send({"type": "websocket.send", "text": f"you said: {message['text']}"})
        else:
            await send({"type": "websocket.send", "bytes": message["bytes"]})


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Anything else."""
    await respond(send, 404, b"text/plain", b"There is nothing here.\n")


async def respond(send: Send, status: int, content_type: bytes, content: bytes) -> None:
    """A whole response in one go."""
    fields = [(b"content-type", content_type), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": content})


async def pause(seconds: float) -> None:
    """Sleep on whichever loop the worker runs."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        import trio  # the worker runs trio, so it is there

        await trio.sleep(seconds)
    else:
        await asyncio.sleep(seconds)
