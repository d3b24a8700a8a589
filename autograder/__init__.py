"""What only an instructor runs: making, releasing, grading and returning the assignment."""
