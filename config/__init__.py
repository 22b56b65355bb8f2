"""One table of settings, its sources, binds and TLS contexts."""

if __name__ != "hypercorn.config":
    raise ImportError("import hypercorn.config, not config", name=__name__)
