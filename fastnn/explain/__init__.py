"""Every number of a training step, and the proof of its gradient."""
