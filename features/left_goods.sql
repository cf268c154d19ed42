-- One row per order line that goods left, lie picked or were received for, or of which something was cancelled: how much
-- of it so far. Shipments that carry days count from the start of their day.
with moves as (
    select order_line_id, product_id, warehouse_id, quantity as shipped_quantity, 0.0 as picked_quantity,
           0.0 as withdrawn_quantity, 0.0 as received_quantity, shipped_at as left_at
    from known_shipments
    union all
    select order_line_id, product_id, warehouse_id, 0.0, quantity, 0.0, 0.0, null from known_firm_reservations
    union all
    select c.order_line_id, l.product_id, l.warehouse_id, 0.0, 0.0, c.quantity, 0.0, null
    from known_cancellations c join known_order_lines l on l.order_line_id = c.order_line_id
    union all
    select l.order_line_id, l.product_id, l.warehouse_id, 0.0, 0.0, 0.0, r.quantity, null
    from known_receipts r
    join known_purchase_orders p on p.po_line_id = r.po_line_id
    join known_order_lines l on l.order_line_id = p.for_order_line_id
    where l.product_id = r.product_id and l.warehouse_id = r.warehouse_id
)
select order_line_id, max(product_id) as product_id, max(warehouse_id) as warehouse_id,
       sum(shipped_quantity) as shipped_quantity, sum(picked_quantity) as picked_quantity,
       sum(withdrawn_quantity) as withdrawn_quantity, sum(received_quantity) as received_quantity,
       max(left_at) as last_left_at
from moves
group by order_line_id
order by order_line_id
