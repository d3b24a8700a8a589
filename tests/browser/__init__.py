"""What a grader and a student see: Jupyter in a real browser, without a screen."""
