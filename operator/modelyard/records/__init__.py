"""What is kept of a model in the artifact store: a log of events, and the state that it folds to. Pure."""
