import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from erp.ledger import Ledger, LedgerError
from erp.outbox import Outbox
from erp.queue_files import PublishError
from erp.settings import Site
from pipelines import command
from pipelines.delivery import apply, settle_unknown, undo
from tests.pipelines.shelf import KilledError, T, lines_of, publish_queue

QUEUE = lines_of(("a", 5, "2026-03-09", 90), ("b", 0, "2026-03-20", 40), ("c", 1, "2026-03-09", 30), ("d", 0, None, 2))
NEXT = lines_of(("b", 2, "2026-03-10", 45), ("a", 0, "2026-03-12", 20), ("e", 3, "2026-03-10", 10))
LATER = T + timedelta(days=1)


@pytest.fixture
def site(tmp_path):
    return Site(store=str(tmp_path / "store"), destination={"kind": "shelf"}, apply="auto", apply_max_money=1e6)


def published(site, queue=QUEUE, as_of=T, **how):
    return publish_queue(Path(site.store), as_of, queue, **how)


def says(queue):
    """What the shelf says once the queue is written there, stated from the queue itself."""
    rows = queue.assign(promise_on=queue["promise_on"].dt.strftime("%Y-%m-%d")).astype(object)
    rows = rows.where(rows.notna(), None).set_index("order_line_id")[
        ["rank", "ship_now_quantity", "promise_on", "reason"]
    ]
    return rows.to_dict("index")


def state(site):
    return Ledger(Path(site.store)).runs()[0]["state"]


def test_ask_shows_the_changes_and_writes_nothing(shelf, site):
    published(site)
    shown = apply(replace(site, apply="ask"))
    assert (shown.ending, len(shown.plan.changes), shelf.lines, state(site)) == ("shown", 4, {}, "published")


def test_what_was_shown_is_written_once_it_is_approved(shelf, site):
    published(site)
    asks = replace(site, apply="ask")
    written = apply(asks, approve=apply(asks).plan.code, who="Ada")
    assert (written.ending, shelf.lines, state(site)) == ("written", says(QUEUE), "confirmed")


def test_an_approval_of_something_else_than_what_would_be_written_is_refused(shelf, site):
    published(site)
    asks = replace(site, apply="ask")
    code = apply(asks).plan.code
    shelf.lines["b"] = {"rank": 7, "ship_now_quantity": 1.0, "promise_on": None, "reason": "typed by hand"}
    with pytest.raises(LedgerError, match=rf"not {code}: the destination or the queue changed since"):
        apply(asks, approve=code)
    assert shelf.n_written == 0


def test_a_second_apply_writes_nothing(shelf, site):
    published(site)
    apply(site)
    again = apply(site)
    assert (again.ending, again.plan.n_same, shelf.n_written) == ("nothing to write", 4, 4)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"apply_max_lines": 2}, "the goods of 3 lines change, apply_max_lines is 2"),
        ({"apply_max_slip_days": 2}, "a date is put off by 3 days, apply_max_slip_days is 2"),
        ({"apply_max_money": 74.99}, "75.00 of loss_if_waits move, apply_max_money is 74.99"),
    ],
)
def test_auto_stops_at_each_limit_and_writes_at_it(limits, said, shelf, site):
    published(site)
    apply(site)
    published(site, NEXT, LATER)  # a loses 5 units and is put off by 3 days, b gets 2, e is new with 3: 20 + 45 + 10
    refused = apply(replace(site, **limits))
    assert (refused.ending, refused.beyond, shelf.lines) == ("refused", (said,), says(QUEUE))
    exactly = {name: {2: 3, 74.99: 75.0}.get(limit, limit) for name, limit in limits.items()}
    assert apply(replace(site, **exactly)).ending == "written"
    assert shelf.lines == says(NEXT)


@pytest.mark.parametrize("other", ["an older copy of the ledger", "another store"])
def test_auto_does_not_write_over_a_delivery_that_the_ledger_does_not_know(other, shelf, site):
    site = replace(site, apply_max_slip_days=99)
    store = Path(site.store)
    published(site)
    if other == "another store":
        elsewhere = replace(site, store=str(store.parent / "another"))
        published(elsewhere, NEXT, LATER)
        apply(elsewhere)
    else:
        shutil.copytree(store, store.parent / "copy")
        published(site, NEXT, LATER)
        apply(site)
        shutil.rmtree(store)
        (store.parent / "copy").rename(store)
    refused = apply(site)
    assert (refused.ending, len(refused.beyond), shelf.lines) == ("refused", 1, says(NEXT))
    assert "stands there that this store's ledger does not know" in refused.beyond[0]
    approved = apply(site, approve=refused.plan.code)
    assert (approved.ending, shelf.lines) == ("written", says(QUEUE))
    assert apply(site).ending == "nothing to write"


def test_auto_does_not_take_out_most_lines_of_a_destination_at_once(shelf, site):
    published(site)
    apply(site)
    published(site, QUEUE.iloc[:1], LATER)
    few = replace(site, apply_max_lines=2)
    assert apply(few).beyond == ("3 of 4 lines are taken out, more than apply_max_lines and more than half",)
    assert shelf.lines == says(QUEUE)
    assert apply(replace(site, apply_max_lines=3)).ending == "written"


