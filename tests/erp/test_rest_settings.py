import pytest

from erp.rest_queue import RestQueue
from erp.rest_settings import RestSettings
from erp.settings import SettingsError, Site
from erp.settings_table import read_settings
from erp.web_calls import Login

URL = "https://erp.example/lines/{order_line_id}"


@pytest.mark.parametrize(("line", "path"), [("..", "/lines/%2E%2E"), ("../x", "/lines/..%2Fx")])
def test_a_lines_id_cannot_reach_into_another_path(line, path):
    assert RestSettings(URL).line_url(line) == f"https://erp.example{path}"


def test_each_login_is_sent_as_its_kind_says():
    assert Login("bearer", secret="s").headers() == {"Authorization": "Bearer s"}
    assert Login("basic", "Aladdin", secret="open sesame").headers() == {
        "Authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="  # RFC 7617, section 2
    }
    assert Login("header", header="X-Key", secret="s").headers() == {"X-Key": "s"}
    assert Login().headers() == {}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "url must be given"),
        ({"url": URL, "ulr": "x"}, "destination: unknown ulr; known are ask_url, auth"),
        ({"url": "ftp://erp.example/{order_line_id}"}, "must begin with https://"),
        ({"url": "https://erp.example/{line}"}, "url names ['line']; known are ['order_line_id']"),
        ({"url": "https://{order_line_id}.example/"}, "holds signs that no address may hold"),
        ({"url": "https://erp.example/a b"}, "holds signs that no address may hold"),
        ({"url": URL, "ask_url": "https://other.example/{key}"}, "name different hosts"),
        ({"url": URL, "ask_url": "https://erp.example/keys"}, "ask_url lacks {key}"),
        ({"url": URL, "batch": 5}, "names {order_line_id} where batch is 1"),
        ({"url": "https://erp.example/lines", "remove_method": "DELETE"}, "DELETE needs it"),
        ({"url": "http://erp.example/{order_line_id}", "auth": "bearer"}, "use https://"),
        ({"url": URL, "auth": "digest"}, "auth is none of bearer, basic, header and empty"),
        ({"url": URL, "auth": "bearer"}, "there is no password; set BACKORDER_DESTINATION_PASSWORD"),
        ({"url": URL, "method": "GET"}, "method is PUT, POST or PATCH"),
        ({"url": URL, "key_header": "Key\r\nX"}, "is no name of a header"),
        ({"url": URL, "timeout_seconds": 0}, "are above 0"),
        ({"url": URL, "timeout_seconds": "5"}, "timeout_seconds is '5'; it is a number"),
        ({"url": URL, "batch": True}, "batch is True; it is a whole number"),
        ({"url": URL, "rank": {"encoding": "decimal"}}, "give a read_url"),
        ({"url": URL, "line_field": "rank"}, "rank names two things"),
        ({"url": URL, "fields": ["rank", "ship_now_quantity", "product_name"]}, "unknown product_name"),
    ],
)
def test_settings_that_cannot_be_used_are_named(table, said, monkeypatch):
    monkeypatch.delenv("BACKORDER_DESTINATION_PASSWORD", raising=False)
    with pytest.raises(SettingsError) as refused:
        RestQueue.from_table(table, Site())
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "url", ["https://user:canary@erp.example/{order_line_id}", "https://erp.example/x?token=canary"]
)
def test_an_address_with_a_password_is_refused_without_repeating_it(url):
    with pytest.raises(SettingsError) as refused:
        read_settings(RestSettings, {"url": url}, "destination")
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("table", [{"auth": "Bearer canary"}, {"auth": "header", "auth_header": "X-Key: canary"}])
def test_a_token_written_where_the_kind_of_login_belongs_is_not_repeated(table):
    with pytest.raises(SettingsError, match=r"destination\.auth") as refused:
        read_settings(RestSettings, {"url": URL, **table}, "destination")
    assert "canary" not in str(refused.value)


def test_two_receivers_never_bear_one_name_in_the_ledger():
    places = ("{order_line_id}", "{order_line_id}?tenant=1", "{order_line_id}?tenant=2", "@{order_line_id}")
    hosts = ("https://erp.example/", "https://other.example/")
    names = {RestQueue(RestSettings(host + place)).name for host in hosts for place in places}
    assert len(names) == len(places) * len(hosts)
    assert RestQueue(RestSettings(URL)).name.startswith("rest https://erp.example/lines/{order_line_id} ")


def test_a_receiver_whose_fields_are_renamed_is_another_one_since_it_was_told_nothing_under_the_new_names():
    named = [{"rank": "priority", "ship_now_quantity": "qty"}, {"rank": "prio", "ship_now_quantity": "qty"}]
    names = {RestQueue(RestSettings(URL, fields=fields)).name for fields in named}
    assert len(names | {RestQueue(RestSettings(URL, fields=named[0], line_field="line")).name}) == 3


def test_a_password_that_no_header_can_carry_is_refused_without_repeating_it():
    with pytest.raises(SettingsError, match="no header can carry") as refused:
        RestQueue(RestSettings(URL, auth="bearer"), "canary\nX-Other: 1")
    assert "canary" not in str(refused.value)


def test_the_password_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("BACKORDER_DESTINATION_PASSWORD", "canary")
    queue = RestQueue.from_table({"url": URL, "auth": "bearer"}, Site())
    assert queue._login.headers() == {"Authorization": "Bearer canary"}
