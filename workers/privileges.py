"""Gives up root: `--user` and `--group` for workers that were started by it."""

from __future__ import annotations

import os
import pwd

from ..config.settings import Settings


def drop_privileges(settings: Settings) -> None:
    """Change to the configured user and group, with the user's supplementary groups.

    Does nothing unless the process is root's; a user without a group takes its primary group along.

    Raises:
        OSError: the system refuses.
    """
    if os.geteuid() != 0:
        return
    uid, gid = settings.user, settings.group
    if uid is not None:
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            os.setgroups([] if gid is None else [gid])
        else:
            gid = entry.pw_gid if gid is None else gid
            os.initgroups(entry.pw_name, gid)
    if gid is not None:
        os.setgid(gid)
    if uid is not None:
        os.setuid(uid)
