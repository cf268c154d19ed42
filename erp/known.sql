-- The contract's tables as known at one moment: $as_of; $today is its day at the site, $last_due_on the newest due day of a
-- back order then, $is_now whether it is the facts' own T. $reorder_days and $cancel_reasons are the site's settings.
create view known_moment as
select $as_of as as_of, $today as today, $last_due_on as last_due_on,
       cast($reorder_days as bigint) as reorder_days;

-- One row per reason code that the site mapped to a cause.
create view known_cancel_reasons as
select reason, cause from (values $cancel_reasons) as mapped (reason, cause) where reason is not null;

-- One row per customer, deleted ones included; account_id: whose lifetime value it shares. Columns that change and carry no versions serve
-- today's decision only.
create view known_customers as
select c.customer_id, coalesce(p.customer_id, c.customer_id) as account_id, created_at, created_on, name, segment, channel,
       priority_class, country, owner,
       case when $is_now or is_versioned then coalesce(credit_hold, false) else false end as credit_hold,
       case when $is_now or is_versioned then coalesce(contact_allowed, true) else true end as contact_allowed
from history_customers c
left join (select distinct customer_id from history_customers where known_at <= $as_of) p on p.customer_id = c.parent_id
where known_at <= $as_of and (superseded_at is null or superseded_at > $as_of);

-- One row per product.
create view known_products as
select product_id, list_price, unit_cost, unit_cost_is_assumed, name, category, quantity_step, substitute_id,
       coalesce(discontinued_on <= $today, false) as is_discontinued, discontinued_on
from (select * replace (least(discontinued_on, case when removed_at <= $as_of then removed_on end) as discontinued_on)
      from history_products)
where known_at <= $as_of and (superseded_at is null or superseded_at > $as_of);

-- One row per ordered schedule line, vanished ones included (they are cancelled). Lines split off count from their root.
create view known_order_lines as
select l.* exclude (known_at, superseded_at, root_id, due_on), coalesce(r.root_id, l.order_line_id) as root_id,
       coalesce(r.order_id, l.order_id) as root_order_id, coalesce(r.due_on, l.due_on) as due_on
from history_order_lines l
left join history_root_lines r on r.root_id = l.root_id
     and r.known_at <= $as_of and (r.superseded_at is null or r.superseded_at > $as_of)
where l.known_at <= $as_of and (l.superseded_at is null or l.superseded_at > $as_of);

-- One row per date told to a customer after the order.
create view known_told_dates as
select order_line_id, told_on, promised_on, known_at as told_at from history_told_dates where known_at <= $as_of;

-- One row per shipped quantity.
create view known_shipments as
select order_line_id, product_id, warehouse_id, shipped_at, shipped_on, happened_at, quantity, is_day_only
from history_shipments
where known_at <= $as_of and (superseded_at is null or superseded_at > $as_of) and not is_deleted;

-- One row per cancelled quantity.
create view known_cancellations as
select order_line_id, cancelled_on, happened_at, is_day_only, is_told, quantity, cancelled_by, reason, known_at
from history_cancellations
where known_at <= $as_of and (superseded_at is null or superseded_at > $as_of) and not is_deleted;

-- One row per returned quantity.
create view known_returns as
select order_line_id, returned_on, quantity
from history_returns
where known_at <= $as_of and (superseded_at is null or superseded_at > $as_of) and not is_deleted;

-- One row per inbound line that stands.
create view known_purchase_orders as
select po_line_id, supplier_id, product_id, warehouse_id, ordered_on, quantity, kind, for_order_line_id
from history_purchase_orders
where known_at <= $as_of and (superseded_at is null or superseded_at > $as_of) and not is_deleted;

-- One row per date told for an inbound line.
create view known_expected_dates as
select po_line_id, told_on, expected_on, known_at as told_at from history_expected_dates where known_at <= $as_of;

-- One row per received quantity.
create view known_receipts as
select po_line_id, product_id, warehouse_id, received_at, received_on, quantity, is_day_only
from history_receipts
where known_at <= $as_of and (superseded_at is null or superseded_at > $as_of) and not is_deleted;

