-- Every version of every fact known at T, from the lawful tables. `superseded_at` is when the next version became known.
-- One row per customer and version. A customer that is deleted stands as it last was: its lines still wait, and its
-- credit hold still holds.
create table history_customers as
select customer_id, parent_id, created_at, created_on, name, segment, channel, priority_class, country, owner,
       credit_hold, contact_allowed, known_at, lead(known_at) over (partition by customer_id order by version) as superseded_at,
       recorded_at is not null as is_versioned
from lawful_customers where not is_deleted;

-- One row per product and version; a cost that is not known is assumed from the list price. A product that is deleted
-- stands as it last was, `removed_on` from `removed_at` on: its lines still wait.
create table history_products as
with versions as (
    select *, lead(is_deleted) over versions as is_removed_next, lead(recorded_on) over versions as next_recorded_on
    from lawful_products window versions as (partition by product_id order by version)
)
select product_id, list_price, coalesce(unit_cost, list_price * (1 - $assumed_margin_share)) as unit_cost,
       unit_cost is null as unit_cost_is_assumed, name, category, coalesce(quantity_step, 1.0) as quantity_step, substitute_id,
       discontinued_on, known_at, case when is_removed_next then superseded_at end as removed_at,
       case when is_removed_next then next_recorded_on end as removed_on,
       lead(known_at) over (partition by product_id order by version) as superseded_at
from versions where not is_deleted;

-- One row per order line whose every row breaks a law: where its goods lie as far as it says. Of two rows known at one
-- time the greater id speaks, whatever their order in the file.
create table broken_lines as
select order_line_id, arg_max(product_id, struct_pack(at := known_at, id := product_id)) as product_id,
       arg_max(warehouse_id, struct_pack(at := known_at, id := warehouse_id)) as warehouse_id, min(known_at) as known_at
from seen_order_lines
where not is_deleted and order_line_id in (select order_line_id from set_aside_lines)
  and order_line_id not in (select order_line_id from lawful_order_lines where not is_deleted)
group by order_line_id;

-- One row per order line, those set aside included: where its goods lie, and since when it is known. What happens to a
-- line is not known before the line is.
create view told_lines as
select order_line_id, product_id, warehouse_id, known_at
from lawful_order_lines where version = 1 and superseded_at is null and not is_deleted
union all
select order_line_id, arg_max(product_id, version), arg_max(warehouse_id, version), min(known_at)
from lawful_order_lines where not (version = 1 and superseded_at is null) and not is_deleted group by order_line_id
union all
select * from broken_lines;

-- One row per order line and version. A quantity that falls is a cancellation (below), so what was ordered never falls:
-- the newest quantity plus every fall so far.
create table line_versions as
with usable as (
    select * exclude (file_name, file_row, is_deleted), version = 1 and superseded_at is null as is_only_version
    from lawful_order_lines
    where not is_deleted and order_line_id not in (select order_line_id from set_aside_lines)
),
several as (
    select * exclude (version, superseded_at), lag(promised_on) over versions as promised_before_on,
           first_value(promised_on) over versions as promised_with_order_on,
           first_value(coalesce(recorded_on, ordered_on)) over versions as appeared_on,
           coalesce(greatest(lag(quantity) over versions - quantity, 0.0), 0.0) as fall,
           lead(known_at) over versions as superseded_at, row_number() over versions as version
    from usable where not is_only_version window versions as (partition by order_line_id order by version)
)
select *, cast(null as date) as promised_before_on, promised_on as promised_with_order_on,
       coalesce(recorded_on, ordered_on) as appeared_on, 0.0 as fall, quantity as quantity_ordered
from usable where is_only_version
union all by name
select *, quantity + sum(fall) over (partition by order_line_id order by version rows unbounded preceding) as quantity_ordered
from several;

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

create view history_order_lines as
select v.order_line_id, v.order_id, v.customer_id, v.product_id, v.warehouse_id, v.ordered_at, v.ordered_on,
       v.quantity_ordered as quantity, v.unit_price, v.list_price, v.requested_on, v.promised_with_order_on as promised_on,
       coalesce(v.may_split, false) as may_split,
       v.ship_group, v.split_from_id, r.root_id, v.appeared_on, v.channel, v.customer_reference,
       coalesce(v.requested_on, v.ordered_on) as due_on, v.known_at, v.superseded_at
from line_versions v left join line_roots r using (order_line_id);