def test_a_line_that_left_the_queue_is_taken_out_and_undo_brings_all_back(shelf, site):
    published(site)
    apply(site)
    before = json.dumps(shelf.lines, sort_keys=True)
    published(site, NEXT, LATER)
    apply(site)
    assert shelf.lines == says(NEXT)
    undone = undo(site)
    assert (undone.ending, state(site)) == ("written", "published")
    assert json.dumps(shelf.lines, sort_keys=True) == before


def test_undo_leaves_alone_what_somebody_changed_since(shelf, site):
    published(site)
    apply(site)
    shelf.lines["a"]["rank"] = 99
    undone = undo(site)
    assert undone.plan.left_alone == {"a": "it was changed since; what it says now stays"}
    assert {line: values["rank"] for line, values in shelf.lines.items()} == {"a": 99}


def test_what_was_undone_can_be_applied_and_undone_again(shelf, site):
    published(site)
    for _ in range(2):
        apply(site)
        assert shelf.lines == says(QUEUE)
        undo(site)
        assert shelf.lines == {}


def test_only_the_last_applied_run_can_be_undone(shelf, site):
    first = published(site)
    apply(site)
    published(site, NEXT, LATER)
    apply(site)
    with pytest.raises(LedgerError, match="is not the last one at shelf: the run applied last is"):
        undo(site, first)


def test_a_line_that_was_picked_is_never_touched(shelf, site):
    published(site)
    apply(site)
    shelf.picked = {"a": "it is being picked"}
    published(site, NEXT, LATER)
    done = apply(site)
    assert (done.plan.left_alone, shelf.lines["a"]) == ({"a": "it is being picked"}, says(QUEUE)["a"])
    assert state(site) == "sent"  # not confirmed: the destination does not say all of the queue


def test_an_older_queue_than_the_newest_published_is_refused(shelf, site):
    older = published(site)
    published(site, NEXT, LATER)
    with pytest.raises(LedgerError, match="is not the newest published one"):
        apply(site, older)


def test_a_queue_that_was_never_published_is_refused(shelf, site):
    published(site)
    what_if = published(site, NEXT, LATER, is_published=False)
    with pytest.raises(LedgerError, match="is not the newest published one"):
        apply(site, what_if)


def test_a_queue_whose_file_was_changed_is_refused(shelf, site):
    published(site)
    next(Path(site.store).glob("runs/*/queue/queue.parquet")).write_bytes(b"forged")
    with pytest.raises(PublishError, match="queue.parquet differs from the manifest"):
        apply(site)


def test_lost_answers_are_asked_for_and_nothing_is_written_twice(shelf, site):
    published(site)
    shelf.lost = lambda item: True
    done = apply(site)
    assert (done.ending, shelf.n_written, shelf.lines) == ("written", 4, says(QUEUE))


def test_a_destination_that_cannot_be_asked_waits_for_a_persons_word(shelf, site):
    shelf.knows_keys = shelf.is_readable = False
    shelf.lost = lambda item: item.order_line_id == "b"
    published(site)
    for _ in range(2):  # however often it is tried, nothing is sent blindly
        assert apply(site).ending == "unfinished"
        assert shelf.n_written == 4
    assert apply(site, arrived=True).ending == "nothing to write"
    assert shelf.lines == says(QUEUE)


def test_what_a_person_says_did_not_arrive_is_sent_again(shelf, site):
    shelf.knows_keys = shelf.is_readable = False
    published(site)
    shelf.before = killed_at(2, "send")  # a arrived, b did not, nobody noted either; c and d were not begun
    with pytest.raises(KilledError):
        apply(site)
    shelf.before = lambda call: None
    assert apply(site).ending == "unfinished"
    assert apply(site, arrived=False).ending == "nothing to write"
    assert shelf.lines == says(QUEUE)


def killed_at(number, *calls):
    seen = []

    def before(call):
        if call in calls:
            seen.append(call)
            if len(seen) == number:
                raise KilledError

    return before


@pytest.mark.parametrize("number", range(1, 40))
def test_killed_at_any_point_the_next_apply_completes_it_and_writes_nothing_twice(number, shelf, site, monkeypatch):
    published(site)
    apply(site)
    published(site, NEXT, LATER)
    shelf.n_written, shelf.before = 0, killed_at(number, "held", "send", "sent", "ask", "write")
    write, write_all = Ledger.write, Ledger.write_all

    def watched(method):
        def written(*arguments):
            shelf.before("write")
            result = method(*arguments)
            shelf.before("write")
            return result

        return written

    monkeypatch.setattr(Ledger, "write", watched(write))
    monkeypatch.setattr(Ledger, "write_all", watched(write_all))
    try:
        apply(site)
        was_killed = False
    except KilledError:
        was_killed = True
    shelf.before = lambda call: None
    assert apply(site).ending == "nothing to write" or was_killed
    assert (shelf.lines, shelf.n_written) == (says(NEXT), 5)
    outbox = Outbox(Ledger(Path(site.store)))
    assert outbox.unfinished("shelf") is None
    assert state(site) == "confirmed"
    undo(site)
    assert shelf.lines == says(QUEUE)


