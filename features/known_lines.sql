-- One row per order line: what was ordered, and what became of it so far.
with shipped as (
    select order_line_id, sum(quantity) as quantity, max(shipped_on) as last_on, max(happened_at) as last_at
    from known_shipments group by order_line_id
),
cancelled as (
    select order_line_id, sum(quantity) as quantity, max(happened_at) as last_at, max(cancelled_on) as last_on,
           coalesce(max(happened_at) filter (where cancelled_by = 'seller'), timestamp '1900-01-01') as last_by_seller_at
    from known_cancellations group by order_line_id
),
returned as (
    select order_line_id, sum(quantity) as quantity from known_returns group by order_line_id
),
firm as (
    select order_line_id, sum(quantity) as quantity from known_firm_reservations group by order_line_id
),
dates_told as (
    select order_line_id, told_at, told_on, promised_on,
           lag(promised_on) over (partition by order_line_id order by told_at, promised_on) as promised_before_on
    from known_told_dates
),
told as (
    select order_line_id, min_by(promised_on, told_at) as promised_on, max_by(promised_on, told_at) as latest_promised_on,
           max(told_on) as promise_told_on, count(*) filter (where promised_on > promised_before_on) as n_slips
    from dates_told group by order_line_id
),
lines as (
    select l.order_line_id, l.order_id, l.root_id, l.customer_id, c.account_id, l.product_id, l.warehouse_id,
           l.ordered_at, l.ordered_on, l.due_on, l.requested_on, l.quantity, l.unit_price,
           coalesce(l.list_price, p.list_price) as list_price, p.unit_cost, p.unit_cost_is_assumed,
           l.may_split, l.ship_group, l.customer_reference, coalesce(l.channel, c.channel) as channel,
           t.promised_on, t.latest_promised_on, t.promise_told_on, coalesce(t.n_slips, 0) as n_slips,
           coalesce(s.quantity, 0.0) as shipped_quantity, coalesce(x.quantity, 0.0) as cancelled_quantity,
           coalesce(r.quantity, 0.0) as returned_quantity, s.last_on as last_shipped_on,
           greatest(l.quantity - coalesce(s.quantity, 0.0) - coalesce(x.quantity, 0.0) - coalesce(f.quantity, 0.0), 0.0)
               as open_quantity,
           l.quantity - coalesce(s.quantity, 0.0) - coalesce(x.quantity, 0.0) <= 0 as has_ended,
           greatest(s.last_at, x.last_at) as last_event_at,
           greatest(s.last_on, x.last_on) as last_event_on,
           case when x.last_at is null or x.last_at < coalesce(s.last_at, x.last_at) then 'shipment'
                when x.last_by_seller_at = x.last_at then 'seller'
                else 'customer' end as last_event_by
    from known_order_lines l
    join known_products p on p.product_id = l.product_id
    left join known_customers c on c.customer_id = l.customer_id
    left join shipped s on s.order_line_id = l.order_line_id
    left join cancelled x on x.order_line_id = l.order_line_id
    left join returned r on r.order_line_id = l.order_line_id
    left join firm f on f.order_line_id = l.order_line_id
    left join told t on t.order_line_id = l.order_line_id
)
select lines.*,
       case when has_ended then last_event_at end as ended_at,
       case when has_ended then last_event_by end as ended_by,
       greatest(date_diff('day', due_on, case when has_ended then last_event_on else today end), 0) as wait_days,
       case when has_ended then last_event_on else today end > promised_on as is_late,
       (quantity - cancelled_quantity - returned_quantity) * (unit_price - unit_cost) as net_margin,
       (quantity - cancelled_quantity - returned_quantity) * unit_price as net_amount
from lines cross join known_moment
