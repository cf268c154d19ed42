"""Whatever `--data` names, read into a folder of the contract's tables: files, a database, an ERP."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from erp.addresses import is_address, shown
from erp.contract import ContractError
from erp.credentials import password
from erp.engine import engine
from erp.extract_files import file_kind, read_duckdb, read_sqlite
from erp.postgres_address import is_postgres
from erp.settings import Site

Kind = Literal["folder", "duckdb", "sqlite", "postgresql", "tryton"]
_KINDS = (
    "a folder of the contract's tables, a DuckDB or SQLite file, postgresql://user@host/database?schema=name"
    " or tryton+https://user@host/database"
)


def kind_of(data: str) -> Kind:
    """What kind of source `--data` names.

    Raises
    ------
    ContractError
        If it is none: no such file, or an address that nothing here can read.

    >>> kind_of("postgresql://reader@erp/sales"), kind_of("tryton+http://reader@erp:8000/sales")
    ('postgresql', 'tryton')
    """
    if is_address(data):
        if is_postgres(data):
            return "postgresql"
        if data.startswith(("tryton+http://", "tryton+https://")):
            return "tryton"
        raise ContractError(f"{shown(data)} cannot be read; --data names {_KINDS}")
    path = Path(data)
    if not path.is_file():
        return "folder"  # whether it is there is said where it is opened
    kind = file_kind(path)
    if kind == "duckdb":
        return "duckdb"
    if kind == "sqlite":
        return "sqlite"
    raise ContractError(f"{path.name} is no folder, and neither DuckDB's nor SQLite's; --data names {_KINDS}")


def is_live(data: str) -> bool:
    """Whether the source is a system that tells only how it is now."""
    return is_address(data)


def read_source(site: Site, folder: Path, as_of: datetime) -> Path:
    """Read the source into `folder`; a source that is a folder stays where it is.

    A live system counts its stock while it is read, moments after T: such a count is the one that holds at T.

    Returns
    -------
    The folder that holds the contract's tables.

    Raises
    ------
    ContractError
        If it cannot be read or a required table is missing.
    SettingsError
        If a password file cannot be read, or what reads such a source is not installed.
    """
    kind = kind_of(site.data)
    if kind == "folder":
        return Path(site.data)
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "duckdb":
        read_duckdb(Path(site.data), site, folder)
    elif kind == "sqlite":
        read_sqlite(Path(site.data), folder)
    elif kind == "postgresql":
        from erp import extract_postgres

        extract_postgres.read_tables(site.data, password("data", site), folder)
        _count_at(as_of, site, folder / "stock.parquet")
    else:
        from erp import tryton_source

        tryton_source.read_tables(site.data, password("data", site), folder)
        _count_at(as_of, site, folder / "stock.parquet")
    return folder


def _count_at(as_of: datetime, site: Site, stock: Path) -> None:
    """Let stock counted after T, but not later than a source may be read for T, count as counted at T."""
    until = as_of + timedelta(minutes=site.late_extract_minutes)
    counted = "try_cast(snapshot_at as timestamptz) at time zone 'UTC'"
    part = stock.with_suffix(".part")
    with engine(site) as connection:
        connection.execute(
            f"""copy (select * replace (
                        case when {counted} > timestamp '{as_of}' and {counted} <= timestamp '{until}'
                             then '{as_of}' else cast(snapshot_at as varchar) end as snapshot_at)
                      from read_parquet($stock))
                to '{str(part).replace("'", "''")}' (format parquet, compression zstd)""",
            {"stock": str(stock)},
        )
    part.replace(stock)


@contextmanager
def as_folder(site: Site, as_of: datetime) -> Iterator[Site]:
    """The site with its source as a folder, as it is read for T, for as long as this lasts."""
    if kind_of(site.data) == "folder":
        yield site
        return
    with TemporaryDirectory(prefix="backorder-extract-") as folder:
        yield replace(site, data=str(read_source(site, Path(folder), as_of)))
