"""One worker process: event loop, application, engines."""

if __name__ != "hypercorn.workers":
    raise ImportError("import hypercorn.workers, not workers", name=__name__)
