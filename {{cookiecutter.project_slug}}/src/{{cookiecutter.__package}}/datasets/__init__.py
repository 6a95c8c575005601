"""Where rows come from and what makes them good. Owner: data.

What data.py and models rely on, kept stable between releases: `catalog.read`, `table.Table` and `columns`.
"""
