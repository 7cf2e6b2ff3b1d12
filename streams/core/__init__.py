"""The pure core: no clock, chance, I/O, logging or environment; integers in, integers out."""
