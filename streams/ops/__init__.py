"""For operators: what people see of a running pipeline, and what they change by hand."""
