"""From new data to a promoted version, and from a version back to what made it. Owner: deployment."""
