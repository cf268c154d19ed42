"""What became of the lines that a look back saw waiting, cut into stretches in which nothing but time changed.

A look reads every feature of every waiting line. Until the next look a line's own state is followed morning by
morning: a date told, a part shipped or cancelled ends its stretch, and the next one begins at the first morning that
knows of it. What the line's customer and product have done since, and the goods that came, stay as the look saw them.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import duckdb
import pandas as pd

from erp.known import Facts, last_due_day, local_day
from features.feature_tables import fetch, prepare

DAY = timedelta(days=1)
# Columns of `backorder_lines` read anew at the start of every stretch; the waits and lateness follow from them.
STATE = (
    "due_on",
    "promised_on",
    "latest_promised_on",
    "n_slips",
    "open_quantity",
    "is_partly_shipped",
    "line_value",
    "line_margin",
)


def look_back(
    connection: duckdb.DuckDBPyConnection, facts: Facts, moments: Sequence[datetime], until: datetime
) -> pd.DataFrame:
    """Open back-ordered lines at past moments and how each stretch of their waiting ended.

    Parameters
    ----------
    moments : looks, oldest first, whole days apart; each watches until the next one
    until : when the last one stops watching, whole days later

    Returns
    -------
    One row per line and stretch: columns of `backorder_lines`, `at_risk_days`, `ended_by`, `cancelled_share`, see
    `features.samples.cancellation_samples`; sorted by start and line.
    """
    _note_outcomes(connection, facts)
    prepare(connection, facts, moments[0] if moments else facts.as_of, "backorder_lines")
    times = "timestamp '1900-01-01' as look_at, timestamp '1900-01-01' as until_at"
    connection.execute(f"create or replace temp table looks as select *, {times} from backorder_lines where false")
    for moment, end in pairwise([*moments, until]):
        prepare(connection, facts, moment, "backorder_lines")
        connection.execute(f"insert into looks select *, timestamp '{moment}', timestamp '{end}' from backorder_lines")
    _note_mornings(connection, facts, moments, until)
    for name, statement in (("line_mornings", _LINE_MORNINGS), ("states", _STATES), ("stretches", _STRETCHES)):
        connection.execute(f"create or replace temp table {name} as {statement}")
    return fetch(connection, _SAMPLES)


def _note_outcomes(connection: duckdb.DuckDBPyConnection, facts: Facts) -> None:
    """Keep what is known at T: when and by what each line ended, and what its customer cancelled."""
    prepare(connection, facts, facts.as_of, "known_lines")
    connection.execute(f"create or replace temp table line_ends as {_LINE_ENDS}")
    connection.execute(
        "create or replace temp table given_up as select * from cancellation_causes where cause = 'customer'"
    )


def _note_mornings(
    connection: duckdb.DuckDBPyConnection, facts: Facts, moments: Sequence[datetime], until: datetime
) -> None:
    """Keep the mornings between looks: what became known up to `morning_at` counts from `starts_at` on."""
    first = moments[0] if moments else until
    every = [first + DAY * k for k in range((until - first).days + 1)]
    days = [local_day(morning, facts.site) for morning in every]
    rows = []
    for k, (morning, day) in enumerate(zip(every, days, strict=True)):
        # When clocks are put back, two mornings shortly before midnight can fall on one day: the later one starts none.
        starts_at, starts_on = (morning, day) if k == 0 or day > days[k - 1] else (morning + DAY, day + DAY)
        rows.append((morning, starts_at, starts_on, last_due_day(starts_on, facts.site)))
    connection.execute(
        "create or replace temp table mornings"
        " (morning_at timestamp, starts_at timestamp, starts_on date, last_due_on date)"
    )
    connection.executemany("insert into mornings values (?, ?, ?, ?)", rows)


_LINE_ENDS = """
select k.order_line_id, k.ended_at, k.ended_by, bool_or(e.is_day_only) as is_day_only
from known_lines k
join (select order_line_id, happened_at, is_day_only from known_shipments
      union all select order_line_id, happened_at, is_day_only from known_cancellations) e
    on e.order_line_id = k.order_line_id and e.happened_at = k.ended_at
