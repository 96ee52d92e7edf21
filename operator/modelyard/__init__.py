"""Modelyard: the machine-learning model lifecycle as Kubernetes resources."""
