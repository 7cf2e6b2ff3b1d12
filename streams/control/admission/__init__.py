"""Who may be shown at all, and to whom first: recognition, the review gate, the life of a video."""
