"""Numbers in few bits: moments in, what a state keeps of them out, and back."""