where k.has_ended group by all
"""

# One row per line, look and morning before the next look on which something new is known of the line.
_LINE_MORNINGS = """
with news as (
    select order_line_id, known_at from history_told_dates
    union all select order_line_id, known_at from history_shipments
    union all select order_line_id, known_at from history_cancellations
    union all select order_line_id, known_at from history_order_lines
    union all select order_line_id, known_at from history_reservations where is_versioned
)
select distinct l.order_line_id, l.look_at, l.until_at, m.starts_at, m.starts_on, m.last_due_on
from looks l
join news n on n.order_line_id = l.order_line_id and n.known_at > l.look_at and n.known_at <= l.until_at
join mornings m on m.morning_at
    = l.look_at + to_days(cast(ceil(date_diff('microsecond', l.look_at, n.known_at) / 8.64e10) as integer))
where m.starts_at < l.until_at
"""

# One row per line and start: its state then, as told_dates.sql, known_lines.sql and backorder_lines.sql tell it.
_STATES = """
with told as (
    select order_line_id, known_at, promised_on, row_number() over so_far as nth,
           lag(promised_on) over so_far as before_on
    from history_told_dates where order_line_id in (select order_line_id from line_mornings)
    window so_far as (partition by order_line_id order by known_at, promised_on)
),
dates as (
    select m.order_line_id, m.starts_at, arg_min(t.promised_on, t.nth) as first_promised_on,
           arg_max(t.promised_on, t.nth) as latest_promised_on,
           count(*) filter (where t.promised_on > t.before_on) as n_later_dates
    from line_mornings m join told t on t.order_line_id = m.order_line_id and t.known_at <= m.starts_at
    group by m.order_line_id, m.starts_at
),
gone as (
    select m.order_line_id, m.starts_at, sum(e.quantity) filter (where e.kind = 'shipped') as shipped_quantity,
           sum(e.quantity) filter (where e.kind = 'cancelled') as cancelled_quantity,
           sum(e.quantity) filter (where e.kind = 'firm') as firm_quantity
    from line_mornings m
    join (select order_line_id, quantity, known_at, superseded_at, 'shipped' as kind from history_shipments
          where not is_deleted
          union all
          select order_line_id, quantity, known_at, superseded_at, 'cancelled' from history_cancellations
          where not is_deleted
          union all
          select order_line_id, quantity, known_at, superseded_at, 'firm' from history_reservations
          where not is_deleted and is_firm and is_versioned) e
        on e.order_line_id = m.order_line_id and e.known_at <= m.starts_at
       and (e.superseded_at is null or e.superseded_at > m.starts_at)
    group by m.order_line_id, m.starts_at
),
-- Materialized: else every product is compared with every morning first.
ordered as materialized (
    select m.*, l.root_id, l.product_id, l.due_on as own_due_on, l.promised_on as promised_with_order_on, l.quantity,
           l.unit_price
    from line_mornings m
    join history_order_lines l on l.order_line_id = m.order_line_id and l.known_at <= m.starts_at
         and (l.superseded_at is null or l.superseded_at > m.starts_at)
),
lines as (
    select o.*, coalesce(r.due_on, o.own_due_on) as due_on, p.unit_cost,
           o.quantity - coalesce(g.shipped_quantity, 0.0) - coalesce(g.cancelled_quantity, 0.0)
               - coalesce(g.firm_quantity, 0.0) as open_quantity,
           coalesce(g.shipped_quantity, 0.0) as shipped_quantity
    from ordered o
    join history_products p on p.product_id = o.product_id and p.known_at <= o.starts_at
         and (p.superseded_at is null or p.superseded_at > o.starts_at)
    left join history_root_lines r on r.root_id = o.root_id and r.known_at <= o.starts_at
         and (r.superseded_at is null or r.superseded_at > o.starts_at)
    left join gone g on g.order_line_id = o.order_line_id and g.starts_at = o.starts_at
),
open_lines as (
    select * replace (case when open_quantity > 1e-9 * quantity and due_on <= last_due_on then open_quantity
                           else 0.0 end as open_quantity)
    from lines
)
select l.order_line_id, l.look_at, l.until_at, l.starts_at, l.starts_on, l.due_on,
       coalesce(l.promised_with_order_on, d.first_promised_on) as promised_on,
       coalesce(d.latest_promised_on, l.promised_with_order_on) as latest_promised_on,
       cast(coalesce(d.n_later_dates, 0) + case when d.first_promised_on > l.promised_with_order_on then 1 else 0 end
            as double) as n_slips,
       l.open_quantity, cast(l.shipped_quantity > 0 as double) as is_partly_shipped,
       l.open_quantity * l.unit_price as line_value, l.open_quantity * (l.unit_price - l.unit_cost) as line_margin
