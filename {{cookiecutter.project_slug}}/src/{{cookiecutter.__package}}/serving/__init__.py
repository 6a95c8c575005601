"""Predictions for others, over HTTP and in files, by the versions that serve. Owner: deployment."""
