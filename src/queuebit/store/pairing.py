"""A data folder and a database that belong together: both have the database's id."""

import os
from collections.abc import Collection
from pathlib import Path

from queuebit.errors import ConfigError

FILE = "database-id"


def is_paired(data: Path, database_id: str) -> bool:
    """Whether the folder `data` is known to belong to a database."""
    return _known(data / FILE) == database_id


def pair(
    data: Path, database: str, database_id: str, stored: Collection[str], known: Collection[str]
) -> None:
    """Have the folder `data` belong to a database, or raise ConfigError if it is another's.

    `database` is its URL, for people; `stored` are the jobs of which the folder holds files,
    `known` those of which the database has records. A folder without an id, of a first start or of
    an earlier Queuebit, is taken if it holds files of a job that the database knows. What holds
    nothing may belong to anything.
    """
    if not known and not stored:
        _remember(data, database_id)
        return
    file = data / FILE
    after = (
        "Nothing was changed. Start with the folder and the database that belong together, or with "
        "new ones. If these do belong together, as after a restored backup, write "
        f"{database_id} into {file}"
    )
    if _known(file) is not None:
        raise ConfigError(f"data {data}: belongs to another database than {database}. {after}")
    if set(known).isdisjoint(stored):
        raise ConfigError(
            f"data {data}: holds files of {len(stored)} jobs, but of none of the {len(known)} jobs "
            f"in database {database}. {after}"
        )
    _remember(data, database_id)


def _known(file: Path) -> str | None:
    """The id in a file; None if it is not there."""
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        return None


def _remember(data: Path, database_id: str) -> None:
    """Write the id, whole or not at all."""
    part = data / f"{FILE}.part"
    with part.open("w") as file:
        file.write(f"{database_id}\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(data / FILE)
