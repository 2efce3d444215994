"""The commands put together: the whole interface at a glance, global options, and signals."""

import importlib
import logging
import os
import re
import signal
import sys
import warnings
from io import TextIOWrapper
from keyword import iskeyword
from typing import Annotated, Any, Final, NoReturn, TextIO

import typer
from typer.core import TyperCommand

from coatcheck import __version__

from .failures import OneLineErrors, say
from .settings import Namespace, Settings, Url, with_global_options

COMMANDS: Final = {
    "put": "put",
    "get": "get",
    "show": "look",
    "ls": "listing",
    "runs": "runs",
    "rm": "remove",
    "link": "link",
    "touch": "lifetimes",
    "expire": "lifetimes",
    "prune": "prune",
    "stats": "look",
    "top": "top",
    "gc": "maintain",
    "check": "maintain",
    "reindex": "maintain",
    "copy": "moving",
    "export": "moving",
    "import": "moving",
    "doctor": "doctor",
    "exporter": "exporter",
    "acl": "acl",
    "serve": "serve",
    "ui": "ui",
}
"""The module of each command, where a function has its name (`import_` for `import`).

Only that of the command that runs is imported.
"""

_HELP: Final = {"help_option_names": ["-h", "--help"]}


_TYPE: Final = re.compile(r" <[^<>]*>$")


class Command(TyperCommand):
    """A command whose help speaks of what is typed."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments and options, without what Python calls the type of an argument."""
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            named = [parameter for parameter in self.get_params(ctx) if parameter.param_type_name == kind]
            told = [record for parameter in named if (record := parameter.get_help_record(ctx)) is not None]
            if told:
                with formatter.section(title):
                    formatter.write_dl([(_TYPE.sub("", name), text) for name, text in told])


class Commands(OneLineErrors):
    """The commands by name."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands: dict[str, Any] = dict.fromkeys(COMMANDS)  # their names, for completion and suggestions

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """The command of that name, made now."""
        if cmd_name not in COMMANDS:
            return None
        if self.commands[cmd_name] is None:
            module = importlib.import_module(f"{__package__}.{COMMANDS[cmd_name]}")
            name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
            single = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=_HELP)
            single.command(cmd_name, cls=Command)(with_global_options(getattr(module, name)))
            self.commands[cmd_name] = typer.main.get_command(single)
        return self.commands[cmd_name]


app = typer.Typer(cls=Commands, pretty_exceptions_enable=False, rich_markup_mode=None, context_settings=_HELP)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"coatcheck {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def options(
    ctx: typer.Context,
    *,
    url: Url = None,
    namespace: Namespace = None,
    version: Annotated[  # noqa: ARG001  # its callback does the work
        bool,
        typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version and end."),
    ] = False,
) -> None:
    """Hand in the payload, pass the ticket: a content-addressed artifact store on Redis.

    The options below may also stand behind a command.

    Exit codes: 0 done; 1 not found or not done; 2 wrong usage or invalid input; 3 the store cannot be used;
    4 what is stored is corrupt or lost.
    """
    ctx.obj = Settings(url, namespace)
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        raise typer.Exit(2)


def _end(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


def run() -> None:
    """Run the command line of this process."""
    for name in ("SIGTERM", "SIGHUP"):  # by exception, so that temporary files and child processes go
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)
    _fill_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8 is no reason to fail
    warnings.showwarning = _show_warning  # type: ignore[assignment]  # the rest says where in the code
    logging.basicConfig(handlers=[_OneLine(logging.WARNING)])
    if os.environ.get("_COATCHECK_COMPLETE") == "complete_bash":
        from .complete import put_together  # noqa: PLC0415  # at a prompt only

        put_together(os.environ)
    try:
        app(prog_name="coatcheck")
    finally:
        for stream in (sys.stdout, sys.stderr):
            _let_go(stream)


def _fill_closed_streams() -> None:
    """Let nothing that is opened later become standard input or output; using what was closed stays an error."""
    for fd, name, mode, wrong in (
        (0, "stdin", "r", os.O_WRONLY),
        (1, "stdout", "w", os.O_RDONLY),
        (2, "stderr", "w", 0),
    ):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, wrong)
            if opened != fd:
                os.dup2(opened, fd)
                os.close(opened)
            setattr(sys, name, open(fd, mode, closefd=False))  # noqa: SIM115  # stays


def _let_go(stream: TextIO) -> None:
    """Flush now: a reader that left, as in `coatcheck ls | head`, must not be noticed when Python ends."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _show_warning(message: Warning | str, *_: object) -> None:
    say(str(message), "warning")


class _OneLine(logging.Handler):
    """What the library logs, as the command line says it."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage(), record.levelname.lower())
