"""IBM's REST API: one file per resource, with its pydantic models; identity and errors.

Handlers never change state: they check, send an event to the driver and answer from the store.
`routes` puts the resources together, `server` is the one port that they are reached at.
"""
