import marimo

app = marimo.App(width="medium")


@app.cell
def _():
    from importlib import import_module

    import marimo as mo

    data = import_module("{{ cookiecutter.__package }}.data")
    report = import_module("{{ cookiecutter.__package }}.datasets.report")
    return data, mo, report


@app.cell
def _(data, mo):
    choice = mo.ui.dropdown([table.name for table in data.TABLES], value=data.TABLES[0].name, label="table")
    choice
    return (choice,)


@app.cell
def _(choice, data):
    table = next(table for table in data.TABLES if table.name == choice.value)
    rows = table.load()
    rows.head(20)
    return rows, table


@app.cell
def _(mo, report, rows):
    mo.ui.table(report.profile(rows))
    return


@app.cell
def _(rows, table):
    # The plots that data.py declares, such as series over time or some of the images.
    list(table.plots(rows).values()) if table.plots else None
    return


@app.cell
def _(rows, table):
    # The median of each feature by class or, for a numeric target, its correlation with the target.
    numbers = rows.select_dtypes("number").columns.intersection(table.features)
    if rows[table.target].dtype.kind in "if":
        rows[numbers].corrwith(rows[table.target]).sort_values(key=abs, ascending=False)
    else:
        rows.groupby(table.target)[list(numbers)].median().T
    return


if __name__ == "__main__":
    app.run()
