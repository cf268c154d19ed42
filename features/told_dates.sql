-- One row per order line that was told a date after the order: the first and the last such date, and how often a later one.
with dates as (
    select order_line_id, told_on, promised_on,
           lag(promised_on) over (partition by order_line_id order by told_at, promised_on) as promised_before_on,
           row_number() over (partition by order_line_id order by told_at, promised_on) as nth
    from known_told_dates
)
select order_line_id, min_by(promised_on, nth) as first_promised_on,
       max_by(promised_on, nth) as latest_promised_on, max(told_on) as promise_told_on,
       count(*) filter (where promised_on > promised_before_on) as n_later_dates
from dates
group by order_line_id
