"""The hot way of an HTTP request: from the socket to a dialect and back."""
