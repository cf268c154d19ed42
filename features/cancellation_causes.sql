-- One row per cancelled quantity: whose doing it was, as far as known. In this order:
--   what is said     the site's word for the reason code, else cancelled_by
--   moved            a quantity that fell, or a line that vanished, on the day when as much was split off from it: change
--   the seller's     nothing is said, and the product was at its end, or one hand cancelled many (numbers below)
--   ordered again    by the same customer within reorder_days, as a later order line of the product: change
--   the customer's   all else; the cause is unknown where nothing was said
with numbers as (
    -- One hand: lines of so many customers in the same instant; or of one product on one day, and then this share of all
    -- its lines that were open. Customers do not agree on a second; on a day they may, but not half of them.
    select 5 as batch_n_customers, 0.5 as batch_share
),
cancelled as (
    select x.order_line_id, x.cancelled_on, x.happened_at, x.known_at, x.is_day_only, x.is_told, x.quantity,
           coalesce(m.cause, x.cancelled_by) as said, case when m.cause is null then x.reason end as unmapped_reason,
           l.customer_id, l.product_id, l.ordered_at
    from known_cancellations x
    join known_order_lines l on l.order_line_id = x.order_line_id
    left join known_cancel_reasons m on m.reason = x.reason
),
-- What the ERP did not write as a cancellation has the time of the extract that no longer showed it: no hand's instant.
instants as (
    select happened_at from cancelled cross join numbers where said is null and is_told and not is_day_only
    group by happened_at having count(distinct customer_id) >= max(batch_n_customers)
),
busy_days as (
    select product_id, cancelled_on, count(distinct order_line_id) as n_lines
    from cancelled cross join numbers where said is null
    group by product_id, cancelled_on having count(distinct customer_id) >= max(batch_n_customers)
),
done as (
    select order_line_id, shipped_on as done_on, quantity from known_shipments
    union all
    select order_line_id, cancelled_on, quantity from known_cancellations
),
open_that_day as (
    select d.product_id, d.cancelled_on, l.order_line_id
    from busy_days d
    join known_order_lines l on l.product_id = d.product_id and l.ordered_on <= d.cancelled_on
    left join done e on e.order_line_id = l.order_line_id and e.done_on < d.cancelled_on
    group by d.product_id, d.cancelled_on, l.order_line_id
    having max(l.quantity) - coalesce(sum(e.quantity), 0.0) > 1e-9 * max(l.quantity)
),
swept_days as (
    select d.product_id, d.cancelled_on
    from busy_days d join open_that_day o on o.product_id = d.product_id and o.cancelled_on = d.cancelled_on cross join numbers
    group by d.product_id, d.cancelled_on
    having max(d.n_lines) >= max(batch_share) * count(*)
),
moved as (
    select c.order_line_id, c.cancelled_on
    from (select order_line_id, cancelled_on, sum(quantity) as quantity from cancelled where not is_told
          group by order_line_id, cancelled_on) c
    join (select split_from_id, appeared_on, sum(quantity) as quantity from known_order_lines
          where split_from_id is not null group by split_from_id, appeared_on) s
        on s.split_from_id = c.order_line_id and s.appeared_on = c.cancelled_on and s.quantity >= c.quantity * (1 - 1e-9)
),
ordered_again as (
    select distinct c.order_line_id, c.cancelled_on
    from cancelled c cross join known_moment
    join known_order_lines r on r.customer_id = c.customer_id and r.product_id = c.product_id
    where r.ordered_at > c.ordered_at and r.order_line_id <> c.order_line_id and reorder_days > 0
      and date_diff('day', c.cancelled_on, r.ordered_on) between 0 and reorder_days
),
judged as (
    select c.*,
           case when c.said in ('seller', 'change') then c.said
                when m.order_line_id is not null then 'change'
                when c.said is null and (i.happened_at is not null or w.product_id is not null
                                         or p.discontinued_on <= c.cancelled_on) then 'seller'
                when a.order_line_id is not null then 'change'
                else 'customer' end as cause
    from cancelled c
    join known_products p on p.product_id = c.product_id
    left join instants i on i.happened_at = c.happened_at and c.is_told and not c.is_day_only
    left join swept_days w on w.product_id = c.product_id and w.cancelled_on = c.cancelled_on
    left join moved m on m.order_line_id = c.order_line_id and m.cancelled_on = c.cancelled_on and not c.is_told
    left join ordered_again a on a.order_line_id = c.order_line_id and a.cancelled_on = c.cancelled_on
)
select order_line_id, cancelled_on, happened_at, known_at, is_day_only, quantity, cause,
       said is null and cause = 'customer' as is_cause_unknown, unmapped_reason
from judged
