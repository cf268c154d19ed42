"""Talking to a Tryton 8.2 server by JSON-RPC: log in, call, read in pages; with the standard library alone.

What Tryton says of a refusal may name customers, so that its words are never repeated: a refusal says which call was
refused and, where it can be told, why. Each call is one transaction there.
"""

import base64
import gzip
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from erp.web_calls import Login, NoAnswerError, NotSentError, WebCalls

Record = dict[str, Any]
PAGE = 2000  # records read or written by one call; the server's own limit is 10,000
LOCK_TRIES = 8  # calls that meet another's lock are repeated so often, each time after twice the wait
LOCK_WAIT = 0.1  # seconds before the first repetition
_LOCKED = ("could not obtain lock", "locknotavailable", "database is locked", "could not serialize", "deadlock")
_SCHEMES = {"tryton+http": 8000, "tryton+https": 443}


class TrytonError(Exception):
    """The server cannot be used; the message says what, and what to do."""


class TrytonRefusedError(TrytonError):
    """The server answered that it will not do this; nothing of the call happened."""


class TrytonStaleError(TrytonRefusedError):
    """A record was changed by somebody since it was read; nothing of the call happened."""


class TrytonLockedError(TrytonRefusedError):
    """Somebody holds a lock on what the call needs; nothing of the call happened."""


class TrytonLostError(TrytonError):
    """The answer was lost: the call may have happened or not, or may still be happening."""


