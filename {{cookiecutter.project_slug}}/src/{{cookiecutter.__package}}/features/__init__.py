"""Encoders, metrics and plots that models share: the team's files; a change here fits every model again.

Public names keep their meaning and signature between releases. Former names (`classes.pictures`, `seasons.rhythm`) are
removed in 1.0.
"""
