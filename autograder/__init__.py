"""Grades a class in parallel, each submission in a cage; only an instructor runs it.

See README.md in this folder for what the cage protects against and what it doesn't.
"""
