"""What an operator can watch a running service by: settings that `config.Config` takes over."""

from typing import Literal

from pydantic import BaseModel, Field


class WatchingConfig(BaseModel):
    """Logs, metrics and the audit trail (docs/operating.md)."""

    log_format: Literal["text", "json"] = "text"
    """One line a record on standard error, for people or for programs."""
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    """From which level on Queuebit's own lines are written; those of libraries are from warning."""
    metrics: Literal["off", "loopback", "admin", "open"] = "admin"
    """Who may read GET /metrics: they name instances, and what each was charged."""
    audit_days: int = Field(default=365, ge=0)
    """How long the audit trail is kept; 0: for ever."""
