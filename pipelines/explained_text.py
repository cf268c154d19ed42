"""The facts of `pipelines.explained_line` as a planner reads them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.queue_report import counted

Facts = Mapping[str, Any]

SHOWN = 4  # inputs of risk and value; displaced and served lines: twice as many
TERMS = {
    "loss_cancel": "this order's margin",
    "loss_future_orders": "the customer's later orders",
    "loss_service": "late penalties",
    "loss_later_goods": "later goods that others then lack",
}
LEVERS = {
    "loss_if_waits": "its loss by waiting",
    "lifetime_value": "its customer's margin over the next 365 days",
    "line_margin": "its own margin",
}
LIFTED = {
    "own pin": "without its pin",
    "own hold": "if its hold were lifted",
    "own exclude": "if its exclusion were lifted",
    "own credit hold": "if its customer's credit hold were lifted",
    "group elsewhere": "if the lines of its ship group that are not due yet could ship, too",
    "ship group": "if it did not ship together with its group",
    "ships whole": "if it might be split",
    "shipment cost": "if an extra shipment cost nothing",
    "last plan": "if no line kept what the last queue gave it",
    "longest wait": "without the rule of the longest wait",
    "pins": "without the pins",
    "holds": "if the holds were lifted",
    "exclusions": "if the exclusions were lifted",
    "credit hold": "if the credit holds were lifted",
    "all rules": "only if all rules, pins and holds were lifted at once",
}
MOVED = {
    "expected_on": "the expected day",
    "expected_latest_on": "the latest day",
    "promise_on": "the date to tell",
    "next_inbound_on": "the next goods",
}


def explained_text(facts: Facts) -> str:
    """What `explained` says, line by line."""
    parts = (_head, _loss, _goods, _would_ship, _risk, _value, _dates)
    return "\n".join(text for part in parts for text in part(facts))


def _head(facts: Facts) -> Iterator[str]:
    line, place = facts["line"], facts["place"]
    who = line["customer_name"] or line["customer_id"] or "anonymous"
    rank = f"rank {place['rank']} of {facts['n_lines']}"
    yield f"{line['order_line_id']}: {place['action']}, {rank} as of {facts['as_of']}"
    units = counted(facts["goods"]["open_quantity"], "unit")
    yield f"  {who}, {units} of {line['product_name'] or line['product_id']} from {line['warehouse_id']}"
    yield f"  {place['reason']}"
    if place["changed_because"]:
        before = (
            f"rank {place['previous_rank']} in the last queue" if place["previous_rank"] else "not in the last queue"
        )
        yield f"  {before}: {place['changed_because']}"
    if place["assumed"]:
        yield f"  assumed, not measured: {place['assumed']}"


def _loss(facts: Facts) -> Iterator[str]:
    loss, currency = facts["loss"], facts["currency"]
    yield ""
    yield f"Lost if it waits: {_money(loss['loss_if_waits'])} {currency}, {_money(loss['per_unit'])} per unit"
    for term, words in TERMS.items():
        yield f"  {_money(loss[term]):>12}  {words}"
    yield f"  against being served by {_receipt(loss['waits_for_receipt'])}, where it loses least"


def _receipt(nth: int) -> str:
    """The later chance to be served.

    >>> print(_receipt(1), _receipt(3), sep="; ")
    the pool's next receipt; the pool's receipt number 3 from now
    """
    if nth == 0:
        return "goods meant for it alone, or never"
    return "the pool's next receipt" if nth == 1 else f"the pool's receipt number {nth} from now"


def _goods(facts: Facts) -> Iterator[str]:
    goods, place, currency = facts["goods"], facts["place"], facts["currency"]
    yield ""
    yield (
        f"Goods: gets {_units(goods['ship_now_quantity'])} of {counted(goods['open_quantity'], 'unit')};"
        f" {_units(goods['available_now'])} here, place {place['pool_rank']} of {place['pool_size']} for them"
    )
    if goods["stock_price"]:
        price = f"{_money(goods['stock_price'])} {currency}"
        yield f"  price of a unit here: {price}, lost per unit by the best line left without"
    else:
        yield "  goods here have no price: some are left, or nobody loses by waiting"
    if goods["last_served_loss_per_unit"] is not None:
        yield f"  the last one served loses {_money(goods['last_served_loss_per_unit'])} {currency} per unit by waiting"
    says = "also has" if goods["ship_now_quantity"] else "goes to"
    for each in goods["served"][: 2 * SHOWN]:
        price = f"{_money(each['loss_per_unit'])} {currency} per unit"
        yield f"  {says} {each['order_line_id']}: {counted(each['units'], 'unit')} ({price}; {each['said']})"
    yield from _and_more(goods["served"], 2 * SHOWN, "line", "that have goods")


def _would_ship(facts: Facts) -> Iterator[str]:
    said = [*_needs(facts), *_keeps(facts)]
    if said:
        yield ""
        yield "What would change that (each tried by giving the goods out again, all else as it is):"
        yield from said


def _needs(facts: Facts) -> Iterator[str]:
    found, currency = facts["would_ship"], facts["currency"]
    for least in found["levers"]:
        yield f"  {_least(least, found, currency)}"
    for each in found["missing"]:
        yield f"  {_missing(each, found)}"
    if found["is_enough"] is False and len(found["missing"]) > 1:
        yield "  even with all these units other lines would have them before its group"
    for each in found["lifted"]:
        yield f"  {_lifted(each)}: {_units(each['units'])} instead of {counted(found['units'], 'unit')}"
    if found["pin"]:
        yield from _pin(found["pin"], currency)


def _least(least: Facts, found: Facts, currency: str) -> str:
    what = LEVERS[least["name"]]
    now = f"now {_money(least['now'])}"
    if least["least"] is None:
        return f"no amount of {what} is enough ({now})"
    gets = "it ships" if least["units"] >= found["wanted"] else f"it gets {counted(least['units'], 'unit')}"
    amount = f"{_money(least['least'])} {currency}"
    if least["per_unit"] is None:  # worth more it may get later goods sooner, and its loss then rises by less
        return f"for that {what} must be at least {amount}, perhaps more ({now})"
    return f"{gets} if {what} is at least {amount}, {_money(least['per_unit'])} per unit ({now})"


def _missing(each: Facts, found: Facts) -> str:
    pool = f"{each['product_id']} in {each['warehouse_id']}"
    if each["missing"] is None:
        return f"no number of units of {pool} is enough"
    if len(found["missing"]) == 1 and found["is_enough"]:
        units = counted(each["missing"], "more unit")
        return f"at today's losses by waiting it ships in full with {units} of {pool}"
    return f"missing for its group: {counted(each['missing'], 'unit')} of {pool}"


def _lifted(each: Facts) -> str:
    if each["rule"] in LIFTED:
        return LIFTED[each["rule"]]
    return f"without the {each['rule']} of segment {each['segment']}"


def _pin(pin: Facts, currency: str) -> Iterator[str]:
    verb = "costs" if pin["cost"] >= 0 else "saves"
    money = f"{_money(abs(pin['cost']))} {currency}"
    ends = ":" if pin["displaced"] else ""
    yield f"  a pin gives it {counted(pin['units'], 'unit')} and {verb} {money} in all, now and at later receipts{ends}"
    for each in pin["displaced"][: 2 * SHOWN]:
        verb = "loses" if each["units"] > 0 else "gains"
        price = f"{_money(each['loss_per_unit'])} {currency} per unit"
        yield f"    {each['order_line_id']} {verb} {counted(abs(each['units']), 'unit')} ({price})"
    yield from (f"  {text}" for text in _and_more(pin["displaced"], 2 * SHOWN, "line", "whose goods change"))


def _keeps(facts: Facts) -> Iterator[str]:
    found, goods = facts["would_ship"], facts["goods"]
    if not goods["ship_now_quantity"]:
        return
    has = counted(goods["ship_now_quantity"], "unit")
    least = found["keeps_down_to"]
    if facts["place"]["override"] == "pin":
        yield f"  it keeps its {has} whatever it loses by waiting: it is pinned"
    elif least is None:
        yield f"  it keeps its {has} whatever it loses by waiting"
    else:
        per_unit = f"{_money(least / goods['open_quantity'])} per unit"
        yield f"  it keeps its {has} as long as its loss by waiting is at least {_money(least)} ({per_unit})"


def _risk(facts: Facts) -> Iterator[str]:
    risk = facts["risk"]
    yield ""
    yield f"Cancels within 14 days if nobody ships: {risk['p_cancel_14d']:.1%}{_usual(risk, 'lines', '{:.1%}')}"
    yield from _moved_by(risk["moved_by"], lambda added: f"{100 * added:+.1f} points")


def _value(facts: Facts) -> Iterator[str]:
    value, currency = facts["value"], facts["currency"]
    yield ""
    if not value["moved_by"] and facts["line"]["customer_id"] is None:
        yield "The customer's margin over the next 365 days: 0, as nobody is named"
        return
    low, high = value["lifetime_value_low"], value["lifetime_value_high"]
    between = f" (nine of ten such customers: {_money(low)} to {_money(high)})" if low is not None else ""
    yield f"The customer's margin over the next 365 days: {_money(value['lifetime_value'])} {currency}{between}"
    if value["usual"] is not None:
        yield f"  {_usual(value, 'customers who wait', '{:,.2f}').removeprefix('; ')}"
    yield from _moved_by(value["moved_by"], lambda added: f"{added:+,.2f} {currency}")


def _usual(said: Facts, whose: str, form: str) -> str:
    if said["usual"] is None:
        return "; nothing to compare it with this morning"
    return f"; usual this morning {form.format(said['usual'])} (mean of {said['n_others']:,} other {whose})"


def _moved_by(rows: Sequence[Facts], amount: Any) -> Iterator[str]:
    for row in rows[:SHOWN]:
        yield f"  {amount(row['adds']):>16}  {row['inputs']}: {row['own']}"
    rest = rows[SHOWN:]
    if rest:
        yield f"  {amount(sum(row['adds'] for row in rest)):>16}  {', '.join(row['inputs'] for row in rest)}"


def _dates(facts: Facts) -> Iterator[str]:
    dates = facts["dates"]
    yield ""
    yield f"Dates: waited {counted(dates['waited_days'], 'day')} since the requested day or the order day"
    yield f"  {_promised(dates)}"
    yield f"  {_expected(facts)}"
    yield from _to_tell(facts)
    if dates["next_inbound_on"]:
        of = f" ({dates['next_inbound_po_line_id']})" if dates["next_inbound_po_line_id"] else ""
        yield f"  next goods {dates['next_inbound_on']}{of}"
    for move in dates["moved"]:
        yield f"  {_moved(move)}"
    if dates["is_in_last_queue"] and not dates["moved"]:
        yield "  no date moved since the last queue"


def _promised(dates: Facts) -> str:
    if dates["promised_on"] is None:
        return "no date promised"
    days = dates["days_late"]
    if days == 0:
        return f"promised {dates['promised_on']}, which is today"
    off = f"{counted(days, 'day')} late" if days > 0 else f"{counted(-days, 'day')} before it"
    told = f"; last told on {dates['promise_told_on']}" if dates["promise_told_on"] else ""
    return f"promised {dates['promised_on']}, {off}{told}"


def _expected(facts: Facts) -> str:
    """When the line ships in full, and whether that may be told to the customer."""
    dates, action = facts["dates"], facts["place"]["action"]
    if action == "ship":
        return f"expected {dates['expected_on']}: it ships now"
    if action == "hold":
        return "no date expected: the line is held"
    if dates["expected_on"] is None:
        return "no date known: more likely than not nothing comes within the horizon"
    if "no inbound" in (facts["place"]["assumed"] or ""):
        return f"no date known; {dates['expected_on']} is assumed: do not promise it"
    latest = dates["expected_latest_on"] or "beyond the horizon"
    return f"expected {dates['expected_on']}, at the latest (promise quantile) {latest}"


def _to_tell(facts: Facts) -> Iterator[str]:
    """The date to tell the customer, its chance, and why it is not the one told last."""
    dates = facts["dates"]
    if facts["place"]["action"] == "hold":
        return
    why = f" ({dates['promise_changed_because']})" if dates["promise_changed_because"] else ""
    if dates["promise_on"] is None:
        yield f"  no date can be told{why}"
        return
    chance = dates["promise_chance"]
    met = "told before; its chance is not known" if chance is None else f"met with a chance of {chance:.0%}"
    yield f"  date to tell {dates['promise_on']}, {met}{why}"


def _moved(move: Facts) -> str:
    what = MOVED[move["name"]]
    if move["days"] is None:
        way = f"{move['before'] or 'unknown'} to {move['now'] or 'unknown'}"
    else:
        way = f"{counted(abs(move['days']), 'day')} {'later' if move['days'] > 0 else 'sooner'} ({move['now']})"
    return f"since the last queue {what} moved {way}: {move['because']}"


def _and_more(rows: Sequence[object], shown: int, noun: str, which: str) -> Iterator[str]:
    if len(rows) > shown:
        yield f"  and {counted(len(rows) - shown, f'more {noun}')} {which}"


def _money(amount: float) -> str:
    return f"{amount:,.2f}"


def _units(number: float) -> str:
    return f"{number:,.10g}"
