"""What rollouts are tried with: models, good and bad, and a deployment under load."""
