"""What is claimed about speed, measured: `python -m benchmarks` runs all and rewrites docs/performance.md."""
