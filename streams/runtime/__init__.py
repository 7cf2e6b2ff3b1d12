"""The data plane: ports, codec, drivers and their in-memory twins, and the feedback worker."""
