"""What happens in a company in Tryton, done within Tryton itself; a program that tests run beside themselves.

`python -m tests.tryton_events CONFIG DATABASE orders N|dozens|dropped`.
"""

import sys
from decimal import Decimal

from tests.tryton_company import count, draft, party, product


def orders(n: str) -> None:
    """N sales of 2 A and 1 B each, by four customers in turn, and stock for half of them; all at once."""
    from proteus.config import get_config
    from trytond.pool import Pool
    from trytond.transaction import Transaction

    made = [product("A", 20), product("B", 50)]
    count({made[0]: float(n), made[1]: float(int(n) // 2)})
    goods = [thing.id for thing in made]
    parties = [party(f"customer {place}").id for place in range(4)]
    with Transaction().start(sys.argv[2], get_config().user) as transaction:
        sale = Pool().get("sale.sale")
        with transaction.set_context(Pool().get("res.user").get_preferences(context_only=True)):
            sold = sale.create([_values(parties[place % 4], goods) for place in range(int(n))])
            sale.quote(sold)
            sale.confirm(sold)
            sale.process(sale.browse(sold))
        transaction.commit()


def _values(party_id: int, goods: list[int]) -> dict:
    from trytond.pool import Pool

    address = Pool().get("party.party")(party_id).addresses[0].id
    (company,) = Pool().get("company.company").search([])
    (unit,) = Pool().get("product.uom").search([("name", "=", "Unit")])
    (warehouse,) = Pool().get("stock.location").search([("type", "=", "warehouse")])
    lines = [
        {"type": "line", "product": thing, "unit": unit.id, "quantity": quantity, "unit_price": Decimal(20)}
        for thing, quantity in zip(goods, (2, 1), strict=True)
    ]
    values = {"party": party_id, "company": company.id, "currency": company.currency.id, "warehouse": warehouse.id}
    values |= {"invoice_address": address, "shipment_address": address, "invoice_method": "manual"}
    return values | {"lines": [("create", lines)]}


def dozens() -> None:
    """A sale of 2 dozen and a purchase of 3 dozen of a product that is kept in units."""
    from proteus import Model

    dozen = _dozen()
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
    dozen = Model.get("product.uom")(name="Dozen", symbol="dz", category=unit.category)
    dozen.factor, dozen.rate = 12.0, 0.083333333333
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
