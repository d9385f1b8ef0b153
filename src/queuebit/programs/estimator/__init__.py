"""The estimator: expectation values, and the mitigation of their errors."""
