-- One row per product: how its lines fared, who usually delivers it.
with usual as (
    select product_id, supplier_id
    from (select product_id, supplier_id,
                 row_number() over (partition by product_id order by ordered_on desc, po_line_id desc) as nth
          from known_purchase_orders where supplier_id is not null)
    where nth = 1
),
record as (
    select product_id,
           cast(count(*) filter (where ended_by = 'customer') as double)
               / nullif(cast(count(*) filter (where has_ended) as double), 0.0) as cancel_share,
           avg(cast(wait_days as double)) filter (where has_ended) as mean_wait_days,
           count(*) filter (where ordered_on > today - 91) as n_lines_91d,
           count(*) filter (where open_quantity > 0 and due_on <= last_due_on) as n_waiting_lines
    from known_lines cross join known_moment
    group by product_id
)
select p.product_id, p.name as product_name, p.category, p.quantity_step, p.is_discontinued, p.unit_cost_is_assumed,
       r.cancel_share as product_cancel_share, r.mean_wait_days as product_mean_wait_days,
       coalesce(cast(r.n_lines_91d as double), 0.0) as product_n_lines_91d,
       coalesce(cast(r.n_waiting_lines as double), 0.0) as product_n_waiting_lines,
       u.supplier_id, s.supplier_mean_delay_days, s.supplier_late_share
from known_products p
left join record r on r.product_id = p.product_id
left join usual u on u.product_id = p.product_id
left join suppliers s on s.supplier_id = u.supplier_id
