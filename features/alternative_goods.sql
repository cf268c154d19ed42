-- One row per pool that lines wait in and other pool with goods that could serve them: their product in another
-- warehouse, or in their own the product that is offered instead. What stands there beside the goods tells how many can be spared.
with waiting as (
    select distinct l.product_id, l.warehouse_id, p.substitute_id
    from backorder_lines l join known_products p on p.product_id = l.product_id
),
pairs as (
    select w.product_id, w.warehouse_id, s.product_id as from_product_id, s.warehouse_id as from_warehouse_id,
           s.available_now
    from waiting w join known_stock s on s.product_id = w.product_id and s.warehouse_id <> w.warehouse_id
    where s.available_now > 0
    union all
    select w.product_id, w.warehouse_id, s.product_id, s.warehouse_id, s.available_now
    from waiting w join known_stock s on s.product_id = w.substitute_id and s.warehouse_id = w.warehouse_id
    where s.available_now > 0 and w.substitute_id <> w.product_id
),
-- Goods of a pool that its open lines want that are no back orders yet.
due_later as (
    select n.product_id, n.warehouse_id, sum(k.open_quantity) as units
    from known_lines k join known_order_lines n on n.order_line_id = k.order_line_id
    cross join known_moment
    where k.open_quantity > 0 and k.due_on > last_due_on
    group by n.product_id, n.warehouse_id
)
select a.product_id, a.warehouse_id, a.from_product_id, a.from_warehouse_id, a.available_now,
       coalesce(l.units, 0.0) as units_due_later, coalesce(d.units_per_day, 0.0) as units_per_day,
       coalesce(d.units_per_line, 1.0) as units_per_line,
       p.list_price as from_list_price, p.unit_cost as from_unit_cost, p.quantity_step as from_quantity_step
from pairs a
join known_products p on p.product_id = a.from_product_id
left join due_later l on l.product_id = a.from_product_id and l.warehouse_id = a.from_warehouse_id
left join pool_demand d on d.product_id = a.from_product_id and d.warehouse_id = a.from_warehouse_id
order by a.product_id, a.warehouse_id, a.from_product_id, a.from_warehouse_id
