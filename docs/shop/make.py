"""Turn a new data-centric project into one with a database: `uv run python .../docs/shop/make.py` in its folder."""

import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

HERE = Path(__file__).parent
TABLES = {
    "customers": "customer integer primary key, city text not null, since text not null",
    "products": "product text primary key, kind text not null, price real not null",
    "orders": '"order" integer primary key, customer integer not null, product text not null, '
    "ordered_on text not null, pieces integer not null, sent_back integer not null",
}


def main() -> None:
    """Write data/shop.db, a query for each of its tables, the catalogue, data.py, and the address of the database."""
    [module] = Path("src").glob("*/data.py")
    if subprocess.run(
        ["git", "status", "--porcelain", "data", "src"], capture_output=True, text=True, check=True
    ).stdout:
        sys.exit("commit what is in data/ and src/ first: this replaces data/catalog.yaml and data.py")
    shutil.copy(HERE / "catalog.yaml", "data/catalog.yaml")
    shutil.copy(HERE / "data.py", module)
    database = Path("data/shop.db")
    database.unlink(missing_ok=True)
    with closing(sqlite3.connect(database)) as shop, shop:
        for name, columns in TABLES.items():
            found = list(rows(name))
            shop.execute(f"create table {name} ({columns})")
            shop.executemany(f"insert into {name} values ({', '.join('?' * len(found[0]))})", found)
            Path(f"data/{name}.sql").write_text(f"select * from {name}\n", encoding="utf-8")
    with Path(".env").open("a", encoding="utf-8") as settings:
        settings.write("SHOP_URL=sqlite:///data/shop.db\n")
    print("data/shop.db has customers, products and orders; data.py joins them: look at both, then `uv run just data`")


def rows(table: str):
    """Yield the rows of a table, the same every time: shoes are sent back more often, most of all by new customers."""
    draw = random.Random(table)
    for i in range({"customers": 300, "products": 40, "orders": 3000}[table]):
        if table == "customers":
            yield i, draw.choice(["Oulu", "Turku", "Vaasa"]), str(date(2020, 1, 1) + timedelta(draw.randrange(1400)))
        elif table == "products":
            yield f"P{i:02d}", ["shoes", "shirts", "hats", "coats"][i % 4], round(draw.uniform(10, 200), 2)
        else:
            customer, product = draw.randrange(300), draw.randrange(40)
            chance = 0.1 + 0.3 * (product % 4 == 0) + 0.2 * (customer % 5 == 0)
            day = date(2024, 1, 1) + timedelta(i // 8)
            yield i, customer, f"P{product:02d}", str(day), draw.randint(1, 4), draw.random() < chance


if __name__ == "__main__":
    main()
