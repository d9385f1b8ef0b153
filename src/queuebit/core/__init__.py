"""The scheduler: a pure state machine. No I/O, no clock, no ids, no payloads, standard library only.

Read `model.py` (records and tables of moves), then `events.py` (what comes in, what goes out), then
`scheduler.py`. Times are int milliseconds since the Unix epoch.
"""
