"""When what is on record last happened."""

from dataclasses import fields

from queuebit.core.model import Record, Workload


def latest_instant(record: Record) -> int:
    """When what is on record last happened."""
    names = [field.name for field in fields(record) if field.name.endswith(("_at", "_since"))]
    times = [getattr(record, name) or 0 for name in names]
    if isinstance(record, Workload):  # going inactive has no field of its own
        times += [at for _, at in record.transitions]
    return max(times)
