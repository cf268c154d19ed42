-- One row per open back-ordered line: something is still open, and its due day (and handling time) lies before today.
with waiting as (
    select k.*, n.root_id, n.root_order_id, n.warehouse_id, n.ship_group, n.customer_reference, n.channel as order_channel, n.ordered_at,
           n.requested_on, n.may_split, n.promised_on as promised_with_order_on
    from known_lines k join known_order_lines n on n.order_line_id = k.order_line_id
    cross join known_moment
    where k.open_quantity > 0 and k.due_on <= last_due_on
),
orders as (
    select order_id, sum(quantity * unit_price) as order_value, cast(count(*) as double) as order_n_lines
    from known_lines where order_id in (select order_id from waiting) group by order_id
),
-- Goods confirmed to a line in another warehouse are none of its pool.
confirmed as (
    select w.order_line_id, sum(r.quantity) as quantity
    from waiting w join known_soft_reservations r on r.order_line_id = w.order_line_id and r.warehouse_id = w.warehouse_id
    group by w.order_line_id
),
-- Ship groups with an open line that is no back order: not yet due, or set aside. A line picked in full is not open: its
-- goods are ready and wait for the rest of the group.
groups_elsewhere as (
    select n.ship_group
    from known_order_lines n join known_lines k on k.order_line_id = n.order_line_id
    cross join known_moment
    where n.ship_group is not null and k.open_quantity > 0 and k.due_on > last_due_on
    union
    select ship_group from known_groups_set_aside
)
select l.order_line_id, l.order_id, l.root_id, l.root_order_id, l.customer_id, l.account_id, l.product_id, l.warehouse_id, l.ship_group,
       e.ship_group is not null as group_waits_elsewhere,
       l.customer_reference, k.name as customer_name, p.product_name, k.owner, k.segment,
       coalesce(l.order_channel, k.channel) as channel, k.country, p.category,
       cast(k.priority_class as double) as priority_class,
       coalesce(k.credit_hold, false) as credit_hold, coalesce(k.contact_allowed, true) as contact_allowed,
       p.is_discontinued, today as cutoff_on, l.ordered_at, l.ordered_on, l.due_on, l.requested_on,
       l.promised_on, coalesce(t.latest_promised_on, l.promised_on) as latest_promised_on,
       coalesce(t.promise_told_on, case when l.promised_with_order_on is not null then l.ordered_on end) as promise_told_on,
       cast(coalesce(t.n_later_dates, 0) + case when t.first_promised_on > l.promised_with_order_on then 1 else 0 end as double)
           as n_slips,
       date_diff('day', l.due_on, today) as waited_days,
       cast(date_diff('day', l.promised_on, today) as double) as days_late,
       cast(date_diff('day', coalesce(t.latest_promised_on, l.promised_on), today) as double) as days_past_latest,
       l.quantity, l.open_quantity, cast(l.shipped_quantity > 0 as double) as is_partly_shipped, p.quantity_step,
       l.may_split, l.unit_price, l.list_price, l.unit_cost, p.unit_cost_is_assumed,
       l.unit_price / nullif(l.list_price, 0.0) as price_ratio,
       l.open_quantity * l.unit_price as line_value,
       l.open_quantity * (l.unit_price - l.unit_cost) as line_margin,
       o.order_value, o.order_n_lines,
       c.customer_tenure_days, c.customer_n_orders, c.customer_days_since_order, c.customer_mean_gap_days,
       c.customer_spend_365d, c.customer_mean_wait_days, c.customer_late_share, c.customer_cancel_share,
       c.customer_n_cancelled, c.customer_n_open_lines,
       p.product_cancel_share, p.product_mean_wait_days, p.product_n_lines_91d, p.product_n_waiting_lines,
       p.supplier_id, p.supplier_mean_delay_days, p.supplier_late_share,
       coalesce(h.available_now, 0.0) as goods_here, least(coalesce(f.quantity, 0.0), l.open_quantity) as soft_reserved_quantity
from waiting l
join orders o on o.order_id = l.order_id
join products p on p.product_id = l.product_id
left join groups_elsewhere e on e.ship_group = l.ship_group
left join told_dates t on t.order_line_id = l.order_line_id
left join confirmed f on f.order_line_id = l.order_line_id
left join known_customers k on k.customer_id = l.customer_id
left join customers c on c.customer_id = l.customer_id
left join known_stock h on h.product_id = l.product_id and h.warehouse_id = l.warehouse_id
cross join known_moment
order by l.order_line_id
