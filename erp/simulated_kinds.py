"""Three kinds of simulated company that waiting costs money in different ways."""

from dataclasses import replace

from erp.simulated_truth import CompanyShape

# Few accounts that order often, in many lines and large quantities, bound by contracts: hardly anybody comes once or
# leaves over one late line, and what an account is worth shows well in its orders.
WHOLESALE = CompanyShape(
    n_customers=700,
    n_products=62,
    median_gap_days=28.0,
    gap_spread=0.6,
    mean_further_lines=2.0,
    one_time_share=0.03,
    median_stay_days=3000.0,
    anonymous_share=0.01,
    median_quantity=3.5,
    safety_days=-3.0,
    cancel_lost_share=0.04,
    late_lost_share=0.012,
    base_log_odds=-6.1,
)
# Many small customers, most of whom order once or a few times, and a third of the lines from nobody known: little can
# be known of anybody, and they are quick to cancel.
WEB_SHOP = CompanyShape(
    n_customers=4000,
    n_products=80,
    median_gap_days=110.0,
    mean_further_lines=0.5,
    one_time_share=0.4,
    median_stay_days=900.0,
    anonymous_share=0.33,
    median_quantity=3.0,
    safety_days=-4.0,
    base_log_odds=-5.4,
)
# Many products of which each is asked for now and then, ordered from far away: long lead times on which nobody can
# rely, suppliers that fail often, customers who must wait because nobody else has the part.
SPARE_PARTS = CompanyShape(
    n_customers=2500,
    n_products=280,
    n_suppliers=40,
    median_gap_days=60.0,
    median_quantity=3.0,
    shortest_lead_days=15.0,
    longest_lead_days=70.0,
    lead_spread=0.45,
    safety_days=-4.0,
    disruption_gap_days=150.0,
    base_log_odds=-6.3,
)
KINDS = {"wholesale": WHOLESALE, "web shop": WEB_SHOP, "spare parts": SPARE_PARTS}


def company_of(kind: str, seed: int) -> CompanyShape:
    """Shape of a company of one of the `KINDS`.

    >>> company_of("web shop", seed=3).n_customers
    4000
    """
    return replace(KINDS[kind], seed=seed)
