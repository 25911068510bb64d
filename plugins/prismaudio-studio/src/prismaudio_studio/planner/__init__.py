"""The planner: detects sound events in video and writes them as a plan."""
