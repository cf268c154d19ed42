-- One row per supplier with a receipt: how late its goods came, against the first date told.
with first_dates as (
    select po_line_id, min_by(expected_on, told_at) as expected_on from known_expected_dates group by po_line_id
),
arrivals as (
    select p.supplier_id, p.po_line_id, min(r.received_on) as received_on
    from known_purchase_orders p join known_receipts r on r.po_line_id = p.po_line_id
    where p.supplier_id is not null
    group by p.supplier_id, p.po_line_id
)
select a.supplier_id,
       cast(count(*) as double) as supplier_n_receipts,
       avg(cast(date_diff('day', d.expected_on, a.received_on) as double)) as supplier_mean_delay_days,
       avg(cast(a.received_on > d.expected_on as double)) as supplier_late_share
from arrivals a join first_dates d on d.po_line_id = a.po_line_id
group by a.supplier_id