-- One row per line that others were split off from, and version.
create table history_root_lines as
select order_line_id as root_id, order_id, due_on, known_at, superseded_at
from history_order_lines where order_line_id in (select root_id from line_roots);

-- One row per date told to a customer after the order: by a later version of the line that changed it, or as a promise.
create table history_told_dates as
select order_line_id, recorded_on as told_on, promised_on, known_at
from line_versions
where version > 1 and promised_on is not null and promised_on is distinct from promised_before_on
union all
select p.order_line_id, p.told_on, p.promised_on, greatest(p.known_at, l.known_at)
from lawful_promises p join told_lines l using (order_line_id) where not p.is_deleted;

-- One row per shipped quantity and version; also those of lines set aside, since their goods have left the shelf.
create table history_shipments as
select s.order_line_id, l.product_id, l.warehouse_id, s.shipped_at, s.shipped_on, s.happened_at, s.quantity, s.is_day_only,
       s.is_deleted, greatest(s.known_at, l.known_at) as known_at, s.superseded_at
from lawful_shipments s join told_lines l using (order_line_id);

-- One row per cancelled quantity and version; falls and vanished lines count as cancellations then.
create table told_cancellations as
select c.order_line_id, c.cancelled_on, c.happened_at, c.is_day_only, true as is_told, c.quantity, c.cancelled_by, c.reason,
       c.is_deleted,
       greatest(c.known_at, l.known_at) as known_at, c.superseded_at
from lawful_cancellations c join told_lines l using (order_line_id)
where c.order_line_id not in (select order_line_id from set_aside_lines);

-- A fall that the ERP also wrote as a cancellation counts once: whatever was cancelled since the version before, or
-- later on the day of the fall, since an ERP writes the two in either order.
create table falls as
with told as (
    select c.order_line_id, c.known_at, c.quantity,
           case when v.fall > 0 and v.recorded_on = c.cancelled_on then v.version else v.version + 1 end as version
    from told_cancellations c join line_versions v on v.order_line_id = c.order_line_id and v.known_at <= c.known_at
         and (v.superseded_at is null or v.superseded_at > c.known_at)
    where not c.is_deleted and c.superseded_at is null and not v.is_only_version
)
select f.order_line_id, f.recorded_on, f.known_at, any_value(f.fall) as fall, bool_and(f.is_recorded_by_day) as is_day_only,
       coalesce(sum(c.quantity) filter (where c.known_at <= f.known_at), 0.0) as told_before,
       coalesce(sum(c.quantity), 0.0) as told_in_all, min(c.known_at) filter (where c.known_at > f.known_at) as told_later_at
from line_versions f left join told c on c.order_line_id = f.order_line_id and c.version = f.version
where f.fall > 0
group by f.order_line_id, f.recorded_on, f.known_at;

create table fallen_cancellations as
select order_line_id, recorded_on as cancelled_on, known_at as happened_at, is_day_only, fall - told_before as quantity,
       known_at, told_later_at as superseded_at
from falls where fall > told_before
union all
select order_line_id, recorded_on, known_at, is_day_only, fall - told_in_all, told_later_at, null
from falls where fall > told_in_all and told_later_at is not null;

create table vanished_lines as
with gone as (
    select d.order_line_id, d.known_at, d.recorded_on, d.is_recorded_by_day as is_day_only,
           v.quantity_ordered as quantity, v.superseded_at,
           -- told twice that it is gone, it vanished once
           row_number() over (partition by d.order_line_id, v.known_at order by d.known_at) as nth
    from lawful_order_lines d
    join line_versions v on v.order_line_id = d.order_line_id and v.known_at <= d.known_at
         and (v.superseded_at is null or v.superseded_at > d.known_at)
    where d.is_deleted
)
select * exclude (nth) from gone where nth = 1;

-- `is_told`: the ERP wrote it as a cancellation; else it is inferred from a quantity that fell or a line that vanished.
create table history_cancellations as
with done as (
    select order_line_id, quantity, known_at, superseded_at from history_shipments where not is_deleted
    union all
    select order_line_id, quantity, known_at, superseded_at from told_cancellations where not is_deleted
    union all
    select order_line_id, quantity, known_at, superseded_at from fallen_cancellations
),
vanished as (
    select g.order_line_id, g.recorded_on, g.known_at, g.superseded_at, bool_and(g.is_day_only) as is_day_only,
           any_value(g.quantity) - coalesce(sum(d.quantity), 0.0) as quantity
    from vanished_lines g left join done d on d.order_line_id = g.order_line_id
         and d.known_at <= g.known_at and (d.superseded_at is null or d.superseded_at > g.known_at)
    group by g.order_line_id, g.recorded_on, g.known_at, g.superseded_at
)
select * from told_cancellations
union all
select order_line_id, cancelled_on, happened_at, is_day_only, false, quantity, null, 'changed', false, known_at, superseded_at
from fallen_cancellations
union all
select order_line_id, recorded_on, known_at, is_day_only, false, quantity, null, 'vanished', false, known_at, superseded_at
from vanished where quantity > 0;

