"""Asks model pods and Prometheus servers for figures."""
