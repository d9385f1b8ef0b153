"""What the configuration means for the scheduler, in its own words and units."""

from collections.abc import Iterable

from queuebit.config import BackendConfig, Config, MockConfig, PlanConfig
from queuebit.core.hourly import HOUR_MS
from queuebit.core.model import Backend, Calibration, Instance, OnLimit
from queuebit.tenancy import InstanceRecord

DAY_MS = 86_400_000


def backends(config: Config) -> list[Backend]:
    """What the scheduler needs to know of every backend."""
    return [_backend(backend) for backend in config.offered]


def instances(records: Iterable[InstanceRecord], plans: Iterable[PlanConfig]) -> list[Instance]:
    """What every instance may use."""
    by_name = {plan.name: plan for plan in plans}
    return [instance(one, by_name[one.config.plan]) for one in records]


def usage_since(all_instances: Iterable[Instance], now: int) -> int:
    """The earliest instant whose usage still counts for anybody: the ledger counts whole hours."""
    windows = [one.window_ms for one in all_instances]
    if not windows or None in windows:
        return 0
    return (now - max(w for w in windows if w is not None)) // HOUR_MS * HOUR_MS


def instance(record: InstanceRecord, plan: PlanConfig) -> Instance:
    """What an instance may use."""
    config = record.config
    limit_s = plan.limit_s if config.limit_s is None else config.limit_s
    return Instance(
        id=record.id,
        allocation_ms=_ms(config.allocation_s),
        limit_ms=None if limit_s is None else _ms(limit_s),
        window_ms=None if plan.window_days == "none" else round(plan.window_days * DAY_MS),
        since=0 if config.since is None else _ms(config.since.timestamp()),
        on_limit=OnLimit(plan.on_limit),
        pending_max=plan.pending_max,
        is_hard=plan.budget == "hard",
        user_limit_ms=None if plan.user_limit_s is None else _ms(plan.user_limit_s),
        credit_ms=_ms(plan.credit_s),
    )


def _backend(config: BackendConfig) -> Backend:
    return Backend(
        name=config.name,
        lanes=config.lanes,
        qpu_slots=config.qpu_slots,
        calibrations=tuple(
            Calibration(
                kind=c.kind, every_ms=_ms(c.every_s), lasts_ms=_ms(c.lasts_s), drift=c.drift
            )
            for c in config.calibrations
        ),
        charges=not isinstance(config, MockConfig),
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1_000)