create table history_returns as
select r.order_line_id, r.returned_on, r.quantity, r.is_deleted, greatest(r.known_at, l.known_at) as known_at, r.superseded_at
from lawful_returns r join told_lines l using (order_line_id) where r.order_line_id not in (select order_line_id from set_aside_lines);

create table history_stock as
select product_id, warehouse_id, snapshot_at, snapshot_on, on_hand, coalesce(reserved, 0.0) as reserved, is_day_only,
       is_deleted, known_at,
       superseded_at
from lawful_stock;

create table history_purchase_orders as
select po_line_id, supplier_id, product_id, warehouse_id, ordered_at, ordered_on, expected_on, quantity, kind,
       for_order_line_id, is_deleted, known_at,
       superseded_at
from lawful_purchase_orders where po_line_id not in (select po_line_id from set_aside_inbound);

-- One row per date told for an inbound line: the first and every slip.
create table history_expected_dates as
select po_line_id, case when version = 1 then ordered_on else recorded_on end as told_on, expected_on, known_at
from (select * exclude (version), row_number() over versions as version, lag(expected_on) over versions as expected_before
      from lawful_purchase_orders
      where not is_deleted and po_line_id not in (select po_line_id from set_aside_inbound)
      window versions as (partition by po_line_id order by lawful_purchase_orders.version))
where version = 1 or expected_on is distinct from expected_before;

-- One row per received quantity and version; also those of inbound lines set aside, since their goods lie on the shelf.
create table history_receipts as
with told_inbound as (
    select po_line_id, arg_max(product_id, version) as product_id, arg_max(warehouse_id, version) as warehouse_id,
           min(known_at) as known_at
    from lawful_purchase_orders where not is_deleted group by po_line_id
    union all
    select po_line_id, arg_max(product_id, struct_pack(at := known_at, id := product_id)),
           arg_max(warehouse_id, struct_pack(at := known_at, id := warehouse_id)), min(known_at)
    from seen_purchase_orders
    where not is_deleted and po_line_id is not null
      and po_line_id not in (select po_line_id from lawful_purchase_orders where not is_deleted)
    group by po_line_id
)
select r.po_line_id, p.product_id, p.warehouse_id, r.received_at, r.received_on, r.quantity, r.is_day_only, r.is_deleted,
       greatest(r.known_at, p.known_at) as known_at, r.superseded_at
from lawful_receipts r join told_inbound p using (po_line_id);

-- One row per line and warehouse with goods held, and version; also of lines set aside, since picked goods are not free.
create table history_reservations as
select r.order_line_id, l.product_id, coalesce(r.warehouse_id, l.warehouse_id) as warehouse_id, r.quantity,
       coalesce(r.is_firm, false) as is_firm, r.is_deleted, greatest(r.known_at, l.known_at) as known_at, r.superseded_at,
       r.recorded_at is not null as is_versioned
from lawful_reservations r join told_lines l using (order_line_id);

-- One row per ship group with a line set aside that may still be open, at T: what is lawful of it leaves something over.
create table history_groups_set_aside as
with done as (
    select order_line_id, sum(quantity) as quantity
    from (select order_line_id, quantity from lawful_shipments where not is_deleted and superseded_at is null
          union all
          select order_line_id, quantity from lawful_cancellations where not is_deleted and superseded_at is null)
    where order_line_id in (select order_line_id from set_aside_lines) group by order_line_id
)
select distinct l.ship_group
from seen_order_lines l left join done d on d.order_line_id = l.order_line_id
where l.ship_group is not null and not l.is_deleted and l.order_line_id in (select order_line_id from set_aside_lines)
  and not coalesce(l.quantity > 0 and d.quantity >= l.quantity * (1 - 1e-9), false);

create table history_overrides as
select order_line_id, order_id, customer_id, product_id, action, who, why, made_at, until_on, quantity, is_deleted,
       known_at, superseded_at
from lawful_overrides;
