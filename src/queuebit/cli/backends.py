"""`queuebit backends`."""

from queuebit.cli.connection import Connection, Json, asks_service
from queuebit.cli.output import print_json, print_table


@asks_service
def backends(connection: Connection, *, as_json: Json = False) -> None:
    """List the backends of the instance."""
    found = connection.get("/backends")
    if as_json:
        print_json(found)
        return
    print_table(
        ["Name", "Qubits", "Status", "Queue"],
        [
            (
                device["name"],
                device.get("qubits"),
                device.get("status", {}).get("name"),
                device.get("queue_length"),
            )
            for device in found["devices"]
        ],
        empty="No backends.",
    )
