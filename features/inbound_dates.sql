-- One row per date told for an inbound line: the first expected date and every slip, with what was received so far.
with came as (
    select po_line_id, min(received_on) as first_received_on, sum(quantity) as received_quantity
    from known_receipts group by po_line_id
),
told as (
    select po_line_id, told_on, expected_on,
           row_number() over (partition by po_line_id order by told_at desc, expected_on desc) = 1 as is_latest
    from known_expected_dates
)
select p.po_line_id, p.supplier_id, p.product_id, p.warehouse_id, p.for_order_line_id, p.kind, t.told_on, t.expected_on,
       p.ordered_on, c.first_received_on, p.quantity, coalesce(c.received_quantity, 0.0) as received_quantity, t.is_latest
from known_purchase_orders p
join told t on t.po_line_id = p.po_line_id
left join came c on c.po_line_id = p.po_line_id
order by p.po_line_id, t.told_on, t.expected_on
