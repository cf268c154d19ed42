-- Every version of every fact known at T, from the lawful tables. `superseded_at` is when the next version became known.
-- One row per customer and version. account_id: whose lifetime value it shares.
create table history_customers as
select customer_id, coalesce(parent_id, customer_id) as account_id, created_at, created_on, name, segment, channel,
       priority_class, country, language, owner, credit_hold, contact_allowed, is_deleted, known_at,
       lead(known_at) over (partition by row_key order by known_at, recorded_at) as superseded_at,
       recorded_at is not null as is_versioned
from lawful_customers;

-- One row per product and version; a cost that is not known is assumed from the list price.
create table history_products as
select product_id, list_price, coalesce(unit_cost, list_price * (1 - $assumed_margin_share)) as unit_cost,
       unit_cost is null as unit_cost_is_assumed, name, category, coalesce(quantity_step, 1.0) as quantity_step,
       substitute_id, discontinued_on, is_deleted, known_at,
       lead(known_at) over (partition by row_key order by known_at, recorded_at) as superseded_at
from lawful_products;

-- One row per order line and version. A quantity that falls is a cancellation (below), so what was ordered never falls:
-- the newest quantity plus every fall so far.
create table line_versions as
with versions as (
    select *, lag(quantity) over versions as quantity_before, lag(known_at) over versions as known_before
    from lawful_order_lines
    where not is_deleted and order_line_id not in (select order_line_id from set_aside_lines)
    window versions as (partition by row_key order by known_at, recorded_at)
)
select *, greatest(quantity_before - quantity, 0) as fall,
       quantity + sum(coalesce(greatest(quantity_before - quantity, 0), 0)) over (
           partition by row_key order by known_at, recorded_at rows unbounded preceding) as quantity_ordered,
       lead(known_at) over (partition by row_key order by known_at, recorded_at) as superseded_at,
       row_number() over (partition by row_key order by known_at, recorded_at) as version
from versions;

-- One row per order line that was split off: the line it comes from in the end.
create table line_roots as
with recursive chain as (
    select order_line_id, split_from_id as root_id, 1 as depth
    from line_versions where split_from_id is not null and superseded_at is null and split_from_id <> order_line_id
    union all
    select chain.order_line_id, parent.split_from_id, depth + 1
    from chain join line_versions parent on parent.order_line_id = chain.root_id and parent.superseded_at is null
    where parent.split_from_id is not null and depth < 20
)
select order_line_id, arg_max(root_id, depth) as root_id from chain group by order_line_id;

create table history_order_lines as
select v.order_line_id, v.order_id, v.customer_id, v.product_id, v.warehouse_id, v.ordered_at, v.ordered_on,
       v.quantity_ordered as quantity, v.unit_price, v.list_price, v.requested_on, coalesce(v.may_split, false) as may_split,
       v.ship_group, coalesce(r.root_id, v.order_line_id) as root_id, v.channel, v.customer_reference,
       coalesce(v.requested_on, v.ordered_on) as due_on, v.known_at, v.superseded_at
from line_versions v left join line_roots r using (order_line_id);

-- One row per date told to a customer: with the order, by a later version of it, or as a promise.
create table history_told_dates as
select order_line_id, case when version = 1 then ordered_on else recorded_on end as told_on, promised_on, known_at
from line_versions where promised_on is not null
union
select order_line_id, told_on, promised_on, known_at from lawful_promises where not is_deleted;

-- One row per shipped quantity and version; also those of lines set aside, since their goods have left the shelf.
create table history_shipments as
select s.order_line_id, l.product_id, l.warehouse_id, s.shipped_at, s.shipped_on, s.happened_at, s.quantity, s.is_day_only,
       s.is_deleted, s.known_at,
       lead(s.known_at) over (partition by s.row_key order by s.known_at, s.recorded_at) as superseded_at
from lawful_shipments s
join (select order_line_id, arg_max(product_id, known_at) as product_id, arg_max(warehouse_id, known_at) as warehouse_id
      from lawful_order_lines group by order_line_id) l using (order_line_id);

-- One row per cancelled quantity and version; falls and vanished lines count as cancellations then.
create table told_cancellations as
select order_line_id, cancelled_on, happened_at, quantity, cancelled_by, reason, is_deleted, known_at,
       lead(known_at) over (partition by row_key order by known_at, recorded_at) as superseded_at
from lawful_cancellations where order_line_id not in (select order_line_id from set_aside_lines);

-- A fall that the ERP also wrote as a cancellation counts once.
create table fallen_cancellations as
select f.order_line_id, f.recorded_on as cancelled_on,
       f.fall - coalesce(sum(c.quantity), 0) as quantity, f.known_at
from line_versions f
left join told_cancellations c on c.order_line_id = f.order_line_id and not c.is_deleted and c.superseded_at is null
     and c.known_at > f.known_before and c.known_at <= f.known_at
