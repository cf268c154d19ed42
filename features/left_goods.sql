-- One row per order line that goods left or lie picked for, or of which something was cancelled: how much of it so far.
with moves as (
    select order_line_id, product_id, warehouse_id, quantity as shipped_quantity, 0.0 as picked_quantity,
           0.0 as withdrawn_quantity
    from known_shipments
    union all
    select order_line_id, product_id, warehouse_id, 0.0, quantity, 0.0 from known_firm_reservations
    union all
    select c.order_line_id, l.product_id, l.warehouse_id, 0.0, 0.0, c.quantity
    from known_cancellations c join known_order_lines l on l.order_line_id = c.order_line_id
)
select order_line_id, max(product_id) as product_id, max(warehouse_id) as warehouse_id,
       sum(shipped_quantity) as shipped_quantity, sum(picked_quantity) as picked_quantity,
       sum(withdrawn_quantity) as withdrawn_quantity
from moves
group by order_line_id
order by order_line_id
