"""What happens, in which order: flows, steps, the gate, promotion, and what they need."""
