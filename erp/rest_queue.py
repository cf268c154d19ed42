"""A queue delivered to a REST receiver: one request per line or per batch, each with a key that names it for ever.

An answer that is lost, a time-out or a server's error leaves open whether a line arrived: then its key is asked for,
and nothing is sent again before the answer. Only "too many requests" and a host that cannot be reached are tried again
by themselves, since then nothing arrived. A receiver that keeps no keys cannot be asked: a person must look.
"""

import hashlib
import json
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin, urlsplit

from erp.addresses import shown
from erp.credentials import password
from erp.destination import DeliveryError, Held, Item, Outcome, State, Values
from erp.rest_settings import RestSettings
from erp.settings import SettingsError, Site
from erp.settings_table import read_settings
from erp.web_calls import Answer, NoAnswerError, NotSentError, WebCalls

_NO_ENTRY = (401, 403, 407)
# Of an answer below 500 that is neither success nor listed here, the line is refused.
_MEANING: Mapping[int, tuple[State, str]] = {
    202: ("unknown", "taken for later"),
    207: ("unknown", "answered for each line, but not for this one"),
    408: ("unknown", "the request came too slowly"),
    409: ("unknown", "still at work on it, or in conflict"),
    412: ("skipped", "somebody changed it there"),
    423: ("skipped", "locked there"),
    425: ("unknown", "too early"),
    429: ("absent", "asks to wait"),
}


