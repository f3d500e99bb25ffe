"""The gateway beside other stacks, with workers that only stream."""