where f.fall > 0
group by f.order_line_id, f.known_at, f.recorded_on, f.fall
having f.fall - coalesce(sum(c.quantity), 0) > 0;

create table vanished_lines as
with gone as (
    select d.order_line_id, d.known_at, d.recorded_on, v.quantity_ordered as quantity, v.superseded_at,
           -- told twice that it is gone, it vanished once
           row_number() over (partition by d.order_line_id, v.known_at order by d.known_at) as nth
    from lawful_order_lines d
    join line_versions v on v.order_line_id = d.order_line_id and v.known_at <= d.known_at
         and (v.superseded_at is null or v.superseded_at > d.known_at)
    where d.is_deleted
)
select * exclude (nth) from gone where nth = 1;

create table history_cancellations as
select * from told_cancellations
union all
select order_line_id, cancelled_on, known_at, quantity, null, 'changed', false, known_at, null
from fallen_cancellations
union all
select g.order_line_id, g.recorded_on, g.known_at,
       g.quantity - coalesce(s.quantity, 0) - coalesce(c.quantity, 0) - coalesce(f.quantity, 0),
       null, 'vanished', false, g.known_at, g.superseded_at
from vanished_lines g
left join (select g.order_line_id, g.known_at, sum(s.quantity) as quantity from vanished_lines g
           join history_shipments s on s.order_line_id = g.order_line_id and not s.is_deleted
                and s.known_at <= g.known_at and (s.superseded_at is null or s.superseded_at > g.known_at)
           group by all) s on s.order_line_id = g.order_line_id and s.known_at = g.known_at
left join (select g.order_line_id, g.known_at, sum(c.quantity) as quantity from vanished_lines g
           join told_cancellations c on c.order_line_id = g.order_line_id and not c.is_deleted
                and c.known_at <= g.known_at and (c.superseded_at is null or c.superseded_at > g.known_at)
           group by all) c on c.order_line_id = g.order_line_id and c.known_at = g.known_at
left join (select g.order_line_id, g.known_at, sum(f.quantity) as quantity from vanished_lines g
           join fallen_cancellations f on f.order_line_id = g.order_line_id and f.known_at <= g.known_at
           group by all) f on f.order_line_id = g.order_line_id and f.known_at = g.known_at
where g.quantity - coalesce(s.quantity, 0) - coalesce(c.quantity, 0) - coalesce(f.quantity, 0) > 0;

create table history_returns as
select order_line_id, returned_at, returned_on, quantity, is_deleted, known_at,
       lead(known_at) over (partition by row_key order by known_at, recorded_at) as superseded_at
from lawful_returns where order_line_id not in (select order_line_id from set_aside_lines);

create table history_stock as
select product_id, warehouse_id, snapshot_at, snapshot_on, on_hand, coalesce(reserved, 0.0) as reserved, is_day_only,
       is_deleted, known_at,
       lead(known_at) over (partition by row_key order by known_at, recorded_at) as superseded_at
from lawful_stock;

create table history_purchase_orders as
select po_line_id, supplier_id, product_id, warehouse_id, ordered_at, ordered_on, expected_on, quantity, kind,
       for_order_line_id, is_deleted, known_at,
       lead(known_at) over (partition by row_key order by known_at, recorded_at) as superseded_at
from lawful_purchase_orders where po_line_id not in (select po_line_id from set_aside_inbound);

-- One row per date told for an inbound line: the first and every slip.
create table history_expected_dates as
select po_line_id, case when version = 1 then ordered_on else recorded_on end as told_on, expected_on, known_at
from (select *, row_number() over (partition by row_key order by known_at, recorded_at) as version,
             lag(expected_on) over (partition by row_key order by known_at, recorded_at) as expected_before
      from lawful_purchase_orders
      where not is_deleted and po_line_id not in (select po_line_id from set_aside_inbound))
where version = 1 or expected_on is distinct from expected_before;

create table history_receipts as
select r.po_line_id, p.product_id, p.warehouse_id, r.received_at, r.received_on, r.quantity, r.is_day_only, r.is_deleted,
       r.known_at, lead(r.known_at) over (partition by r.row_key order by r.known_at, r.recorded_at) as superseded_at
from lawful_receipts r
join (select po_line_id, arg_max(product_id, known_at) as product_id, arg_max(warehouse_id, known_at) as warehouse_id
      from lawful_purchase_orders group by po_line_id) p using (po_line_id);

create table history_reservations as
select order_line_id, warehouse_id, quantity, coalesce(is_firm, false) as is_firm, is_deleted, known_at,
       lead(known_at) over (partition by row_key order by known_at, recorded_at) as superseded_at,
       recorded_at is not null as is_versioned
from lawful_reservations where order_line_id not in (select order_line_id from set_aside_lines);

create table history_overrides as
select order_line_id, order_id, customer_id, product_id, action, who, why, made_at, until_on, quantity, is_deleted,
       known_at, lead(known_at) over (partition by row_key order by known_at, recorded_at) as superseded_at
from lawful_overrides;
