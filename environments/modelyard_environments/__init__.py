"""Builds the environment of an MLflow project: libraries of PyPI by uv, those of conda channels by rattler.

The operator uses what says what an environment is made of. The rest runs in the containers of a Job: with the standard
library alone, by any Python from 3.9, since what builds runs in the image of the trials.
"""
