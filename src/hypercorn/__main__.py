"""The command `hypercorn`, also `python -m hypercorn`."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Generator

from .config import Config, ConfigError, Mistake, Settings, without_effect
from .config.commandline import Invocation, parse
from .config.errors import complain
from .config.printing import configuration_table
from .config.sources import load, load_file
from .config.supervision import ExitStatus
from .config.surroundings import enter

__all__ = ["_load_config", "main", "run"]


def main(sys_args: list[str] | None = None) -> int:
    """Do what the command line says, by default that of the process; returns the exit status.

    Raises:
        SystemExit: after --help and --version; with status 2 for mistakes in the settings, whatever their source,
            which are all written to standard error.
    """
    _open_standard_streams()
    try:
        invocation = parse(sys_args or sys.argv[1:])
        if invocation.from_gunicorn is not None:
            _show(_translation(invocation, invocation.from_gunicorn))
            return 0
        with _warnings_shown():
            config = load(invocation)
            settings = config.resolve()
        if not settings.application_path and not invocation.print_config:
            raise ConfigError(
                [Mistake("", "name the application to serve, for example: hypercorn module:app")]
            )
        if invocation.print_config:
            _show(configuration_table(config) + "\n")
        if invocation.check_config:
            enter(config, settings)
            return _check_application(settings)
    except ConfigError as error:
        for mistake in error.mistakes:
            complain(str(mistake))
        raise SystemExit(ExitStatus.WRONG_USAGE) from None
    if invocation.print_config:
        return 0
    for sentence in without_effect(settings):
        complain(f"warning: {sentence}")
    return run(config)


def run(config: Config) -> int:
    """Serve until told to stop; returns the exit status, with which the process has to exit now."""
    from .run import run_to_the_end  # wrong usage is found without loading what serves

    return run_to_the_end(config)


def _open_standard_streams() -> None:
    """Give a process that was started without standard streams (`2>&-`) the null device in their place.

    Otherwise the first sockets would become what the interpreter and the application take for standard error.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is given, so this is the one that was missing.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


@contextlib.contextmanager
def _warnings_shown() -> Generator[None, None, None]:
    """Show what is warned of before the log is set up as our other sentences are."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("hypercorn: warning: %(message)s"))
    logger = logging.getLogger("hypercorn.error")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _show(text: str) -> None:
    """Write to standard output; a reader that has seen enough (`| head`) is no failure.

    Raises:
        SystemExit: with status 1, standard output takes nothing: a full disk.
    """
    try:
        print(text, end="", flush=True)
    except OSError as error:
        # What is left in the buffer must not fail again when the interpreter ends.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise SystemExit(f"hypercorn: standard output cannot be written: {error.strerror}") from None


def _translation(invocation: Invocation, location: str) -> str:
    from .config.from_gunicorn import translated

    beside = [flag for name, flag in invocation.flags.items() if name != "application_path"]
    if beside:
        text = f"only an application is allowed beside it, not {beside[0]}; write settings into the result"
        raise ConfigError([Mistake("--from-gunicorn", text)])
    return translated(location, invocation.values.get("application_path"))


def _check_application(settings: Settings) -> int:
    from .workers.application import ApplicationError, load_application
    from .workers.log_config import LogConfigurationError
    from .workers.logger_class import check_logger_class

    try:
        load_application(settings)
        check_logger_class(settings)
    except LogConfigurationError as error:
        complain(str(error))
        return ExitStatus.WRONG_USAGE
    except ApplicationError as error:
        complain(error.report())
        return ExitStatus.NO_APPLICATION
    complain("the configuration is usable and the application can be loaded")
    return 0


def _load_config(config_path: str | None) -> Config:
    """What Hypercorn's programs call to read a file as `--config` does."""
    return load_file(config_path, Config)


if __name__ == "__main__":
    sys.exit(main())
