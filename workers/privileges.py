"""Gives up root: `--user` and `--group` for workers that were started by it."""

from __future__ import annotations

import errno
import os
import pwd

from ..config.settings import Settings

_ADVICE = {
    errno.EPERM: "allow it (CAP_SETUID, CAP_SETGID), or leave --user and --group out and start as that user",
    errno.EINVAL: "this namespace does not know it; choose one that it maps",
}


class PrivilegesError(Exception):
    """Root cannot be given up; one sentence for the operator. Exit status 3."""


def drop_privileges(settings: Settings) -> None:
    """Change to the configured user and group, with the user's supplementary groups.

    Does nothing unless the process is root's; a user without a group takes its primary group along.

    Raises:
        PrivilegesError: the system refuses, or the new user could not read Python's modules or ours.
    """
    if os.geteuid() != 0:
        return
    files = [file for file in (os.__file__, __file__) if os.path.exists(file)]  # not so in a bundle
    try:
        _change(settings.user, settings.group)
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0)
        said = f"{error.strerror}; {advice}" if advice else str(error)
        raise PrivilegesError(f"cannot change to the configured user or group: {said}") from error
    for file in files:
        if not os.access(file, os.R_OK):
            # More is imported later, and what is not found then would be called missing.
            raise PrivilegesError(
                f"user {os.getuid()} cannot read {file}; install it where --user can read it"
            )


def _change(uid: int | None, gid: int | None) -> None:
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
