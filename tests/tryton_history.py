"""Loads a company of the contract's tables into Tryton, within Tryton itself; a program that tests run.

`python -m tests.tryton_history CONFIG DATABASE FOLDER DAYS`, where DAYS are added to every date. What is over is
written as Tryton would have left it, its states set directly; sales with open lines are confirmed and processed by
Tryton, so that their shipments are its own. Prints, as JSON, the sale line of each order line and the purchase line of
each inbound line.
"""

import json
import sys
from datetime import datetime, time, timedelta
from decimal import Decimal

import duckdb

PRICE = Decimal("0.0001")


class Loader:
    """One company under way into one database."""

    def __init__(self, folder: str, days: int, pool) -> None:
        self.folder, self.shift, self.pool = folder, timedelta(days=days), pool
        self.company = pool.get("company.company").search([])[0]
        self.unit = pool.get("product.uom").search([("name", "=", "Unit")])[0]
        places = {place.code: place for place in pool.get("stock.location").search([])}
        self.storage, self.warehouse = places["STO"], places["WH"]
        (self.customers,) = pool.get("stock.location").search([("type", "=", "customer")], limit=1)
        (self.suppliers,) = pool.get("stock.location").search([("type", "=", "supplier")], limit=1)
        (self.lost,) = pool.get("stock.location").search([("type", "=", "lost_found")], limit=1)

    def rows(self, query: str) -> list[tuple]:
        for name in ("order_lines", "shipments", "cancellations", "products", "purchase_orders", "receipts", "stock"):
            query = query.replace(f"<{name}>", f"'{self.folder}/{name}.parquet'")
        return duckdb.sql(query.replace("<customers>", f"'{self.folder}/customers.parquet'")).fetchall()

    def load(self) -> dict[str, dict[str, int]]:
        self.products()
        self.parties()
        sold = self.sales()
        bought = self.purchases()
        self.opening_stock()
        return {"sold": {name: line.id for name, line in sold.items()}, "bought": bought}

    def products(self) -> None:
        (category,) = self.pool.get("product.category").search([("name", "=", "goods")])
        templates = self.pool.get("product.template").create(
            [
                {
                    "name": name,
                    "default_uom": self.unit.id,
                    "type": "goods",
                    "salable": True,
                    "purchasable": True,
                    "list_price": Decimal(str(price)),
                    "account_category": category.id,
                    "sale_uom": self.unit.id,
                    "purchase_uom": self.unit.id,
                    "products": [("create", [{"suffix_code": name, "cost_price": Decimal(str(cost))}])],
                }
                for name, price, cost in self.rows(
                    "select product_id, arg_max(list_price, recorded_at), arg_max(unit_cost, recorded_at)"
                    " from <products> group by product_id order by product_id"
                )
            ]
        )
        self.product = {template.name: template.products[0] for template in templates}

    def parties(self) -> None:
        names = [name for (name,) in self.rows("select customer_id from <customers> order by customer_id")]
        names += [n for (n,) in self.rows("select distinct supplier_id from <purchase_orders> order by supplier_id")]
        parties = self.pool.get("party.party").create(
            [{"name": name, "addresses": [("create", [{"street": "Street 1"}])]} for name in names]
        )
        self.party = {party.name: party for party in parties}
        self.party[None] = self.pool.get("party.party").create(
            [{"name": "walk-in", "addresses": [("create", [{"street": "Street 1"}])]}]
        )[0]  # Tryton knows no order without a party

    def sales(self) -> dict[str, object]:
        sale_model, line_model = self.pool.get("sale.sale"), self.pool.get("sale.line")
        rows = self.rows("select * exclude (quantity), quantity from <order_lines> order by ordered_at, order_line_id")
        names = duckdb.sql(f"select * exclude (quantity), quantity from '{self.folder}/order_lines.parquet'").columns
        orders: dict[str, list[dict]] = {}
        for row in rows:
            record = dict(zip(names, row, strict=True))
            orders.setdefault(record["order_id"], []).append(record)
        created = sale_model.create([self.sale(lines) for lines in orders.values()])
        lines = {}
        for sale, told in zip(created, orders.values(), strict=True):
            for line, record in zip(sale.lines, told, strict=True):
                lines[record["order_line_id"]] = line
        self.stamp(sale_model, {s: told[0]["ordered_at"] for s, told in zip(created, orders.values(), strict=True)})
        left = self.events(lines, {line: r["quantity"] for r, line in self.by_line(orders, lines)})
        opened = [sale for sale in created if any(left[line] > 1e-9 for line in sale.lines)]
        self.set_state(sale_model, [sale for sale in created if sale not in set(opened)], "done")
        sale_model.quote(opened)
        sale_model.confirm(opened)
        sale_model.process(sale_model.browse(opened))
        promised = {line: r["promised_on"] for r, line in self.by_line(orders, lines) if r["promised_on"] is not None}
        self.first_planned({line_model(line.id): day for line, day in promised.items()})
        return lines

    def by_line(self, orders, lines):
        return [(record, lines[record["order_line_id"]]) for told in orders.values() for record in told]

    def sale(self, lines: list[dict]) -> dict:
        party = self.party[lines[0]["customer_id"]]
        return {
            "party": party.id,
            "company": self.company.id,
            "currency": self.company.currency.id,
            "warehouse": self.warehouse.id,
            "invoice_address": party.addresses[0].id,
            "shipment_address": party.addresses[0].id,
            "sale_date": (lines[0]["ordered_at"] + self.shift).date(),
            "shipping_date": self.day(lines[0]["requested_on"]),  # one for the whole sale
            "reference": lines[0]["customer_reference"],
            "invoice_method": "manual",
            "lines": [
                (
                    "create",
                    [
                        {
                            "type": "line",
                            "product": self.product[line["product_id"]].id,
                            "unit": self.unit.id,
                            "quantity": line["quantity"],
                            "unit_price": Decimal(str(line["unit_price"])).quantize(PRICE),
                        }
                        for line in lines
                    ],
                )
            ],
        }

    def events(self, lines, left) -> dict:
        """Write what was shipped and cancelled; returns what of each line is left."""
        for table, column, state in (
            ("shipments", "shipped_at", "done"),
            ("cancellations", "cancelled_at", "cancelled"),
        ):
            told = self.rows(f"select order_line_id, {column}, quantity from <{table}> order by event_id")
            moves = self.moves(
                (self.storage, self.customers, lines[name].product, quantity, lines[name], lines[name].unit_price)
                for name, _, quantity in told
            )
            self.happened(moves, [moment for _, moment, _ in told], state)
            if state == "cancelled":
                pairs = zip(moves, told, strict=True)
                self.pool.get("sale.line-ignored-stock.move").create(
                    [{"sale_line": lines[name].id, "move": move.id} for move, (name, _, _) in pairs]
                )
            for name, _, quantity in told:
                left[lines[name]] -= quantity
        return left

    def purchases(self) -> dict[str, int]:
        model = self.pool.get("purchase.purchase")
        told = self.rows(
            "select po_line_id, supplier_id, product_id, ordered_at, arg_max(expected_on, recorded_at),"
            " arg_max(quantity, recorded_at), arg_max(unit_cost, recorded_at) from <purchase_orders>"
            " group by all order by po_line_id"
        )
        created = model.create([self.purchase(*row) for row in told])
        self.stamp(model, {bought: row[3] for bought, row in zip(created, told, strict=True)})
        self.set_state(model, created, "processing")
        lines = {row[0]: bought.lines[0] for bought, row in zip(created, told, strict=True)}
        came = self.rows("select po_line_id, received_at, quantity from <receipts> order by event_id")
        moves = self.moves(
            (self.suppliers, self.storage, lines[name].product, quantity, lines[name], lines[name].unit_price)
            for name, _, quantity in came
        )
        self.happened(moves, [moment for _, moment, _ in came], "done")
        left = {row[0]: row[5] for row in told}
        for name, _, quantity in came:
            left[name] -= quantity
        coming = [row for row in told if left[row[0]] > 1e-9]
        moves = self.moves(
            (self.suppliers, self.storage, lines[r[0]].product, left[r[0]], lines[r[0]], lines[r[0]].unit_price)
            for r in coming
        )
        table = self.pool.get("stock.move").__table__()
        for move, row in zip(moves, coming, strict=True):
            self.execute(table.update([table.planned_date], [self.day(row[4])], where=table.id == move.id))
        return {name: line.id for name, line in lines.items()}

    def purchase(self, name, supplier, product, ordered_at, expected_on, quantity, cost) -> dict:
        party = self.party[supplier]
        line = {
            "type": "line",
            "product": self.product[product].id,
            "unit": self.unit.id,
            "quantity": quantity,
            "unit_price": Decimal(str(cost)).quantize(PRICE),
            "delivery_date_edit": True,
            "delivery_date_store": self.day(expected_on),
        }
        return {
            "party": party.id,
            "company": self.company.id,
            "currency": self.company.currency.id,
            "warehouse": self.warehouse.id,
            "invoice_address": party.addresses[0].id,
            "invoice_method": "manual",
            "purchase_date": (ordered_at + self.shift).date(),
            "reference": name,
            "lines": [("create", [line])],
        }

    def opening_stock(self) -> None:
        """Goods that were there before the first event, so that what is there now comes out."""
        told = self.rows(
            "select s.product_id, s.on_hand + coalesce(o.shipped, 0) - coalesce(r.received, 0)"
            " from (select product_id, arg_max(on_hand, snapshot_at) as on_hand from <stock> group by 1) s"
            " left join (select product_id, sum(e.quantity) as shipped from <shipments> e"
            " join <order_lines> using (order_line_id) group by 1) o using (product_id)"
            " left join (select product_id, sum(e.quantity) as received from <receipts> e join"
            " (select distinct po_line_id, product_id from <purchase_orders>) using (po_line_id) group by 1) r"
            " using (product_id) order by 1"
        )
        first = self.rows("select min(ordered_at) from <order_lines>")[0][0] - timedelta(days=1)
        ends = (self.lost, self.storage)
        told = [(name, quantity) for name, quantity in told if quantity]
        moves = self.moves(
            (*(ends if quantity > 0 else ends[::-1]), self.product[name], abs(quantity), None, None)
            for name, quantity in told
        )
        self.happened(moves, [first] * len(moves), "done")

    def moves(self, wanted) -> list:
        values = []
        for source, target, product, quantity, origin, price in wanted:
            move = {"product": product.id, "unit": self.unit.id, "quantity": quantity, "company": self.company.id}
            move |= {"from_location": source.id, "to_location": target.id}
            if origin is not None:
                move |= {"origin": str(origin), "unit_price": price, "currency": self.company.currency.id}
            values.append(move)
        return self.pool.get("stock.move").create(values)

    def happened(self, moves, moments, state: str) -> None:
        table = self.pool.get("stock.move").__table__()
        for move, moment in zip(moves, moments, strict=True):
            moment = moment + self.shift
            day = moment.date() if state == "done" else None
            columns = [table.state, table.effective_date, table.planned_date, table.create_date, table.write_date]
            values = [state, day, moment.date(), moment, moment]
            self.execute(table.update(columns, values, where=table.id == move.id))

    def first_planned(self, days) -> None:
        table = self.pool.get("stock.move").__table__()
        for line, day in days.items():
            where = table.origin == str(line)
            self.execute(table.update([table.origin_planned_date], [self.day(day)], where=where))

    def stamp(self, model, moments) -> None:
        table = model.__table__()
        for record, moment in moments.items():
            self.execute(table.update([table.create_date], [moment + self.shift], where=table.id == record.id))

    def set_state(self, model, records, state: str) -> None:
        table = model.__table__()
        for record in records:
            self.execute(table.update([table.state], [state], where=table.id == record.id))

    def execute(self, query) -> None:
        from trytond.transaction import Transaction

        with Transaction().connection.cursor() as cursor:
            cursor.execute(*query)

    def day(self, moment):
        return (datetime.combine(moment, time.min) + self.shift).date() if moment is not None else None


def main() -> None:
    from proteus import config
    from trytond.pool import Pool
    from trytond.transaction import Transaction

    settings, database, folder, days = sys.argv[1:]
    admin = config.set_trytond(database, user="admin", config_file=settings).user
    with Transaction().start(database, admin) as transaction:
        user = Pool().get("res.user")
        with transaction.set_context(user.get_preferences(context_only=True)):
            told = Loader(folder, int(days), Pool()).load()
        transaction.commit()
    print(json.dumps(told))


if __name__ == "__main__":
    main()
