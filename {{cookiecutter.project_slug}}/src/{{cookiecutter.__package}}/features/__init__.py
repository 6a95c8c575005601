"""Encoders, metrics and plots that models share: the team's files; a change here fits every model again.

Public names keep their meaning and signature between releases.
"""
