"""MLflow projects: reads an MLproject file, checks parameters and builds the command, without I/O."""
