"""The chain of thought: sections, plans and the events that they state. Text only, no torch."""
