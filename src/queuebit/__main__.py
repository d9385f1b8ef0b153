"""`python -m queuebit` is `queuebit`."""

from queuebit.cli.main import app

app()
