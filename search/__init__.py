"""Optuna studies around the objective: exact under crashes and any number of workers."""
