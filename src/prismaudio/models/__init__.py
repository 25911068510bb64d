"""Networks as plain ``nn.Module`` classes with typed constructors; no Lightning."""
