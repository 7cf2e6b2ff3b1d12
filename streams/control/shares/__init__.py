"""What was promised about shares of the traffic, and how feeds are brought to hold it."""
