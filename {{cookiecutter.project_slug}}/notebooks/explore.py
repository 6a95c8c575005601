import marimo

app = marimo.App(width="medium")


@app.cell
def _():
    from importlib import import_module

    import marimo as mo

    data = import_module("{{ cookiecutter.__package }}.data")
    page = import_module("{{ cookiecutter.__package }}.datasets.page")
    report = import_module("{{ cookiecutter.__package }}.datasets.report")
    tables = import_module("{{ cookiecutter.__package }}.datasets.table")
    return data, mo, page, report, tables


@app.cell
def _(data, mo):
    choice = mo.ui.dropdown([table.name for table in data.TABLES], value=data.TABLES[0].name, label="table")
    choice
    return (choice,)


@app.cell
def _(choice, data, tables):
    # Work on the rows that models learn from; what is held out stays unseen until a model is judged.
    table = next(table for table in data.TABLES if table.name == choice.value)
    everything = table.rows()
    held = tables.is_holdout(table, everything)
    rows = everything[~held]
    rows.head(20)
    return everything, held, rows, table


@app.cell
def _(mo, report, rows):
    mo.ui.table(report.profile(rows))
    return


@app.cell
def _(mo, table):
    column = mo.ui.dropdown([table.target, *table.features], value=[*table.features, table.target][0], label="column")
    column
    return (column,)


@app.cell
def _(column, everything, held, mo, page, report, table):
    # First picture: a column, learning rows against held-out ones, and the target by its values.
    mo.iframe(
        page.html("", [report.columns_section(table, everything, held.to_numpy(), [column.value])]), height="320px"
    )
    return


@app.cell
def _(mo, page, report, rows, table):
    # Second picture: which columns tell of the target, and of each other.
    mo.iframe(page.html("", report.association_sections(table, rows)), height="480px")
    return


@app.cell
def _(everything, held, mo, page, report, table):
    # Third picture: what the table is made of: time, series, images, missing values, or the most unusual rows.
    made_of = [
        *report.time_sections(table, everything, held.to_numpy()),
        *report.series_sections(table, everything, held.to_numpy()),
        *report.image_sections(table, everything, held.to_numpy()),
        *report.missing_sections(everything),
    ]
    mo.iframe(
        page.html(
            "",
            made_of or report.sample_sections(table, everything, report.profiled(table, everything, held.to_numpy())),
        ),
        height="640px",
    )
    return


if __name__ == "__main__":
    app.run()
