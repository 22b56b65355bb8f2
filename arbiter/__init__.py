"""Decides how many workers live, and for how long."""

if __name__ != "hypercorn.arbiter":
    raise ImportError("import hypercorn.arbiter, not arbiter", name=__name__)
