"""Pure decisions: observed state in, what should be and the status with its reason out. No I/O, no clock of its own."""
