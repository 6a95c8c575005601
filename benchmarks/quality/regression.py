"""Compare the shipped regressor with simple methods on the same held-out rows."""

from __future__ import annotations

from tables import BOOSTED, Set
from tables import section as of_tables

PROBLEM = "regression"
HOUSES = ("Address", "CostPerSqFt", "SPLPPct", "OrigPrice", "ListPrice")
STORM = ("category", "pressure", "status", "tropicalstorm_force_diameter", "hurricane_force_diameter")
CRIMES = ("lcriv", "lcrip", "gcriv", "gcrip")
DEATHS = ("afatal", "nfatal", "sfatal", *(f"{part}fatal{ages}" for part in ("", "n") for ages in (1517, 1820, 2124)))

SETS = (
    Set("modeldata/concrete", "compressive_strength", chosen_on=True),
    Set("modeldata/car_prices", "Price", chosen_on=True),
    Set("ISLR/Wage", "wage", drop=("logwage",), chosen_on=True),
    Set("Ecdat/OFP", "ofp", chosen_on=True),
    Set("ggplot2/diamonds", "price", chosen_on=True),
    Set("modeldata/hotel_rates", "avg_price_per_room", "arrival_date", chosen_on=True),
    Set("ggplot2/txhousing", "median", "date", ("volume",), chosen_on=True),
    Set("mosaicData/Births", "births", "date", chosen_on=True),
    Set("modeldata/Sacramento", "price"),
    Set("openintro/epa2021", "comb_mpg", drop=("city_mpg", "hwy_mpg", "carline", "model_type_index")),
    Set("openintro/bdims", "wgt"),
    Set("Ecdat/MedExp", "med"),
    Set("ISLR/College", "Grad.Rate"),
    Set("Ecdat/Computers", "price", "trend", chosen_on=True),
    Set("AER/Guns", "violent", "year", ("murder", "robbery"), chosen_on=True),
    Set("wooldridge/airfare", "fare", "year", ("lfare", "id"), chosen_on=True),
    Set("crch/RainIbk", "rain", "rownames", chosen_on=True),
    Set("robustbase/NOxEmissions", "LNOx", "julday", chosen_on=True),
    Set("Stat2Data/GrinnellHouses", "SalePrice", "Date", HOUSES, chosen_on=True),
    Set("modeldata/Chicago", "ridership", "date", chosen_on=True),
    Set("Ecdat/Males", "wage", "year", ("nr",), chosen_on=True),
    Set("Ecdat/Cigar", "sales", "year", chosen_on=True),
    Set("AER/USSeatBelts", "fatalities", "year", chosen_on=True),
    Set("AER/PSID7682", "wage", "year", chosen_on=True),
    Set("gapminder/gapminder", "lifeExp", "year", chosen_on=True),
    Set("plm/EmplUK", "emp", "year", ("firm",), chosen_on=True),
    Set("Ecdat/Crime", "crmrte", "year", chosen_on=True),
    Set("nycflights13/weather", "temp", "time_hour", ("dewp",), chosen_on=True),
    Set("stevedata/gss_wages", "realrinc", "year", chosen_on=True),
    Set("dplyr/storms", "wind", "year", STORM, chosen_on=True),
    Set("openintro/ames", "price", "Yr.Sold", ("Order", "PID"), chosen_on=True),
    Set("AER/Fatalities", "fatal", "year", DEATHS),
    Set("Ecdat/Produc", "gsp", "year"),
    Set("wooldridge/fertil1", "kids", "year"),
    Set("wooldridge/prison", "criv", "year", CRIMES),
    Set("dslabs/us_contagious_diseases", "count", "year"),
    Set("plm/LaborSupply", "lnhr", "year", ("id",)),
    Set("ggplot2/economics", "unemploy", "date"),
)


def section(package: str, names: list[str]) -> str:
    """Return the section of the page, in Markdown."""
    from lightgbm import LGBMRegressor
    from sklearn.ensemble import HistGradientBoostingRegressor

    boosted = HistGradientBoostingRegressor(max_leaf_nodes=15, max_iter=300, early_stopping=False, random_state=0)
    default = HistGradientBoostingRegressor(random_state=0)  # no baseline of the template where a table has a time
    peers = {"boosted": default, "LightGBM": LGBMRegressor(verbose=-1, n_jobs=1), BOOSTED: boosted}
    return of_tables(package, "regressor", [each for each in SETS if not names or each.name in names], peers)
