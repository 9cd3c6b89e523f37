"""The table of an address: found and checked, or the statements that make it."""

from __future__ import annotations

import re

from hashret.errors import StoreError
from hashret.search import HammingIndex
from hashret.stores.address import Address
from hashret.stores.clickhouse_engine import Engine
from hashret.stores.clickhouse_sql import Table
from hashret.stores.local import check_bits

__all__ = ["table_of"]


def table_of(engine: Engine, database: str, address: Address) -> tuple[Table, list[str]]:
    """The table, and what makes it where there is none.

    Raises:
        StoreError: The engine has no bitHammingDistance; there is no table and no ``bits`` for one, or it holds no
            codes.
        WidthError: It holds codes of another width.
    """
    name, bits = address.options.get("table", "codes"), address.number("bits")
    engine.run("SELECT bitHammingDistance(toFixedString('a', 1), toFixedString('b', 1))")  # older servers have none
    found = engine.rows(
        "SELECT t.comment, c.type FROM system.tables AS t LEFT JOIN (SELECT type FROM system.columns "
        "WHERE database = {d:String} AND table = {t:String} AND name = 'code') AS c ON true "
        "WHERE t.database = {d:String} AND t.name = {t:String}",
        {"d": database, "t": name},
    )
    if not found and bits is None:
        raise StoreError(
            address.shown, expected=f"a table {database}.{name}", got="none", remedy="Give bits=WIDTH to make it."
        )
    if not found:
        HammingIndex(bits or 0)  # refuses what is too wide
        table = Table(database, name, bits or 0)
        return table, table.made()
    comment, kind = found[0]
    said = re.search(r"hashret\.codes/1 bits=(\d+)(?: model=(\w+))?", comment)
    width = re.fullmatch(r"FixedString\((\d+)\)", kind or "")
    if not width:
        raise StoreError(
            f"{database}.{name}", expected="a column code FixedString(n)", got=kind or "none",
            remedy="Name the table of codes by ?table=.",
        )  # fmt: skip
    have = int(said[1]) if said else bits or 8 * int(width[1])
    check_bits(have, bits, f"{database}.{name}")
    check_bits(8 * int(width[1]), 8 * -(-have // 8), f"{database}.{name}")
    return Table(database, name, have, (said[2] or "") if said else ""), []
