"""Whether what was promised still holds: rows that come in, answers, labels that arrive later. Owner: deployment."""
