"""A search for better values of the configuration, by Optuna: many ordinary runs, on one machine or on many."""
