"""What the service remembers: records and details (`database.py`), inputs and results (`payloads.py`)."""
