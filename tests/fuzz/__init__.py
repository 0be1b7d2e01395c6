"""Files from anyone, made by the million: harnesses for coverage-guided fuzzing, `make fuzz`."""