def test_there_are_fewer_points_to_be_killed_at_than_are_tried(shelf, site, monkeypatch):
    published(site)
    apply(site)
    published(site, NEXT, LATER)
    calls = []
    shelf.before = calls.append
    for name in ("write", "write_all"):
        method = getattr(Ledger, name)

        def counted(*arguments, method=method):
            calls.extend(["write", "write"])
            return method(*arguments)

        monkeypatch.setattr(Ledger, name, counted)
    apply(site)
    assert 20 < len(calls) < 39


def test_what_an_older_run_did_not_come_to_is_never_sent_after_a_newer_queue(shelf, site):
    published(site)
    shelf.before = killed_at(3, "send")
    with pytest.raises(KilledError):
        apply(site)
    shelf.before = lambda call: None
    published(site, NEXT, LATER)
    done = apply(site)
    assert (done.ending, done.resumed, shelf.lines) == ("written", True, says(NEXT))
    assert "d" not in shelf.lines


@pytest.mark.parametrize("then", ["apply", "undo"])
def test_what_was_given_up_while_it_was_on_its_way_cannot_arrive_after_what_came_later(then, shelf, site):
    published(site)
    apply(site)
    published(site, NEXT, LATER)
    travelling = []

    def too_slow(item):  # the receiver does not know it when asked, and takes it hours later
        travelling.append(item)
        raise KilledError

    shelf.take, taken_in_time = too_slow, shelf.take
    with pytest.raises(KilledError):
        apply(site)
    shelf.take = taken_in_time
    if then == "apply":
        published(site, QUEUE, LATER + timedelta(days=1))  # what the shelf says already
        apply(site)
    else:
        undo(site)
    assert shelf.lines == says(QUEUE)
    shelf.take(travelling[0])
    assert shelf.lines == says(QUEUE)
    assert apply(site).ending == ("nothing to write" if then == "apply" else "written")


def test_undo_of_a_delivery_that_was_killed_does_not_finish_it_first(shelf, site):
    published(site)
    shelf.before = killed_at(3, "send")
    with pytest.raises(KilledError):
        apply(site)
    shelf.before = lambda call: None
    undo(site)
    assert (shelf.lines, shelf.n_written) == ({}, 2 + 4)  # two arrived; none of the four can arrive later


def test_settling_asks_and_sends_nothing(shelf, site):
    published(site)
    shelf.before = killed_at(2, "sent")
    with pytest.raises(KilledError):
        apply(site)
    shelf.before = lambda call: None
    assert settle_unknown(site) == {"asked": 4, "unknown": 0}
    assert shelf.n_written == 2
    assert settle_unknown(site) == {"asked": 0, "unknown": 0}


def test_a_destination_that_cannot_be_read_goes_by_what_it_accepted_last(shelf, site):
    shelf.is_readable = False
    published(site)
    apply(site)
    published(site, NEXT, LATER)
    apply(site)
    assert (shelf.lines, shelf.n_written) == (says(NEXT), 4 + 5)
    assert state(site) == "sent"  # confirmed is what was read back
    undo(site)
    assert shelf.lines == says(QUEUE)


def settings_of(site, tmp_path, how):
    path = tmp_path / "backorder.toml"
    path.write_text(f'store = "{site.store}"\napply = "{how}"\napply_max_lines = 2\n[destination]\nkind = "shelf"\n')
    return ["--settings", str(path), "--quiet"]


def test_the_command_exits_with_four_where_it_waits_and_names_the_command_that_approves(shelf, site, tmp_path, capsys):
    run_id = published(site)
    settings = settings_of(site, tmp_path, "ask")
    assert command.main(["apply", *settings, "--out", str(tmp_path / "changes")]) == 4
    said = capsys.readouterr().out
    approve = said.splitlines()[-1].removeprefix("to write exactly this: backorder ").split()
    assert approve[:2] == ["apply", run_id[:12]]
    assert command.main([*approve, *settings]) == 0
    assert "to take it back: backorder undo" in capsys.readouterr().out
    assert (tmp_path / "changes" / "changes.csv").read_text("utf-8-sig").splitlines()[1] == '"a","rank","","1"'
    assert shelf.lines == says(QUEUE)


def test_the_command_exits_with_one_beyond_a_limit_and_with_five_where_lines_were_not_taken(
    shelf, site, tmp_path, capsys
):
    published(site)
    assert command.main(["apply", *settings_of(site, tmp_path, "auto"), "--json"]) == 0
    published(site, NEXT, LATER)
    capsys.readouterr()
    assert command.main(["apply", *settings_of(site, tmp_path, "auto"), "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert (facts["ending"], facts["beyond"]) == ("refused", ["the goods of 3 lines change, apply_max_lines is 2"])

    def somebody_types(call):
        if call == "send" and "b" in shelf.lines:
            shelf.lines["b"]["rank"] = 50

    shelf.before = somebody_types
    approved = ["apply", *settings_of(site, tmp_path, "ask"), "--approve", facts["code"]]
    assert command.main(approved) == 5
    assert "  b: changed since it was read" in capsys.readouterr().out
