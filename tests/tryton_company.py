"""Companies in a Tryton database, made within Tryton itself; a program that tests run beside themselves.

`python -m tests.tryton_company CONFIG DATABASE empty|small`. What it makes is kept for later test runs until a byte of
this file changes; tests/tryton_events.py adds to it.
"""

import sys
from decimal import Decimal

PASSWORD = "canary-password-4712"


def empty() -> None:
    """A company with accounts and two users, without products and orders."""
    from proteus import Model
    from trytond.modules.account.tests.tools import create_chart, create_fiscalyear, get_accounts
    from trytond.modules.account_invoice.tests.tools import create_payment_term, set_fiscalyear_invoice_sequences
    from trytond.modules.company.tests.tools import create_company

    create_company()
    create_chart()
    set_fiscalyear_invoice_sequences(create_fiscalyear()).click("create_period")
    accounts = get_accounts()
    goods = Model.get("product.category")(name="goods")
    goods.accounting = True
    goods.account_expense, goods.account_revenue = accounts["expense"], accounts["revenue"]
    goods.save()
    create_payment_term().save()
    _users()


def _users() -> None:
    from proteus import Model

    User, Group, Company = (Model.get(f"{name}") for name in ("res.user", "res.group", "company.company"))  # noqa: N806
    (company,) = Company.find([])
    for login in ("robot", "clerk"):
        user = User(name=login, login=login, password=PASSWORD)
        user.companies.append(Company(company.id))
        user.company = company
        for group in Group.find([("name", "in", ["Stock", "Sales", "Purchase"])]):
            user.groups.append(group)
        user.save()


def small() -> None:
    """Four customers and two products whose orders exceed the stock: low 8 A 3 B, mid 6 A, vip 9 A 2 B, new 1 A 1 B."""
    goods = {"A": product("A", 20), "B": product("B", 50)}
    count({goods["A"]: 10.0, goods["B"]: 4.0})
    for customer, lines in (
        ("low", [("A", 8), ("B", 3)]),
        ("mid", [("A", 6)]),
        ("vip", [("A", 9), ("B", 2)]),
        ("new", [("A", 1), ("B", 1)]),
    ):
        sale(party(customer), [(goods[code], quantity) for code, quantity in lines])


def product(code: str, price: int):
    from proteus import Model

    template = Model.get("product.template")(name=code)
    (template.default_uom,) = Model.get("product.uom").find([("name", "=", "Unit")])
    template.type, template.salable, template.purchasable = "goods", True, True
    template.list_price = Decimal(price)
    (template.account_category,) = Model.get("product.category").find([("name", "=", "goods")])
    template.products[0].suffix_code = code
    template.save()
    return template.products[0]


def party(name: str):
    from proteus import Model

    party = Model.get("party.party")(name=name)
    party.save()
    return party


def count(quantities) -> None:
    """Count stock in the storage."""
    from proteus import Model

    (storage,) = Model.get("stock.location").find([("code", "=", "STO")])
    inventory = Model.get("stock.inventory")()
    inventory.location = storage
    inventory.save()
    for product, quantity in quantities.items():
        line = inventory.lines.new()
        line.product, line.quantity, line.expected_quantity = product, quantity, 0.0
    inventory.save()
    inventory.click("confirm")


def draft(party, lines):
    from proteus import Model

    sale = Model.get("sale.sale")()
    sale.party = party
    (sale.payment_term,) = Model.get("account.invoice.payment_term").find([], limit=1)
    for product, quantity in lines:
        line = sale.lines.new()
        line.product, line.quantity = product, quantity
    sale.save()
    return sale


def sale(party, lines) -> None:
    sale = draft(party, lines)
    sale.click("quote")
    sale.click("confirm")
    assert sale.state == "processing", sale.state


def main() -> None:
    from proteus import config

    settings, database, what, *arguments = sys.argv[1:]
    config.set_trytond(database, user="admin", config_file=settings)
    globals()[what](*arguments)


if __name__ == "__main__":
    main()
