"""The main job, shown: from nothing to a prediction, and on to the next version without a failed request."""
