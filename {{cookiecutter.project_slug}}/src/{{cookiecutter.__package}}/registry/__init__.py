"""Versions of models, what each was made of, and which of them serves. Owner: deployment."""
