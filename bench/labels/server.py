"""The server of the label page. It listens only on this machine, on a random port, and requires a token."""

import contextlib
import hmac
import json
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ..errors import UserError
from .answers import PERSON, SCRIPT, AnswerLog

HOST = "127.0.0.1"
MOST = 4096
"""Maximum size of a request in bytes; an answer has about a hundred."""
MOST_CONNECTIONS = 32
IDLE_SECONDS = 5.0
"""How long a connection may send nothing."""
REQUEST_SECONDS = 15.0
"""How long a request may take from its first byte to the last of its answer."""
POLICY = (
    "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


@dataclass
class Labelling:
    """The state of a labelling. images: (target, PNG), in the order of the page.

    files: the page's own, name -> (type, content). finish writes the labels once all are answered.
    """

    images: Sequence[tuple[str, bytes]]
    log: AnswerLog
    files: Mapping[str, tuple[str, bytes]]
    finish: Callable[[], object]
    finished: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def state(self) -> dict[str, Any]:
        """Return the state for the page, without anything that reveals which model drew an image."""
        image = self.log.next
        return {
            "total": self.log.total,
            "done": len(self.log.replies),
            "image": image,
            "target": None if image is None else self.images[image][0],
            "finished": self.finished,
        }

    def act(self, action: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out an action of the page and return the new state; raises ValueError for an invalid one."""
        with self.lock:
            if self.finished:
                raise ValueError("the labels are written")
            if action == "answer":
                # only the page's own events in a browser that nobody drives are a person's
                by = PERSON if body.get("trusted") is True and body.get("driven") is False else SCRIPT
                self.log.answer(_number(body.get("image")), str(body.get("reply")), by)
            elif action == "undo":
                self.log.undo()
            elif self.log.next is None:
                self.finish()
                self.finished = True
            else:
                raise ValueError(f"image {self.log.next} is not answered yet")
            return self.state()


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError(f"image: {value!r:.40} is no number")
    return value


def _read_json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None


class LabelServer(ThreadingHTTPServer):
    """Serves one labelling. Raises nothing on a bad request: it answers 400 or 404."""

    daemon_threads = True
    request_queue_size = 16

    def __init__(self, labelling: Labelling) -> None:
        super().__init__((HOST, 0), _Handler)
        self.labelling = labelling
        self.token = secrets.token_urlsafe(18)
        self._open: dict[Any, float] = {}
        self._guard = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own; connections beyond the limit are closed at once."""
        with self._guard:
            is_full = len(self._open) >= MOST_CONNECTIONS
            if not is_full:
                self._open[request] = time.monotonic()
        if is_full:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Close connections that are too slow; those of the page take milliseconds."""
        with self._guard:
            late = [r for r, since in self._open.items() if time.monotonic() - since > REQUEST_SECONDS]
        for request in late:
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing for a closed browser; print every other error."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: LabelServer
    timeout = IDLE_SECONDS
    server_version, sys_version = "unlearnbench", ""

    def do_GET(self) -> None:
        path = self._path()
        if path is None:
            return
        labelling = self.server.labelling
        name = path or "index.html"
        if name == "state":
            self._json(labelling.state())
        elif name in labelling.files:
            self._send(HTTPStatus.OK, *labelling.files[name])
        elif (image := labelling.log.next) is not None and name == f"image/{image}":
            self._send(HTTPStatus.OK, "image/png", labelling.images[image][1])
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "nothing here")

    def do_POST(self) -> None:
        path = self._path()
        if path is None:
            return
        try:
            length = int(self.headers.get("Content-Length", ""))
            body = _read_json(self.rfile.read(length)) if 0 < length <= MOST else None
            if path not in ("answer", "undo", "finish") or not isinstance(body, dict):
                raise ValueError("no such request")
            state = self.server.labelling.act(path, body)
        except (ValueError, UserError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            return
        self._json(state)
        if state["finished"]:
            threading.Thread(target=self.server.shutdown).start()

    def _path(self) -> str | None:
        """Return the path after the token, None where the token or the host is wrong."""
        token, _, path = self.path.lstrip("/").partition("/")
        own = f"{HOST}:{self.server.server_port}"
        hosts, origins = self.headers.get_all("Host", []), self.headers.get_all("Origin", [])
        is_own = hosts == [own] and origins in ([], [f"http://{own}"])
        if not is_own or not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._refuse(HTTPStatus.NOT_FOUND, "nothing here")
            return None
        return path

    def _json(self, content: Mapping[str, Any]) -> None:
        self._send(HTTPStatus.OK, "application/json", json.dumps(content).encode())

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self._send(status, "text/plain; charset=utf-8", reason.encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(content))),
            ("Content-Security-Policy", POLICY),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing: the terminal shows the address and the result."""
