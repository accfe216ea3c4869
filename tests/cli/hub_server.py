"""A stand-in of the Hugging Face Hub: the requests that uploading and downloading of the library make."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

SHA = "c" * 40
TOKEN = "hf_of_the_test"


class Hub(ThreadingHTTPServer):
    """repos: (type, owner/name) -> path -> content. Large files are sent apart, as the real one asks for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[tuple[str, str], dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def answer(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def refuse(self, code: str, status: int = 404) -> None:
        self.answer({"error": code}, status, {"X-Error-Code": code})

    def do_POST(self) -> None:
        body, path = self.body(), urlsplit(self.path).path
        self.server.requests.append(f"POST {path}")
        if path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer({"error": "Invalid token"}, 401)
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path.endswith("/info/lfs/objects/batch"):
            return self.batch(json.loads(body))
        match = re.fullmatch(r"/api/(model|dataset)s/([^/]+/[^/]+)/(preupload|commit)/main", path)
        if match is None or (match[1], match[2]) not in self.server.repos:
            return self.refuse("RepoNotFound")
        if match[3] == "commit":
            return self.commit(self.server.repos[match[1], match[2]], body, match[2])
        large = (".safetensors", ".parquet")
        modes = [
            {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(large) else "regular"}
            for f in json.loads(body)["files"]
        ]
        return self.answer({"files": [mode | {"shouldIgnore": False} for mode in modes]})

    def create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        place = asked.get("type", "model"), name
        status = 409 if place in self.server.repos else 200
        self.server.repos.setdefault(place, {})
        self.server.private.setdefault(
            name, asked.get("visibility") == "private" or bool(asked.get("private"))
        )
        self.answer({"url": f"{self.server.url}/{name}"}, status)

    def batch(self, asked: dict[str, Any]) -> None:
        found = [
            o | {"actions": {"upload": {"href": f"{self.server.url}/lfs/{o['oid']}"}}}
            for o in asked["objects"]
        ]
        self.answer({"transfer": "basic", "objects": found})

    def do_PUT(self) -> None:
        content = self.body()
        oid = self.path.rpartition("/")[2]
        assert hashlib.sha256(content).hexdigest() == oid
        self.server.objects[oid] = content
        self.answer(b"")

    def commit(self, files: dict[str, bytes], body: bytes, name: str) -> None:
        for line in body.splitlines():
            part = json.loads(line)
            value = part["value"]
            if part["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            if part["key"] == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
        self.answer({"commitUrl": f"{self.server.url}/{name}/commit/{SHA}", "commitOid": SHA})

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        if match := re.fullmatch(r"/api/(model|dataset)s/([^/]+/[^/]+)/(revision|tree)/[^/]+", path):
            files = self.server.repos.get((match[1], match[2]))
            if files is None:
                return self.refuse("RepoNotFound")
            if match[3] == "tree":
                return self.answer([self.entry(name, content) for name, content in files.items()])
            siblings = [{"rfilename": name} for name in files]
            return self.answer({"id": match[2], "sha": SHA, "siblings": siblings})
        match = re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/[^/]+/(.+)", path)
        place = None if match is None else ("dataset" if match[1] else "model", match[2])
        if match is None or place not in self.server.repos or match[3] not in self.server.repos[place]:
            return self.refuse("EntryNotFound")
        content = self.server.repos[place][match[3]]
        tag = hashlib.sha256(content).hexdigest()
        return self.answer(content, headers={"ETag": f'"{tag}"', "X-Repo-Commit": SHA})

    def do_HEAD(self) -> None:
        self.do_GET()

    @staticmethod
    def entry(name: str, content: bytes) -> dict[str, Any]:
        return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}


@contextmanager
def serve() -> Iterator[Hub]:
    """Run a hub on a free port of this machine."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
