"""How much computing each method of reinforcement learning needs to reach a reward; ``benchmarks/rl.py`` runs it."""
