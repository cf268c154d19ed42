import pytest

from erp.known import checked
from features.feature_tables import count_causes
from models.account_panel import rehearsal
from pipelines.findings_report import _value, findings_text
from tests.erp.small_company import T, add, small_site, small_tables, write_tables
from tests.models.simulated_accounts import simulated_book


def check_text(folder, tables, **given):
    site = small_site(write_tables(tables, folder / "data"), **given)
    with checked(site, T) as (findings, shown):
        findings.causes = count_causes(shown)
    return findings_text(findings)


def test_check_counts_cancellations_by_cause_and_names_the_codes_nobody_mapped(tmp_path):
    tables = small_tables()
    for k in range(7):
        cells = {"cancelled_by": None, "reason": f"R{k % 6}", "event_id": f"X1{k}"}
        add(tables, "cancellations", order_line_id="L1", cancelled_at=f"2024-03-06 1{k}:00", quantity=0.5, **cells)
    text = check_text(tmp_path, tables, cancel_reasons={"R1": "seller", "R2": "change"})
    assert "8 known: 6 by customers, 1 by us, 1 only changes" in text
    assert "5 of the customers' are taken for theirs as nothing says whose they were" in text
    assert "does not map: 'R0' (2), 'R3' (1), 'R4' (1), 'R5' (1), 'too late' (1);" in text


def test_check_says_nothing_of_causes_where_all_is_said(tmp_path):
    tables = small_tables()
    tables["cancellations"]["reason"] = None
    text = check_text(tmp_path, tables)
    assert "1 known: 1 by customers, 0 by us, 0 only changes" in text
    assert "nothing says whose" not in text
    assert "does not map" not in text
    tables["cancellations"] = tables["cancellations"].iloc[:0]
    assert "Cancellations:" not in check_text(tmp_path / "none", tables)


@pytest.mark.parametrize("n_days", [30, 41, 42, 100, 200, 500, 729, 800])
def test_check_says_how_many_days_the_customer_models_will_rehearse(n_days):
    tried, text = rehearsal(simulated_book(60, n_days).panel), _value(n_days)
    if tried is None:
        assert "too few to look back and forward" in text
    else:
        assert f"a rehearsal of {tried.days} days confirms" in text
