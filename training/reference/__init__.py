"""Independent references for the engine's tests: tiny checkpoints run by transformers, and float64 reductions."""
