collect_ignore = ["docstrings.py"]  # imports griffe, which only the site needs
