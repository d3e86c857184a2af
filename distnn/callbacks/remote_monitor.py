"""`RemoteMonitor`: post each epoch's logs to a server."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from urllib import parse, request

from distnn.callbacks.callback import Callback, Logs

TIMEOUT_S = 10.0


class RemoteMonitor(Callback):
    """Post the logs as JSON to `root + path` after each epoch; a server that is not there is a warning.

    Args:
        root: of the server.
        path: on it.
        field: of the form under which the JSON is sent.
        headers: of the request.
        send_as_json: send the JSON itself, not a form.
    """

    def __init__(
        self,
        root: str = "http://localhost:9000",
        path: str = "/publish/epoch/end/",
        field: str = "data",
        headers: Mapping[str, str] | None = None,
        send_as_json: bool = False,
    ) -> None:
        if parse.urlsplit(root).scheme not in ("http", "https"):
            raise ValueError(f"`root` must begin with http:// or https://. Received: root={root!r}")
        self.root = root
        self.path = path
        self.field = field
        self.headers = dict(headers or {})
        self.send_as_json = send_as_json

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        text = json.dumps({"epoch": epoch, **(logs or {})})
        kind = "application/json" if self.send_as_json else "application/x-www-form-urlencoded"
        body = text if self.send_as_json else parse.urlencode({self.field: text})
        headers = {"Content-Type": kind, **self.headers}
        call = request.Request(self.root + self.path, body.encode(), headers, method="POST")
        try:
            with request.urlopen(call, timeout=TIMEOUT_S):
                pass
        except OSError:
            warnings.warn(f"Could not reach RemoteMonitor root server at {self.root}", stacklevel=2)
