"""Building chain-of-thought data: rows of sections with their gates and scores, from annotators and decouplers."""
