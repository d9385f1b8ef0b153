"""`queuebit`: all commands. A mistake ends in one line on stderr, never in a traceback."""

import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

import queuebit
from queuebit.cli.audit import audit
from queuebit.cli.backends import backends, maintenance, pause, resume
from queuebit.cli.demo import demo
from queuebit.cli.doctor import doctor
from queuebit.cli.estimate import estimate
from queuebit.cli.instances import app as instances
from queuebit.cli.jobs import cancel, job, jobs
from queuebit.cli.login import login
from queuebit.cli.output import printable
from queuebit.cli.serve import serve
from queuebit.cli.simulate import simulate
from queuebit.cli.users import keys, users
from queuebit.cli.why import watch, why
from queuebit.cli.workloads import close, workloads
from queuebit.errors import QueuebitError, RequestError, advised

INTERRUPTED = 130  # exit code of a shell's command that Ctrl-C ended


class _Commands(TyperGroup):
    """Tells every mistake in one line."""

    def main(self, *args: Any, **settings: Any) -> NoReturn:
        settings["standalone_mode"] = False
        try:
            code = super().main(*args, **settings)
        except QueuebitError as error:
            _tell(error)
            sys.exit(1)
        except typer.TyperException as error:
            _tell(error.format_message())
            sys.exit(error.exit_code)
        except (typer.Abort, KeyboardInterrupt):
            sys.exit(INTERRUPTED)
        sys.exit(code if isinstance(code, int) else 0)


app = typer.Typer(
    cls=_Commands,
    help="A quantum compute service that you run yourself.",
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback(invoke_without_command=True)
def _about(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(queuebit.__version__)
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _tell(mistake: object) -> None:
    """Print `mistake` on stderr as one line."""
    text = str(mistake)
    if isinstance(mistake, RequestError):
        text = advised(text, mistake.solution)
    typer.echo(f"queuebit: {printable(' '.join(text.split()))}", err=True)


for command in (
    serve,
    login,
    demo,
    doctor,
    backends,
    pause,
    maintenance,
    resume,
    jobs,
    job,
    workloads,
    cancel,
    close,
    why,
    watch,
    estimate,
    audit,
    simulate,
):
    app.command()(command)

for name, group in (("instances", instances), ("users", users), ("keys", keys)):
    app.add_typer(group, name=name)
