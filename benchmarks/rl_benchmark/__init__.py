"""Cost of each method of reinforcement learning to reach a target reward; run by ``benchmarks/rl.py``."""