@dataclass(frozen=True)
class Address:
    """Where a Tryton server and its database are."""

    is_encrypted: bool
    user: str
    host: str
    port: int
    database: str

    @property
    def name(self) -> str:
        """Place and database, for people."""
        return f"{self.host}:{self.port}/{self.database}"

    @property
    def rpc_url(self) -> str:
        """Where calls go."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.is_encrypted else 'http'}://{host}:{self.port}/{quote(self.database)}/rpc/"


def tryton_address(url: str) -> Address:
    """Parts of `tryton+http://user@host:port/database`, or `tryton+https`.

    Raises
    ------
    TrytonError
        If a part is missing or a password stands in it, which is not repeated.

    >>> tryton_address("tryton+http://robot@erp:8000/sales").name
    'erp:8000/sales'
    """
    parts = urlsplit(url)
    shape = "write it as tryton+https://user@host:port/database"
    if parts.scheme not in _SCHEMES:
        raise TrytonError(f"the address of a Tryton server begins with {' or '.join(_SCHEMES)}; {shape}")
    if parts.password is not None or parts.query or parts.fragment:
        raise TrytonError(f"the address of {parts.hostname} holds more than user, host, port and database; {shape}")
    database = unquote(parts.path.strip("/"))
    try:
        port = parts.port or _SCHEMES[parts.scheme]
    except ValueError as error:
        raise TrytonError(f"the address of {parts.hostname} has no usable port; {shape}") from error
    if not (parts.hostname and parts.username and database) or "/" in database:
        raise TrytonError(f"the address of a Tryton server lacks user, host or database; {shape}")
    return Address(parts.scheme == "tryton+https", unquote(parts.username), parts.hostname, port, database)


@dataclass
class Tryton:
    """A session at a Tryton server; opened by `tryton_session`."""

    address: Address
    _password: str = field(repr=False)
    timeout: float = 300.0  # seconds that one call may take
    uid: int = 0
    context: Record = field(default_factory=dict)  # the user's preferences; names the company
    calls: list[str] = field(default_factory=list)  # of this session, for tests and figures
    _token: str = field(default="", repr=False)

    def model(self, name: str, method: str, *arguments: Any, context: Mapping[str, Any] | None = None) -> Any:
        """Call a method of a model; locks held by others are waited for.

        Parameters
        ----------
        context : what the call shall see beside the user's preferences

        Raises
        ------
        TrytonRefusedError, TrytonLostError
        """
        full = f"model.{name}.{method}"
        for turn in range(LOCK_TRIES):
            try:
                return self.call(full, *arguments, {**self.context, **(context or {})})
            except TrytonLockedError:
                if turn == LOCK_TRIES - 1:
                    raise
                time.sleep(LOCK_WAIT * 2**turn)
        raise AssertionError("unreachable")

    def search_read(self, name: str, domain: Sequence[Any], fields: Sequence[str]) -> list[Record]:
        """Every record of a model that the domain describes, ordered by id, page by page."""
        return list(self.pages(name, domain, fields))

    def pages(self, name: str, domain: Sequence[Any], fields: Sequence[str]) -> Iterator[Record]:
        """As `search_read`, one record at a time.

        Each page begins after the last id of the one before it: what comes or goes meanwhile shifts no record.
        """
        last = 0
        while True:
            there = [list(domain), [["id", ">", last]]] if domain else [["id", ">", last]]
            page: list[Record] = self.model(name, "search_read", there, 0, PAGE, [["id", "ASC"]], list(fields))
            yield from page
            if len(page) < PAGE:
                return
            last = page[-1]["id"]

    def read_where(
        self, name: str, column: str, values: Sequence[Any], fields: Sequence[str], *also: Sequence[Any]
    ) -> list[Record]:
        """Records whose column holds one of the values, and of which `also` holds; asked for in parts, each by id."""
        found: list[Record] = []
        for start in range(0, len(values), PAGE):
            found += self.search_read(name, [[column, "in", list(values[start : start + PAGE])], *also], fields)
        return found

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method once, as it is named at the server; a session that ran out is opened anew."""
        self.calls.append(method)
        try:
            return self._post(method, arguments)
        except _NotLoggedInError:
            self.log_in()
            return self._post(method, arguments)

    def log_in(self) -> None:
        """Open a session at the server and learn the user's preferences."""
        self._token = ""
        try:
            self.uid, self._token, *_ = self._post("common.db.login", (self.address.user, {"password": self._password}))
        except _NotLoggedInError:
            raise TrytonError(
                f"Tryton at {self.address.name} does not let {self.address.user} in; check user and password"
            ) from None
        self.context = self._post("model.res.user.get_preferences", (True, {}))

    def log_out(self) -> None:
        """Close the session at the server; one that it closed itself is closed."""
        with suppress(TrytonError, _NotLoggedInError):
            self._post("common.db.logout", ())

    def _post(self, method: str, arguments: Sequence[Any]) -> Any:
        body = json.dumps({"id": len(self.calls), "method": method, "params": list(arguments)}, default=_encoded)
        headers = {"Accept-Encoding": "gzip"}
        if self._token:
            session = f"{self.address.user}:{self.uid}:{self._token}".encode()
            headers["Authorization"] = "Session " + base64.b64encode(session).decode()
        status, answer = self._exchange(body.encode(), headers)
        _check_status(status, method, self.address)
        try:
            said = json.loads(answer, object_hook=_decoded)
        except ValueError:
            raise TrytonLostError(f"what {self.address.name} answered to {method} is not whole") from None
        if isinstance(said, dict) and said.get("error"):
            raise _failure(method, said["error"])
        return said["result"] if isinstance(said, dict) and "result" in said else said

    def _exchange(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Status and content of one request on a connection of its own."""
        url = self.address.rpc_url
        try:
            answer = WebCalls(url, Login(), self.timeout, keep=False).call("POST", url, body, headers)
        except NotSentError as error:
            raise TrytonError(
                f"no Tryton server answers at {self.address.name} ({error}); check the address, or start it"
            ) from None
        except NoAnswerError as error:
            raise TrytonLostError(f"the answer of {self.address.name} was lost ({error})") from None
        # Short answers are plain, and 8.2 marks long ones as gzip even where they are not.
        return answer.status, gzip.decompress(answer.body) if answer.body[:2] == b"\x1f\x8b" else answer.body


class _NotLoggedInError(Exception):
    """The server knows no such session, user or password."""


@contextmanager
def tryton_session(url: str, password: str | None, timeout: float = 300.0) -> Iterator[Tryton]:
    """Log in, and out again at the end.

    Raises
    ------
    TrytonError
        If the address cannot be used, the server does not answer, or it does not let the user in.
    """
    address = tryton_address(url)
    if not password:
        raise TrytonError(f"Tryton at {address.name} asks for a password of {address.user} and none is set")
    session = Tryton(address, password, timeout)
    session.log_in()
    try:
        yield session
    finally:
        session.log_out()


def _check_status(status: int, method: str, address: Address) -> None:
    if status == 200:
        return
    if status in (401, 403) and method != "model.res.user.get_preferences":
        raise _NotLoggedInError
    if status == 404:
        raise TrytonError(f"the server at {address.host}:{address.port} has no database {address.database}")
    if status == 429:
        raise TrytonError(f"{address.name} takes no more log-ins for now; wait some minutes")
    if status == 413:
        raise TrytonRefusedError(f"{method} is too much for {address.name} at once; raise request.records_limit there")
    if status in (502, 503, 504) or status >= 500:
        raise TrytonLostError(f"{address.name} failed at {method} (status {status}); its log says why")
    raise TrytonRefusedError(f"{address.name} refused {method} (status {status}); is it Tryton 8.2?")


def _failure(method: str, error: Sequence[Any]) -> TrytonError:
    """What the server's error means; its words stay unsaid."""
    kind, words = str(error[0]), str(error).lower()
    if kind == "ConcurrencyException":
        return TrytonStaleError(f"{method}: somebody changed a record since it was read")
    if any(sign in words for sign in _LOCKED):
        return TrytonLockedError(f"{method}: somebody holds a lock on what it needs")
    if kind in ("UserError", "UserWarning"):
        why = "the user lacks a right to it, see docs/tryton.md" if "not allowed" in words else "its log says why"
        return TrytonRefusedError(f"Tryton refused {method} ({kind}): {why}")
    # Such as a database that went away: whether its last word was to keep the transaction, nobody knows.
    return TrytonLostError(f"Tryton failed at {method}; its log says why")


def _decoded(cell: Record) -> Any:
    kind = cell.get("__class__")
    if kind == "Decimal":
        return Decimal(cell["decimal"])
    if kind == "date":
        return date(cell["year"], cell["month"], cell["day"])
    if kind == "datetime":
        names = ("year", "month", "day", "hour", "minute", "second", "microsecond")
        return datetime(*(cell[name] for name in names))
    if kind == "timedelta":
        return timedelta(seconds=cell["seconds"])
    return cell


def _encoded(cell: Any) -> Record:
    if isinstance(cell, datetime):
        names = ("year", "month", "day", "hour", "minute", "second", "microsecond")
        return {"__class__": "datetime", **{name: getattr(cell, name) for name in names}}
    if isinstance(cell, date):
        return {"__class__": "date", "year": cell.year, "month": cell.month, "day": cell.day}
    if isinstance(cell, Decimal):
        return {"__class__": "Decimal", "decimal": str(cell)}
    raise TypeError(f"{type(cell).__name__} has no form in Tryton's JSON")
