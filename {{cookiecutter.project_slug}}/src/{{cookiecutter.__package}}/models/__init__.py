"""The team's models: a module for each kind, named by `module` of a block in params.yaml, else by the block's name.

A module keeps this contract. Rows are frames with the columns of the table's schema, one row per key. Predictions are
frames with the same index and at least a column `prediction`. Losses have one number per row, lower is better; their
mean is the primary metric, because that is what the gate can resample.

    PRIMARY: str                                              name of the primary metric
    TRUSTED: tuple[str, ...]                                  types the model file may hold besides skops' own
    class Params                                              a frozen dataclass: what its block may set
    fit(rows, table, params) -> estimator                     scikit-learn compatible
    baselines(rows, table, params) -> dict[str, estimator]    fitted; at least `naive`
    predict(estimator, rows) -> DataFrame
    losses(rows, predictions, table) -> ndarray               (rows,)
    metrics(rows, predictions, table) -> dict[str, float]
    plots(rows, predictions, table) -> dict[str, Figure]

The report shows more of a module that adds:

    loss_units(loss, table) -> dict[str, float]               a mean loss by the names of its units, gains in the first
    tables(rows, predictions, table) -> dict[str, DataFrame]  further tables by title

A title of `plots` may also have several small figures, as a dict by their captions.

A model that is asked something else than a row of its table (a forecaster needs the values so far) adds:

    prediction_requests(rows, held, table, params) -> DataFrame    the held-out rows as they would have been requested
    inputs(rows, table) -> list[Input]                             the columns of a request
    prediction_responses(estimator, rows) -> list[dict]            the service's answer to each row

A model whose losses need more of a row than request, prediction and target, such as the scale of its series, adds:

    loss_context(held, table) -> DataFrame                    those columns, a row for each group of the table, or one

A model that keeps something of the rows that newer ones replace, such as the last values of each series, adds:

    update(estimator, rows, table) -> estimator               what it keeps is of these rows, nothing is fitted again
    future_requests(estimator, periods) -> DataFrame          a row for each series and each of its next periods
    expand_requests(estimator, rows) -> DataFrame             rows without a time -> a row for each time of the horizon

A model that goes on learning from logged rows, once their labels are there (`just learn`), adds:

    learn(estimator, rows, table) -> estimator                rows with their target, in the order of time

Modules here import from `..datasets`, `..features` and each other only, so that a version can predict with the code it
was made with.
"""
