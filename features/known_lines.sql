-- One row per order line: what was ordered, and what became of it so far. Only what the tables below add up: at every
-- past cut-off this is the widest table by far.
with shipped as (
    select order_line_id, sum(quantity) as quantity, max(shipped_on) as last_on, max(happened_at) as last_at
    from known_shipments group by order_line_id
),
cancelled as (
    select order_line_id, sum(quantity) as quantity, max(happened_at) as last_at, max(cancelled_on) as last_on,
           coalesce(max(happened_at) filter (where cause = 'seller'), timestamp '1900-01-01') as last_by_seller_at,
           coalesce(max(happened_at) filter (where cause = 'customer'), timestamp '1900-01-01') as last_by_customer_at
    from cancellation_causes group by order_line_id
),
returned as (
    select order_line_id, sum(quantity) as quantity from known_returns group by order_line_id
),
firm as (
    select order_line_id, sum(quantity) as quantity from known_firm_reservations group by order_line_id
),
lines as (
    select l.order_line_id, l.order_id, l.customer_id, c.account_id, l.product_id, l.ordered_on, l.due_on,
           coalesce(l.promised_on, t.first_promised_on) as promised_on,
           l.quantity, l.unit_price, coalesce(l.list_price, p.list_price) as list_price, p.unit_cost,
           coalesce(s.quantity, 0.0) as shipped_quantity, coalesce(r.quantity, 0.0) as returned_quantity,
           least(coalesce(x.quantity, 0.0), greatest(l.quantity - coalesce(s.quantity, 0.0), 0.0)) as cancelled_quantity,
           l.quantity - coalesce(s.quantity, 0.0) - coalesce(x.quantity, 0.0) as unserved_quantity,
           coalesce(f.quantity, 0.0) as firm_quantity,
           greatest(s.last_at, x.last_at) as last_event_at,
           greatest(s.last_on, x.last_on) as last_event_on,
           case when x.last_at is null or x.last_at < coalesce(s.last_at, x.last_at) then 'shipment'
                when x.last_by_seller_at = x.last_at then 'seller'
                when x.last_by_customer_at = x.last_at then 'customer'
                else 'change' end as last_event_by
    from known_order_lines l
    join known_products p on p.product_id = l.product_id
    left join known_customers c on c.customer_id = l.customer_id
    left join shipped s on s.order_line_id = l.order_line_id
    left join cancelled x on x.order_line_id = l.order_line_id
    left join returned r on r.order_line_id = l.order_line_id
    left join firm f on f.order_line_id = l.order_line_id
    left join told_dates t on t.order_line_id = l.order_line_id
),
-- Rounding of fractions leaves no line open: less than a billionth of what was ordered is nothing.
progress as (
    select lines.*, unserved_quantity <= 1e-9 * quantity as has_ended,
           case when unserved_quantity - firm_quantity > 1e-9 * quantity then unserved_quantity - firm_quantity else 0.0 end
               as open_quantity
    from lines
)
select order_line_id, order_id, customer_id, account_id, product_id, ordered_on, due_on, promised_on, quantity, unit_price,
       list_price, unit_cost, shipped_quantity, cancelled_quantity, returned_quantity, open_quantity, has_ended,
       case when has_ended then last_event_at end as ended_at,
       case when has_ended then last_event_by end as ended_by,
       greatest(date_diff('day', due_on, case when has_ended then last_event_on else today end), 0) as wait_days,
       case when has_ended then last_event_on else today end > promised_on as is_late,
       (quantity - cancelled_quantity - returned_quantity) * (unit_price - unit_cost) as net_margin,
       (quantity - cancelled_quantity - returned_quantity) * unit_price as net_amount
from progress cross join known_moment
