-- One row per product and warehouse ordered from lately: its new demand over the last 91 days, or as many as there are.
with seen as (
    select greatest(least(date_diff('day', min(ordered_on), max(today)), 91), 1) as n_days
    from known_order_lines cross join known_moment
)
select product_id, warehouse_id, sum(quantity) / cast(max(n_days) as double) as units_per_day,
       avg(quantity) as units_per_line
from known_order_lines cross join known_moment cross join seen
where ordered_on >= today - 91 and ordered_on < today
group by product_id, warehouse_id
