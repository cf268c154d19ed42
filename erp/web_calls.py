"""Calls to one web service: sent once each, over verified TLS, to its own host only.

Built on the standard library's http.client, because it does nothing by itself: no redirect is followed (which could
carry credentials to another host), nothing is sent a second time, no proxy is taken from the environment. What may
have arrived is told from what surely did not.
"""

import base64
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Literal
from urllib.parse import urlsplit

_LARGEST_ANSWER = 256 * 1024 * 1024  # bytes; a list of some 500,000 lines


class NotSentError(Exception):
    """Nobody was reached: the request surely did not arrive."""


class NoAnswerError(Exception):
    """The request may have arrived, but no answer came."""


@dataclass(frozen=True)
class Answer:
    """What a web service answered."""

    status: int
    body: bytes
    headers: Mapping[str, str]  # names in lower case

    @property
    def retry_after(self) -> float | None:
        """Seconds that it asks to wait; None if it does not say."""
        said = self.headers.get("retry-after", "").strip()
        if said.isdigit():
            return float(said)
        try:
            until = parsedate_to_datetime(said)
        except ValueError:
            return None
        now = datetime.now(UTC)
        return max(0.0, ((until if until.tzinfo else until.replace(tzinfo=UTC)) - now).total_seconds())


@dataclass(frozen=True)
class Login:
    """How a web service knows us; never shown."""

    kind: Literal["", "bearer", "basic", "header"] = ""
    user: str = ""
    header: str = ""
    secret: str = field(default="", repr=False)

    def headers(self) -> dict[str, str]:
        """What goes with every request."""
        if self.kind == "bearer":
            return {"Authorization": f"Bearer {self.secret}"}
        if self.kind == "basic":
            pair = base64.b64encode(f"{self.user}:{self.secret}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        return {self.header: self.secret} if self.kind == "header" else {}


class WebCalls:
    """One connection to one host, opened when it is needed."""

    def __init__(self, url: str, login: Login, timeout_seconds: float, ca_file: str = "", keep: bool = True) -> None:
        place = urlsplit(url)
        self._host, self._port = place.hostname or "", place.port
        self._context = ssl.create_default_context(cafile=ca_file or None) if place.scheme == "https" else None
        self._login, self._timeout, self._keep = login, timeout_seconds, keep
        self._connection: HTTPConnection | None = None

    def close(self) -> None:
        """Drop the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def call(
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request once.

        Raises
        ------
        NotSentError
            If the host could not be reached, or its certificate is not to be trusted.
        NoAnswerError
            If it was reached, but gave no whole answer in time.
        """
        place = urlsplit(url)
        target = (place.path or "/") + (f"?{place.query}" if place.query else "")
        connection = self._connected()
        content = {"Content-Type": "application/json"} if body is not None else {}
        sent = {"Accept": "application/json", **content, **self._login.headers(), **(headers or {})}
        try:
            connection.request(method, target, body=body, headers=sent)
            answer = self._read(connection.getresponse())
        except (OSError, HTTPException) as error:
            self.close()
            raise NoAnswerError(type(error).__name__) from None
        if not self._keep:
            self.close()
        return answer

    def _connected(self) -> HTTPConnection:
        if self._connection is not None and self._connection.sock is not None:
            return self._connection
        if self._context is not None:
            made: HTTPConnection = HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._context)
        else:
            made = HTTPConnection(self._host, self._port, timeout=self._timeout)
        try:
            made.connect()
        except ssl.SSLCertVerificationError as error:
            raise NotSentError(f"its certificate is not to be trusted ({error.verify_message})") from None
        except OSError as error:
            raise NotSentError(error.strerror or type(error).__name__) from None
        self._connection = made
        return made

    def _read(self, response: HTTPResponse) -> Answer:
        """The whole answer; a host that sends it drop by drop gets no more time than one that sends none."""
        until, parts, size = time.monotonic() + self._timeout, [], 0
        while part := response.read1(65536):
            parts.append(part)
            size += len(part)
            if time.monotonic() > until or size > _LARGEST_ANSWER:
                raise TimeoutError("the answer takes too long or is too large")
        if response.length:  # cut off before the length that it announced
            raise HTTPException("the answer was cut off")
        response.close()  # frees the connection for the next request
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, b"".join(parts), headers)
