"""What a student's machine does with the handout; ``run_all`` needs nothing but what students install."""
