"""How much of the service one caller may take: settings that `config.Config` takes over."""

from pydantic import BaseModel, Field


class LimitingConfig(BaseModel):
    """Limits of connections and requests (docs/security.md); 0 is no limit."""

    connections_max: int = Field(default=1_000, ge=1)
    """Connections at once, of everybody, if open files allow so many; one more takes the place of
    one that waits, or is answered 503."""
    address_connections_max: int = Field(default=250, ge=0)
    """Connections at once from one address (of IPv6, from one network of 64 bits). Behind a reverse
    proxy all have the proxy's: set 0 there."""
    request_memory_mb: int = Field(default=256, ge=16)
    """Memory, in MiB, that all requests together may hold; one address or instance a quarter."""
    address_requests_per_minute: int = Field(default=0, ge=0)
    """Requests from one address, which a trusted proxy may tell."""
    key_requests_per_minute: int = Field(default=0, ge=0)
    """Requests with one API key, or with tokens made from it."""
    key_requests_max: int = Field(default=100, ge=0)
    """Requests with one API key that are under way at once."""
    user_keys_max: int = Field(default=20, ge=0)
    """API keys of one user."""
    wrong_keys_per_minute: int = Field(default=30, ge=0)
    """Wrong API keys and tokens from one address; further wrong ones are answered 429."""
