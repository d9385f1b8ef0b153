"""A proxy between client and service that loses what the service answers to `POST /jobs`."""

import socket
import socketserver
import ssl
import threading
from enum import StrEnum
from http.client import HTTPException, HTTPResponse
from pathlib import Path

UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"


class Fault(StrEnum):
    """What the proxy does to the next POST."""

    LOSES_THE_ANSWER = "reads the service's answer, and tells the client of a 503"
    CUTS_BEFORE = "closes the connection, and has sent nothing on"
    CUTS_AFTER = "sends it on, and closes both connections at once"


class Lossy(socketserver.ThreadingTCPServer):
    """Takes plain requests and tunnels, which it opens with the service's own certificate."""

    daemon_threads = True

    def __init__(self, service: int, certificate: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.service = service
        self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.tls.load_cert_chain(certificate)
        self.faults: list[Fault] = []
        """What will happen to the next POSTs."""
        self.posts = 0
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def next_fault(self) -> Fault | None:
        self.posts += 1
        return self.faults.pop(0) if self.faults else None


class _Connection(socketserver.StreamRequestHandler):
    server: Lossy

    def handle(self) -> None:
        while (request := self._read()) is not None:
            method, target = request.split(b" ", 2)[:2]
            if method == b"CONNECT":
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self.request = self.server.tls.wrap_socket(self.request, server_side=True)
                self.setup()
                continue
            is_job = method == b"POST" and target.endswith(b"/jobs")
            fault = self.server.next_fault() if is_job else None
            if fault is Fault.CUTS_BEFORE:
                break
            answer = self._send_on(request, wait=fault is not Fault.CUTS_AFTER)
            if answer is None:
                break
            self.wfile.write(UNAVAILABLE if fault is Fault.LOSES_THE_ANSWER else answer)
        self.server.shutdown_request(self.request)  # which may be the tunnel's

    def _read(self) -> bytes | None:
        """One request; None at the end."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return None
            head += line
        return head + self.rfile.read(_length(head))

    def _send_on(self, request: bytes, *, wait: bool) -> bytes | None:
        """The service's answer; None if there is none, or nobody waits for it."""
        try:
            with socket.create_connection(("127.0.0.1", self.server.service)) as there:
                there.sendall(request)
                if not wait:
                    return None
                answer = HTTPResponse(there, method=request.split(b" ", 1)[0].decode())
                answer.begin()
                body = answer.read()
        except (OSError, HTTPException):
            return None
        told = [(k, v) for k, v in answer.getheaders() if k.lower() not in _LENGTHS]
        told.append(("content-length", str(len(body))))
        lines = [f"HTTP/1.1 {answer.status} {answer.reason}", *(f"{k}: {v}" for k, v in told)]
        return "\r\n".join([*lines, "", ""]).encode() + body


_LENGTHS = {"content-length", "transfer-encoding"}


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0
