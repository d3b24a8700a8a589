"""Measurements that are run by hand: times and accuracies, which differ between machines."""
