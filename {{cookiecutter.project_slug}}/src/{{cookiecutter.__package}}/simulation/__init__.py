"""The whole loop over simulated days: the project's own service, log, watch, retrain and gate. Owner: deployment."""
