"""What the server tells of its requests: the distribution of its answers, a line or a trace for each.

Requests only leave notes, in bounded queues; reading, formatting and sending them is the business of other threads.
"""
