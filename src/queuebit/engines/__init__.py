"""Where stages run.

`task.py` says what a worker is given and gives back; `pool.py` runs it on this machine, in the
workers (`worker.py`) that a fork server (`forkserver.py`) makes; `pipe.py` is how they talk.
The service imports `task`, `pool`, `pipe` and `forkserver` only: none of them imports Qiskit.
"""
