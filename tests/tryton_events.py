"""What happens in a company in Tryton, done within Tryton itself; a program that tests run beside themselves.

python -m tests.tryton_events CONFIG DATABASE orders N|dozens|dropped
"""

import sys
from decimal import Decimal

from tests.tryton_company import count, draft, party, product


def orders(n: str) -> None:
    """N more sales of 2 A and 1 B each, by four customers in turn, and stock for half of them."""
    from proteus import Model

    parties = [party(f"customer {place}") for place in range(4)]
    goods = {"A": product("A", 20), "B": product("B", 50)}
    count({goods["A"]: float(n), goods["B"]: float(int(n) // 2)})
    Sale = Model.get("sale.sale")  # noqa: N806
    sales = [draft(parties[place % 4], [(goods["A"], 2), (goods["B"], 1)]) for place in range(int(n))]
    for start in range(0, len(sales), 100):
        part = sales[start : start + 100]
        Sale.click(part, "quote")
        Sale.click(part, "confirm")


def dozens() -> None:
    """A sale of 2 dozen and a purchase of 3 dozen of a product that is kept in units."""
    from proteus import Model

    (dozen,) = Model.get("product.uom").find([("name", "=", "Dozen")]) or [_dozen()]
    goods = product("C", 7)
    sale = draft(party("by the dozen"), [(goods, 2)])
    sale.lines[0].unit, sale.lines[0].unit_price = dozen, Decimal(60)
    sale.click("quote")
    sale.click("confirm")
    purchase = Model.get("purchase.purchase")()
    purchase.party = party("supplier")
    (purchase.payment_term,) = Model.get("account.invoice.payment_term").find([], limit=1)
    line = purchase.lines.new()
    line.product, line.quantity, line.unit, line.unit_price = goods, 3, dozen, Decimal(30)
    purchase.click("quote")
    purchase.click("confirm")


def _dozen():
    from proteus import Model

    (unit,) = Model.get("product.uom").find([("name", "=", "Unit")])
    dozen = Model.get("product.uom")(name="Dozen", symbol="dz", category=unit.category, factor=12.0, rate=1 / 12)
    dozen.rounding, dozen.digits = 1.0, 0
    dozen.save()
    return dozen


def dropped() -> None:
    """The shipment of the second sale is cancelled, and its sale told not to send it again."""
    from proteus import Model, Wizard

    (shipment,) = Model.get("stock.shipment.out").find([("customer.name", "=", "mid")])
    shipment.click("cancel")
    (sale,) = Model.get("sale.sale").find([("party.name", "=", "mid")])
    handle = Wizard("sale.handle.shipment.exception", [sale])
    handle.form.ignore_moves.extend(handle.form.ignore_moves.find())
    handle.execute("handle")


def main() -> None:
    from proteus import config

    settings, database, what, *arguments = sys.argv[1:]
    config.set_trytond(database, user="admin", config_file=settings)
    globals()[what](*arguments)


if __name__ == "__main__":
    main()
