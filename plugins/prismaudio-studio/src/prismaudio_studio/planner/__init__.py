"""The planner: it watches for events and writes them down."""