class RestQueue:
    """A destination of kind "rest"; see docs/rest.md for what the receiver must do."""

    def __init__(self, settings: RestSettings, secret: str | None = None) -> None:
        self.settings = settings
        self._login = settings.login(secret)
        self._fields = settings.queue_fields
        self._calls: WebCalls | None = None

    @classmethod
    def from_table(cls, table: Mapping[str, object], site: Site) -> "RestQueue":
        """The destination of the settings' table, with the password of the site.

        Raises
        ------
        SettingsError
            If the settings cannot be used.
        """
        return cls(read_settings(RestSettings, table, "destination"), password("destination", site))

    @property
    def name(self) -> str:
        """Kind and place, and a mark of the whole address and the names of fields.

        No other destination bears its name, and a receiver whose fields are renamed is a new one: what it was told
        under the old names says nothing.
        """
        told = [self.settings.url, self.settings.line_field, sorted(self._fields.names.items())]
        return f"rest {shown(self.settings.url)} {hashlib.sha256(json.dumps(told).encode()).hexdigest()[:8]}"

    @property
    def batch(self) -> int | None:
        """How many lines go in one request."""
        return self.settings.batch

    @property
    def knows_keys(self) -> bool:
        """Whether it can be asked what became of a key."""
        return bool(self.settings.ask_url)

    @property
    def date_column(self) -> str | None:
        """The date that customers go by."""
        return self._fields.date_column

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold one connection, made at the first request.

        Without keys each request has its own: one that the receiver had let go would leave open whether it arrived.
        """
        s = self.settings
        try:
            self._calls = WebCalls(s.url, self._login, s.timeout_seconds, s.ca_file, keep=self.knows_keys)
        except (OSError, ssl.SSLError):
            raise SettingsError(f"destination.ca_file {s.ca_file} cannot be read as certificates (PEM)") from None
        try:
            yield
        finally:
            self._calls.close()
            self._calls = None

    def wishes(self, rows: Iterable[Mapping[str, object]]) -> dict[str, Values]:
        """What each line shall say there."""
        return self._fields.wishes(rows, lambda: self.held([]))

    def held(self, order_line_ids: Sequence[str]) -> dict[str, Held] | None:
        """What the receiver lists as its queue: every line with a value in one of our fields; None without read_url."""
        if not self.settings.read_url:
            return None
        found: dict[str, Held] = {}
        for there in self._listed():
            values = self._fields.inward(there)
            if there.get(self.settings.removed_field) is True or all(value is None for value in values.values()):
                continue
            line = str(there.get(self.settings.line_field))
            if line in found or self.settings.line_field not in there:
                raise DeliveryError(f"{self.name} lists a line twice or without {self.settings.line_field}; mend that")
            found[line] = Held(values)
        return found

    def newest_sequence(self) -> int | None:
        """None: a receiver need not show sequences."""
        return None

    def send(self, items: Sequence[Item]) -> list[Outcome]:
        """Send one request with all items; again only where it surely did not arrive.

        Raises
        ------
        DeliveryError
            If it cannot be reached, will not let us in, or asks for a longer wait than allowed: nothing arrived.
        """
        method, url, body, headers = self._request(items)
        try:
            answer = self._patiently(method, url, body, headers, asks=False)
        except NoAnswerError as error:
            return [Outcome(item.key, "unknown", f"no answer ({error})") for item in items]
        said = self._said_of_each(answer) if self.settings.batch > 1 else {}
        if answer.status == 503 and self.knows_keys:  # whoever asks for the keys next finds it rested
            time.sleep(min(answer.retry_after or 0.0, self.settings.longest_wait_seconds))
        return [self._outcome(item, said.get(item.key, None if said else answer.status)) for item in items]

    def ask(self, items: Sequence[Item]) -> list[Outcome]:
        """What became of items, by their keys.

        Raises
        ------
        DeliveryError
            If it cannot be reached or will not let us in.
        """
        if not self.knows_keys:
            return [Outcome(item.key, "unknown", "the receiver keeps no keys; look there") for item in items]
        return [self._asked(item) for item in items]

    def _asked(self, item: Item) -> Outcome:
        try:
            answer = self._patiently("GET", self.settings.key_url(item.key), None, {}, asks=True)
        except NoAnswerError as error:
            return Outcome(item.key, "unknown", f"no answer to the question ({error})")
        if answer.status == 404:
            return Outcome(item.key, "absent", "the receiver does not know the key")
        if answer.status not in (200, 204):
            return Outcome(item.key, "unknown", f"the question was answered with {answer.status}")
        said = _json(answer)
        status = said.get("status", 200) if isinstance(said, dict) else 200
        return self._outcome(item, status if type(status) is int else None)

    def _request(self, items: Sequence[Item]) -> tuple[str, str, bytes | None, dict[str, str]]:
        s = self.settings
        if s.batch > 1:
            listed = [{**self._said(item), s.key_field: item.key, s.sequence_field: item.sequence} for item in items]
            of_all = hashlib.sha256("".join(item.key for item in items).encode()).hexdigest()
            return s.method, s.url, _bytes(listed), {s.key_header: of_all, s.sequence_header: str(items[0].sequence)}
        item = items[0]
        headers = {s.key_header: item.key, s.sequence_header: str(item.sequence)}
        method = (s.remove_method or s.method) if item.values is None else s.method
        body = None if method == "DELETE" else _bytes(self._said(item))
        return method, s.line_url(item.order_line_id), body, headers

    def _said(self, item: Item) -> dict[str, Any]:
        line = {self.settings.line_field: item.order_line_id}
        if item.values is None:
            return {**line, self.settings.removed_field: True}
        return {**line, **self._fields.outward(item.values)}

    def _said_of_each(self, answer: Answer) -> dict[str, int]:
        """Of a batch: the status of each key, where the receiver answered with a list of them."""
        if answer.status >= 300:
            return {}
        said = _json(answer)
        rows = [row for row in said if isinstance(row, dict)] if isinstance(said, list) else []
        key = self.settings.key_field
        return {str(row[key]): row["status"] for row in rows if key in row and type(row.get("status")) is int}

    def _outcome(self, item: Item, status: int | None) -> Outcome:
        if status is None:
            return Outcome(item.key, "unknown", "the receiver said nothing of this line")
        if status in _MEANING:
            state, words = _MEANING[status]
            return Outcome(item.key, state, f"{words} ({status})")
        if 200 <= status < 300 or item.values is None and status in (404, 410):  # what is not there is taken out
            return Outcome(item.key, "accepted", f"answered {status}")
        return Outcome(item.key, "refused" if 400 <= status < 500 else "unknown", f"answered {status}")

    def _patiently(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], asks: bool) -> Answer:
        """One answer; tried again where nothing arrived, and where nothing could have been changed."""
        assert self._calls is not None, "use it within `with destination.opened()`"
        last: Answer | NoAnswerError | NotSentError | None = None
        for turn in range(self.settings.tries):
            if turn:
                self._wait(last, turn - 1)
            try:
                last = self._calls.call(method, url, body, headers)
            except NotSentError as error:
                last = error
            except NoAnswerError as error:
                if not asks:
                    raise
                last = error
            if isinstance(last, Answer) and not (last.status == 429 or asks and last.status >= 500):
                break
        if isinstance(last, NotSentError):
            raise DeliveryError(f"{self.name} cannot be reached: {last}; try again once it answers")
        if isinstance(last, NoAnswerError):
            raise last
        assert last is not None
        self._refuse(last)
        return last

    def _refuse(self, answer: Answer) -> None:
        if answer.status in _NO_ENTRY:
            raise DeliveryError(
                f"{self.name} does not let us in ({answer.status}); look at the password and its rights"
            )
        if 300 <= answer.status < 400:
            raise DeliveryError(f"{self.name} sends us elsewhere ({answer.status}); put the final address into url")

    def _wait(self, last: object, turn: int) -> None:
        s = self.settings
        asked = last.retry_after if isinstance(last, Answer) else None
        if asked is not None and asked > s.longest_wait_seconds:
            raise DeliveryError(f"{self.name} asks to wait {asked:.0f} s, longer than longest_wait_seconds; try later")
        time.sleep(asked if asked is not None else min(s.backoff_seconds * 2**turn, s.longest_wait_seconds))

    def _listed(self) -> Iterator[Mapping[str, object]]:
        """Every object that read_url lists, over all pages that it links to as `next` (RFC 8288)."""
        url = self.settings.read_url
        while url:
            try:
                answer = self._patiently("GET", url, None, {}, asks=True)
            except NoAnswerError as error:
                raise DeliveryError(f"{self.name}: no answer from read_url ({error}); try again later") from None
            rows = _json(answer) if answer.status == 200 else None
            if self.settings.read_items and isinstance(rows, dict):
                rows = rows.get(self.settings.read_items)
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise DeliveryError(f"{self.name}: read_url answered {answer.status} and no list of lines; look there")
            yield from rows
            url = self._next_page(url, answer.headers.get("link", ""))

    def _next_page(self, url: str, link: str) -> str:
        for part in link.split(","):
            target, _, parameters = part.partition(";")
            if 'rel="next"' in parameters.replace("rel=next", 'rel="next"'):
                page = urljoin(url, target.strip().strip("<>"))
                if urlsplit(page)[:2] != urlsplit(url)[:2]:
                    raise DeliveryError(f"{self.name}: the next page of read_url is on another host; look there")
                return page
        return ""


def _json(answer: Answer) -> Any:
    try:
        return json.loads(answer.body)
    except ValueError:
        return None


def _bytes(said: object) -> bytes:
    return json.dumps(said, ensure_ascii=False, allow_nan=False).encode()
