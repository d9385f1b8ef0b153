"""The same scheduler in virtual time, on traces: capacity planning without a service.

`trace.py` says what clients did; `lines.py`, `reading.py` and `writing.py` are its form in a file.
`simulation.py` runs it, `whatif.py` changes it, `report.py`, `table.py` and `picture.py` tell what
came of it. Traces are written by hand, made up (`load.py`) or taken from a service's records
(`history.py`, `export.py`). docs/simulate.md tells how it is used.
"""
