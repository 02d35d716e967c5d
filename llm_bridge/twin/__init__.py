"""The digital twin: an empirical TabularMDP of logged rollouts, and what each estimator would do on it."""
