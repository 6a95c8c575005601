"""From rows to a fitted, scored and described model: files in, files out. Owner: model."""
