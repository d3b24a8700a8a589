"""A small course for the autograder's tests, and submissions that attack it."""
