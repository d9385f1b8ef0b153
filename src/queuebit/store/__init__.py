"""What the service remembers: records (`database.py`), inputs and results (`payloads.py`)."""
