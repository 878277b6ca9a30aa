"""Benchmarks of Slipway against plain kubectl, side by side in one run; `make bench` prints them."""
