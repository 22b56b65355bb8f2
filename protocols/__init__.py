"""Sans-IO protocol engines: bytes and a time go in, events and bytes come out."""

if __name__ != "hypercorn.protocols":
    raise ImportError("import hypercorn.protocols, not protocols", name=__name__)
