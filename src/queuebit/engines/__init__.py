"""Where stages run. `task.py` says what a worker is given and gives back; `pool.py` runs it here."""
