import socket

import pytest

from queuebit.engines.pipe import Exit, Hello, frame, receive, serve, take


@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_frames_come_out_whole_however_they_came_in(size: int):
    things = [Hello(7), "x" * 5000, Exit(-9)]
    sent = b"".join(map(frame, things))
    buffer = bytearray()

    taken = []
    for at in range(0, len(sent), size):
        buffer += sent[at : at + size]
        taken += take(buffer)

    assert taken == things
    assert buffer == b""


def test_work_that_can_wait_is_done_only_while_there_is_no_task():
    service, worker = socket.socketpair()
    did: list[str] = []

    def idle() -> bool:
        did.append("idle")
        if did.count("idle") == 3:
            service.sendall(frame("task 1") + frame("task 2"))
            service.shutdown(socket.SHUT_WR)
        return True

    def run(task: str) -> str:
        did.append(task)
        return f"{task} done"

    with service, worker:
        serve(worker, run, idle)
        heard = [receive(service) for _ in range(3)]

    assert did == ["idle", "idle", "idle", "task 1", "task 2"]
    assert heard[1:] == ["task 1 done", "task 2 done"]


def test_a_worker_waits_when_nothing_is_left_to_do():
    service, worker = socket.socketpair()
    did: list[str] = []

    def idle() -> bool:
        did.append("idle")
        service.close()  # the wait would be long, otherwise
        return False

    with worker:
        serve(worker, lambda task: task, idle)

    assert did == ["idle"]
