"""What a connector loses beside what its model gets wrong: joins and statistics from result files alone."""
