"""The scheduler: a pure state machine on the standard library. No I/O, clock, ids or payloads.

Read `model.py` (records), `moves.py` (what may become of them), `events.py` (what comes in and what
goes out), then `scheduler.py`. Times are int milliseconds since the Unix epoch.
"""
