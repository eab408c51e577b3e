"""Measurements that take long: run by hand, each prints a table."""
