"""The description of one server, made from its model's signature, and a page that shows it.

page → document → schemas, examples
"""