from open_lines l left join dates d on d.order_line_id = l.order_line_id and d.starts_at = l.starts_at
"""

_STATE = ", ".join(STATE)

# One row per stretch: where the state differs from the one before, from then until it differs again or the next look.
_STRETCHES = f"""
with every as (
    select order_line_id, look_at, until_at, look_at as starts_at, cutoff_on as starts_on, {_STATE} from looks
    union all
    select order_line_id, look_at, until_at, starts_at, starts_on, {_STATE} from states
),
changed as (
    select * from every
    window so_far as (partition by order_line_id, look_at order by starts_at)
    qualify row({_STATE}) is distinct from lag(row({_STATE})) over so_far
),
closed as (
    select *, coalesce(lead(starts_at) over so_far, until_at) as ends_at from changed
    window so_far as (partition by order_line_id, look_at order by starts_at)
)
select * from closed where open_quantity > 0
"""


def _days_on(time: str, is_day_only: str) -> str:
    """SQL of the days from a stretch's start to a time.

    What is known by its day alone counts half of the 24 hours in which that day ends; what happens on the very morning
    that ends a stretch still belongs to it, and so to the bin before that morning.
    """
    days = f"(date_diff('microsecond', s.starts_at, {time}) / 8.64e10)"
    return f"case when {is_day_only} then ceil({days}) - 0.5 else least({days}, ceil({days}) - 1e-9) end"


_SAMPLES = f"""
with given as (
    select s.order_line_id, s.starts_at, s.open_quantity, g.happened_at, g.quantity,
           {_days_on("g.happened_at", "g.is_day_only")} as days
    from stretches s
    join given_up g on g.order_line_id = s.order_line_id and g.happened_at > s.starts_at and g.happened_at <= s.ends_at
),
-- All that the customer gave up in the 24 hours of the first such word: one event of one bin.
first_given as (
    select order_line_id, starts_at, min(days) as days, min(happened_at) as happened_at,
           least(sum(quantity) filter (where ceil(days) = ceil(first_days)) / any_value(open_quantity), 1.0) as share
    from (select *, min(days) over (partition by order_line_id, starts_at) as first_days from given)
    group by order_line_id, starts_at
),
watched as (
    select s.*, e.ended_at <= s.ends_at as has_ended, e.ended_by as line_ended_by,
           {_days_on("e.ended_at", "e.is_day_only")} as days_to_end, g.days as days_to_given, g.share,
           g.days is not null and coalesce(e.ended_by = 'customer' or g.happened_at < e.ended_at, true) as is_given
    from stretches s
    left join line_ends e on e.order_line_id = s.order_line_id
    left join first_given g on g.order_line_id = s.order_line_id and g.starts_at = s.starts_at
    -- What happened before the start and was recorded after it: the line was no longer the one that the start shows.
    where coalesce(e.ended_at > s.starts_at, true) and not exists (
        select 1 from given_up b where b.order_line_id = s.order_line_id
        and b.happened_at <= s.starts_at and b.known_at > s.starts_at)
)
select l.* exclude (look_at, until_at)
       replace (w.starts_on as cutoff_on, {", ".join(f"w.{name} as {name}" for name in STATE)},
                date_diff('day', w.due_on, w.starts_on) as waited_days,
                cast(date_diff('day', w.promised_on, w.starts_on) as double) as days_late,
                cast(date_diff('day', w.latest_promised_on, w.starts_on) as double) as days_past_latest),
       case when is_given then days_to_given when has_ended then days_to_end
            else cast(date_diff('day', w.starts_at, w.ends_at) as double) end as at_risk_days,
       case when is_given then 'customer' when has_ended then line_ended_by end as ended_by,
       case when is_given then share else 0.0 end as cancelled_share
from watched w join looks l on l.order_line_id = w.order_line_id and l.look_at = w.look_at
order by w.starts_at, w.order_line_id
"""
