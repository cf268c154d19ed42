"""Passwords come from the environment or a file, and stand in no address, setting, error or text."""

import base64
from urllib.parse import quote

import pytest

from erp.addresses import has_password, shown
from erp.credentials import password, without_secrets
from erp.settings import SettingsError, Site, open_site, refuse_password_in

SECRET = "hunter2/geheim?@#:%ü"


@pytest.fixture(autouse=True)
def no_passwords_outside(monkeypatch):
    for purpose in ("DATA", "DESTINATION", "LEDGER"):
        monkeypatch.delenv(f"BACKORDER_{purpose}_PASSWORD", raising=False)


def test_the_environment_goes_before_the_file_and_each_purpose_has_its_own(monkeypatch, tmp_path):
    (tmp_path / "word").write_text("of the file\n", encoding="utf-8")
    site = Site(data_password_file=str(tmp_path / "word"))
    assert password("data", site) == "of the file"
    assert password("ledger", site) is None
    monkeypatch.setenv("BACKORDER_DATA_PASSWORD", "of the environment")
    assert password("data", site) == "of the environment"
    monkeypatch.setenv("BACKORDER_DATA_PASSWORD", "")
    assert password("data", site) == "of the file"


@pytest.mark.parametrize(("held", "said"), [("secret\n", "secret"), ("secret\r\n", "secret"), (" a b \n\n", " a b \n")])
def test_only_the_last_line_end_of_a_file_is_no_part_of_the_password(tmp_path, held, said):
    (tmp_path / "word").write_bytes(held.encode())
    assert password("destination", Site(destination_password_file=str(tmp_path / "word"))) == said


def test_a_file_that_is_missing_empty_or_no_text_is_refused_by_name(tmp_path):
    for name, content, why in (
        ("gone", None, "cannot be read"),
        ("empty", b"\n", "empty"),
        ("bytes", b"\xff", "UTF-8"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(SettingsError, match=f"ledger_password_file names .*{name}.*{why}") as refused:
            password("ledger", Site(ledger_password_file=str(tmp_path / name)))
        assert "xff" not in str(refused.value)


ADDRESSES = [
    f"postgresql://reader:{SECRET}@erp:5432/sales",
    f"postgresql://reader:{quote(SECRET, safe='')}@erp/sales?schema=a",
    f"postgresql://erp/sales?user=reader&password={SECRET}",
    f"tryton+https://reader:{SECRET}@erp:8000/sales",
    f"https://erp/lines?Token={SECRET}",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_with_a_password_is_refused_and_the_password_is_not_repeated(address, monkeypatch, tmp_path):
    assert has_password(address)
    monkeypatch.setenv("BACKORDER_DATA", address)
    settings = tmp_path / "backorder.toml"
    settings.write_text(f'data = "x"\n[destination]\nkind = "rest"\nurl = "{address}"\n', encoding="utf-8")
    ways = [lambda: refuse_password_in(address, "--data"), open_site, lambda: Site(ledger=address)]
    monkeypatch.chdir(tmp_path / "..")
    for way in [*ways, lambda: open_site(settings, data="folder")]:
        with pytest.raises(SettingsError, match="carries a password") as refused:
            way()
        assert "hunter2" not in str(refused.value)
        assert "geheim" not in str(refused.value)
    assert "hunter2" not in shown(address)
    assert "geheim" not in shown(address)


@pytest.mark.parametrize(
    "address", ["data", "C:/data", "postgresql://reader@erp:5432/sales?schema=a", "https://erp:8000/x?key={key}"]
)
def test_an_address_without_a_password_passes(address):
    assert not has_password(address)
    assert Site(data=address).data == address


def test_no_form_of_a_secret_survives_in_what_a_library_says():
    basic = f"reader:{SECRET}"
    said = " ".join(
        [SECRET, quote(SECRET), quote(SECRET, safe=""), repr(SECRET), repr(SECRET.encode())]
        + [base64.b64encode(text.encode()).decode() for text in (SECRET, basic)]
    )
    clean = without_secrets(ValueError(said), SECRET, basic, None, "")
    assert "hunter2" not in clean
    assert "geheim" not in clean
    assert base64.b64encode(basic.encode()).decode() not in clean
    assert without_secrets("nothing to hide", None, "") == "nothing to hide"
