-- One row per customer with an order: how often they buy, how patiently they wait.
with days as (
    select customer_id, ordered_on, lag(ordered_on) over (partition by customer_id order by ordered_on) as ordered_before_on
    from (select distinct customer_id, ordered_on from known_lines where customer_id is not null)
),
rhythm as (
    select customer_id, count(*) as n_orders, max(ordered_on) as last_on,
           avg(cast(date_diff('day', ordered_before_on, ordered_on) as double)) as mean_gap_days
    from days group by customer_id
),
record as (
    select l.customer_id,
           sum(l.net_amount) filter (where l.ordered_on > today - 365) as spend_365d,
           avg(cast(l.wait_days as double)) filter (where l.has_ended) as mean_wait_days,
           avg(cast(l.is_late as double)) as late_share,
           count(*) filter (where l.ended_by = 'customer') as n_cancelled,
           count(*) filter (where l.has_ended) as n_ended,
           count(*) filter (where l.open_quantity > 0) as n_open_lines
    from known_lines l cross join known_moment
    where l.customer_id is not null
    group by l.customer_id
)
select k.customer_id,
       cast(date_diff('day', k.created_on, today) as double) as customer_tenure_days,
       cast(h.n_orders as double) as customer_n_orders,
       cast(date_diff('day', h.last_on, today) as double) as customer_days_since_order,
       h.mean_gap_days as customer_mean_gap_days,
       coalesce(r.spend_365d, 0.0) as customer_spend_365d,
       r.mean_wait_days as customer_mean_wait_days,
       r.late_share as customer_late_share,
       cast(r.n_cancelled as double) / nullif(cast(r.n_ended as double), 0.0) as customer_cancel_share,
       cast(r.n_cancelled as double) as customer_n_cancelled,
       cast(r.n_open_lines as double) as customer_n_open_lines
from known_customers k
join rhythm h on h.customer_id = k.customer_id
join record r on r.customer_id = k.customer_id
cross join known_moment