-- One row per line and warehouse with goods picked or packed. Without versions they are today's alone.
create view known_firm_reservations as
select order_line_id, product_id, warehouse_id, quantity
from history_reservations
where known_at <= $as_of and (superseded_at is null or superseded_at > $as_of) and not is_deleted
  and is_firm and ($is_now or is_versioned);

-- One row per line and warehouse with goods confirmed to it that are neither picked nor packed: they are in the pool, and
-- the site's rules say who keeps them. Without versions they are today's alone.
create view known_soft_reservations as
select order_line_id, product_id, warehouse_id, quantity
from history_reservations
where known_at <= $as_of and (superseded_at is null or superseded_at > $as_of) and not is_deleted
  and not is_firm and ($is_now or is_versioned);

-- One row per ship group with a line set aside that may still be open; it serves today's decision only.
create view known_groups_set_aside as
select ship_group from history_groups_set_aside where $is_now;

-- One row per planner's word that was not taken back; those whose last day is over are kept so that it can be said.
create view known_overrides as
select order_line_id, order_id, customer_id, product_id, action, who, why, made_at, until_on, quantity,
       until_on >= $today as holds_today
from history_overrides
where known_at <= $as_of and (superseded_at is null or superseded_at > $as_of) and not is_deleted;

-- One row per planner's word ever said, those taken back too: when that became known.
create view known_words_said as
select * exclude (known_at, is_deleted)
from (select order_line_id, order_id, customer_id, product_id, action, who, why, made_at, until_on, known_at, is_deleted,
             case when superseded_at <= $as_of then superseded_at end as lifted_at
      from history_overrides where known_at <= $as_of)
where not is_deleted;

-- One row per product and warehouse that was ever counted: the goods there now.
-- Latest snapshot + receipts - shipments since; if either side is only a day, its day must be later than the snapshot's.
create view known_stock as
with latest as (
    select * from history_stock
    where known_at <= $as_of and (superseded_at is null or superseded_at > $as_of) and not is_deleted
    qualify row_number() over (partition by product_id, warehouse_id order by snapshot_at desc) = 1
),
moves as (
    select product_id, warehouse_id, received_at as moved_at, received_on as moved_on, is_day_only, quantity
    from known_receipts
    union all
    select product_id, warehouse_id, shipped_at, shipped_on, is_day_only, -quantity from known_shipments
),
since as (
    select s.product_id, s.warehouse_id, sum(m.quantity) as quantity
    from latest s join moves m on m.product_id = s.product_id and m.warehouse_id = s.warehouse_id
    where m.moved_on >= (select min(snapshot_on) from latest)  -- nothing new: it spares most moves the comparison below
      and case when m.is_day_only or s.is_day_only then m.moved_on > s.snapshot_on else m.moved_at > s.snapshot_at end
    group by s.product_id, s.warehouse_id
),
firm as (
    select product_id, warehouse_id, sum(quantity) as quantity from known_firm_reservations
    group by product_id, warehouse_id
)
select s.product_id, s.warehouse_id, s.snapshot_at, s.on_hand + coalesce(m.quantity, 0.0) as on_hand,
       greatest(s.on_hand + coalesce(m.quantity, 0.0) - s.reserved - coalesce(f.quantity, 0.0), 0.0) as available_now
from latest s
left join since m on m.product_id = s.product_id and m.warehouse_id = s.warehouse_id
left join firm f on f.product_id = s.product_id and f.warehouse_id = s.warehouse_id;

-- One row per product and warehouse that was ever counted or ordered from; what was never counted is not there.
create view known_pools as
select product_id, warehouse_id, s.snapshot_at, coalesce(s.on_hand, 0.0) as on_hand, coalesce(s.available_now, 0.0) as available_now
from (select product_id, warehouse_id from known_stock
      union select product_id, warehouse_id from known_order_lines) p
left join known_stock s using (product_id, warehouse_id);
