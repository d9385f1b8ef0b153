"""What a check of `queuebit doctor` found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found; `mend` is empty if all is well."""

    check: str
    found: str
    mend: str = ""
    serious: bool = False  # no job can run
