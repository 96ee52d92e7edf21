"""A model's signature: its types, and the rules by which input is held to it."""
