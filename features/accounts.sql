-- One row per account (a customer, or the parent that several share) with an order: what it has bought and how regularly.
with days as (
    select account_id, ordered_on, amount, n_lines, quantity,
           cast(date_diff('day', lag(ordered_on) over (partition by account_id order by ordered_on), ordered_on) as double)
               as gap_days
    from (select account_id, ordered_on, sum(net_amount) as amount, count(*) as n_lines, sum(quantity) as quantity from known_lines
          where account_id is not null group by account_id, ordered_on)
),
rhythm as (
    select account_id, count(*) as n_orders, min(ordered_on) as first_on, max(ordered_on) as last_on,
           count(*) filter (where ordered_on > today - 28) as n_orders_28d,
           count(*) filter (where ordered_on > today - 91) as n_orders_91d,
           count(*) filter (where ordered_on > today - 365) as n_orders_365d,
           avg(gap_days) as mean_gap_days, stddev_samp(gap_days) as sd_gap_days, max(gap_days) as longest_gap_days,
           avg(amount) as mean_order_amount, max_by(amount, ordered_on) as last_order_amount,
           min_by(amount, ordered_on) as first_order_amount, min_by(n_lines, ordered_on) as first_order_n_lines,
           min_by(quantity, ordered_on) as first_order_quantity
    from days cross join known_moment group by account_id
),
record as (
    select account_id, count(*) as n_lines, count(distinct product_id) as n_products,
           sum(net_amount) as spend_amount,
           coalesce(sum(net_amount) filter (where ordered_on > today - 28), 0.0) as spend_28d,
           coalesce(sum(net_amount) filter (where ordered_on > today - 91), 0.0) as spend_91d,
           coalesce(sum(net_amount) filter (where ordered_on > today - 365), 0.0) as spend_365d,
           sum(net_margin) as margin_amount,
           coalesce(sum(net_margin) filter (where ordered_on > today - 91), 0.0) as margin_91d,
           coalesce(sum(net_margin) filter (where ordered_on > today - 365), 0.0) as margin_365d,
           1 - sum(quantity * unit_price) / nullif(sum(quantity * list_price), 0.0) as discount_share,
           count(*) filter (where ended_by = 'customer') as n_cancelled_lines,
           count(*) filter (where has_ended) as n_ended,
           avg(cast(is_late as double)) as late_share,
           avg(cast(wait_days as double)) filter (where has_ended) as mean_wait_days,
           sum(returned_quantity) / nullif(sum(shipped_quantity), 0.0) as returned_share,
           count(*) filter (where open_quantity > 0) as n_open_lines,
           sum(open_quantity * unit_price) as open_amount,
           count(*) filter (where open_quantity > 0 and due_on <= last_due_on) as n_waiting_lines
    from known_lines cross join known_moment
    where account_id is not null
    group by account_id
),
named as (
    select account_id, min_by(segment, customer_id) as segment, min_by(channel, customer_id) as channel,
           min_by(country, customer_id) as country, min(created_on) as created_on
    from known_customers group by account_id
)
select r.account_id, today as cutoff_on, n.segment, n.channel, n.country,
       cast(date_diff('day', h.first_on, today) as double) as tenure_days,
       cast(date_diff('day', h.last_on, today) as double) as recency_days,
       cast(h.n_orders as double) as n_orders,
       cast(h.n_orders_28d as double) as n_orders_28d, cast(h.n_orders_91d as double) as n_orders_91d,
       cast(h.n_orders_365d as double) as n_orders_365d, h.mean_gap_days, h.sd_gap_days, h.longest_gap_days,
       r.spend_amount, r.spend_28d, r.spend_91d, r.spend_365d, r.margin_amount, r.margin_91d, r.margin_365d,
       h.mean_order_amount, h.last_order_amount, h.first_order_amount,
       cast(h.first_order_n_lines as double) as first_order_n_lines, h.first_order_quantity,
       cast(r.n_products as double) as n_products, r.discount_share, cast(r.n_lines as double) as n_lines,
       cast(r.n_cancelled_lines as double) as n_cancelled_lines,
       cast(r.n_cancelled_lines as double) / nullif(cast(r.n_ended as double), 0.0) as cancel_share,
       r.late_share, r.mean_wait_days, r.returned_share,
       cast(r.n_open_lines as double) as n_open_lines, cast(r.n_waiting_lines as double) as n_waiting_lines, r.open_amount
from record r
join rhythm h on h.account_id = r.account_id
join named n on n.account_id = r.account_id
cross join known_moment
order by r.account_id
