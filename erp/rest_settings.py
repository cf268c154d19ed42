"""Settings of a REST receiver: where lines are sent, how they are asked for and read, in which form."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Formatter
from urllib.parse import quote, urlsplit

from erp.queue_fields import REQUIRED, QueueFields
from erp.settings import SettingsError, refuse_password_in
from erp.web_calls import Login

_SETTING = "destination"
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # a token of RFC 9110
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True)
class RestSettings:
    """The settings' table `destination` of kind "rest"."""

    url: str  # where a line is sent; {order_line_id} stands for the line's id
    fields: object = REQUIRED  # columns of the queue, or column = name there
    rank: Mapping[str, object] = field(default_factory=dict)  # how the rank is written: docs/erp-fields.md
    method: str = "PUT"  # or POST or PATCH
    batch: int = 1  # lines in one request; above 1 the body is a list
    remove_method: str = ""  # for lines that left the queue, such as DELETE; empty: `method`, and the body says so
    line_field: str = "order_line_id"  # its name for the line's id
    removed_field: str = "removed"  # true for a line that left the queue
    key_header: str = "Idempotency-Key"  # names the item for ever
    sequence_header: str = "X-Backorder-Sequence"  # number of the delivery
    key_field: str = "key"  # in each item of a batch, instead of the headers
    sequence_field: str = "sequence"  # as `key_field`
    ask_url: str = ""  # where a key is asked for, with {key}; empty: it keeps no keys
    read_url: str = ""  # where all lines in the queue there are listed; empty: it cannot be read
    read_items: str = ""  # name of the list, where the answer is an object around it
    auth: str = ""  # bearer, basic or header; empty: no login
    user: str = ""  # of basic
    auth_header: str = "X-API-Key"  # of header
    ca_file: str = ""  # certificates (PEM) to trust, and no others; empty: those of the operating system
    timeout_seconds: float = 30.0  # to wait for an answer
    tries: int = 5  # of a request that surely did not arrive, and of a question
    backoff_seconds: float = 0.5  # before the second try; each further one waits twice as long
    longest_wait_seconds: float = 60.0  # a receiver that asks for more stops the delivery

    def __post_init__(self) -> None:
        """Refuse what no delivery could use."""
        self._check_urls()
        if self.method not in ("PUT", "POST", "PATCH") or self.remove_method not in ("", "DELETE", "POST"):
            raise SettingsError(f"{_SETTING}.method is PUT, POST or PATCH, remove_method DELETE, POST or empty")
        if self.auth not in ("", "bearer", "basic", "header"):
            # Not repeated: whoever mistakes it for the place of the token has written that here.
            raise SettingsError(f"{_SETTING}.auth is none of bearer, basic, header and empty")
        for name in ("key_header", "sequence_header", "auth_header"):
            if not _HEADER.fullmatch(getattr(self, name)):
                raise SettingsError(f"{_SETTING}.{name} is no name of a header")
        least = min(self.batch, self.tries, self.timeout_seconds, self.backoff_seconds, self.longest_wait_seconds)
        if least <= 0:
            raise SettingsError(f"{_SETTING}: batch, tries and all seconds are above 0")
        if self.queue_fields.rank.goes_by_held and not self.read_url:
            raise SettingsError(f"{_SETTING}: encoding decimal goes by the numbers held there; give a read_url")
        own = {self.line_field, self.removed_field, *((self.key_field, self.sequence_field) if self.batch > 1 else ())}
        if clash := sorted(own & set(self.queue_fields.names.values())):
            raise SettingsError(f"{_SETTING}: {', '.join(clash)} names two things; rename one")

    @property
    def queue_fields(self) -> QueueFields:
        """The columns sent, by the receiver's names."""
        return QueueFields.from_tables(self.fields, self.rank, _SETTING)

    def line_url(self, order_line_id: str) -> str:
        """Where a line is sent; its id cannot reach into another path."""
        return self.url.replace("{order_line_id}", _in_url(order_line_id))

    def key_url(self, key: str) -> str:
        """Where a key is asked for."""
        return self.ask_url.replace("{key}", _in_url(key))

    def login(self, password: str | None) -> Login:
        """How we make ourselves known.

        Raises
        ------
        SettingsError
            If the password is missing or cannot be sent; without the password.
        """
        if not self.auth:
            return Login()
        if not password:
            raise SettingsError(
                f"{_SETTING}.auth is {self.auth}, but there is no password; set BACKORDER_DESTINATION_PASSWORD or name"
                " a file in destination_password_file"
            )
        if self.auth != "basic" and not (password.isascii() and password.isprintable()):
            raise SettingsError("the destination's password holds signs that no header can carry; write it anew")
        return Login(self.auth, self.user, self.auth_header, password)  # type: ignore[arg-type]

    def _check_urls(self) -> None:
        holes = {"url": {"order_line_id"}, "ask_url": {"key"}, "read_url": set()}
        places = set()
        for name, allowed in holes.items():
            if url := getattr(self, name):
                places.add(_place(url, allowed, f"{_SETTING}.{name}"))
        if len(places) > 1:
            raise SettingsError(f"{_SETTING}: url, ask_url and read_url name different hosts; the login is for one")
        scheme, host, _ = places.pop() if places else ("", "", 0)
        if not scheme:
            raise SettingsError(f"{_SETTING}.url must be given")
        if self.auth and scheme == "http" and host not in _LOOPBACK:
            raise SettingsError(f"{_SETTING}: a login over http:// could be read on its way; use https://")
        if self.ask_url and "{key}" not in self.ask_url:
            raise SettingsError(f"{_SETTING}.ask_url lacks {{key}}")
        names_line = "{order_line_id}" in self.url
        if names_line and self.batch > 1 or self.remove_method == "DELETE" and not names_line:
            raise SettingsError(f"{_SETTING}.url names {{order_line_id}} where batch is 1, and DELETE needs it")


def _place(url: str, allowed: set[str], setting: str) -> tuple[str, str, int]:
    refuse_password_in(url, setting)
    place = urlsplit(url)
    try:
        port = place.port or (443 if place.scheme == "https" else 80)
        named = {name for _, name, _, _ in Formatter().parse(url) if name is not None}
    except ValueError:
        raise SettingsError(f"{setting} is no address that can be used") from None
    if place.scheme not in ("http", "https") or not place.hostname or place.username:
        raise SettingsError(f"{setting} must begin with https:// and a host, without a user")
    if place.hostname and "{" in place.netloc or not url.isascii() or not url.isprintable() or " " in url:
        raise SettingsError(f"{setting} holds signs that no address may hold; write them as %xx")
    if named - allowed:
        raise SettingsError(f"{setting} names {sorted(named - allowed)}; known are {sorted(allowed)}")
    return place.scheme, place.hostname, port


def _in_url(text: str) -> str:
    # A path of one or two dots means another place, however it is quoted.
    return quote(text, safe="") if text.strip(".") else text.replace(".", "%2E")
