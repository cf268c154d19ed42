-- One row per date told for an inbound line and, where goods came while it stood, per day that they came: the first
-- expected date and every slip, with what was received so far.
with days as (
    select po_line_id, received_on, sum(quantity) as part_quantity from known_receipts group by po_line_id, received_on
),
came as (
    select po_line_id, min(received_on) as first_received_on, sum(part_quantity) as received_quantity
    from days group by po_line_id
),
told as (
    -- A date ten years off is none: ERPs write 9999-12-31 for "not known".
    select po_line_id, told_on, case when date_diff('day', told_on, expected_on) between -3650 and 3650 then expected_on end
               as expected_on, told_at,
           row_number() over (partition by po_line_id order by told_at, expected_on) = 1 as is_first,
           lag(told_on) over (partition by po_line_id order by told_at desc, expected_on desc) as next_told_on
    from known_expected_dates
),
-- What came before the first date was told came while nothing else stood.
stood as (
    select t.po_line_id, t.told_on, t.expected_on, t.told_at, d.received_on, d.part_quantity
    from told t
    left join days d on d.po_line_id = t.po_line_id and (t.is_first or d.received_on >= t.told_on)
         and (t.next_told_on is null or d.received_on < t.next_told_on)
),
rows_told as (
    select stood.*,
           row_number() over (partition by po_line_id order by told_at desc, expected_on desc, received_on desc) = 1
               as is_latest
    from stood
)
select p.po_line_id, p.supplier_id, p.product_id, p.warehouse_id, p.for_order_line_id, p.kind, t.told_on, t.expected_on,
       p.ordered_on, t.received_on, t.part_quantity, c.first_received_on, p.quantity,
       coalesce(c.received_quantity, 0.0) as received_quantity, t.is_latest
from known_purchase_orders p
join rows_told t on t.po_line_id = p.po_line_id
left join came c on c.po_line_id = p.po_line_id
order by p.po_line_id, t.told_on, t.expected_on, t.received_on
