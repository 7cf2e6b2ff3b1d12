"""Closed-loop simulation: how good the decisions are, against what people use instead."""
