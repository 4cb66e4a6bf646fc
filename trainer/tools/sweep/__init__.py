"""A search for better values of the configuration: many ordinary runs, by many processes, on one machine or on many.

ranges.py     what is searched: LOW..HIGH and A,B,C on the command line
proposals.py  which values a trial gets, and when it is hopeless
store.py      the trials in a database that all processes share
worker.py     one process: take a trial, train, tell its loss
search.py     the command: keep the workers busy until the last trial has ended
results.py    the table, the importance of each key, best.yaml
"""
