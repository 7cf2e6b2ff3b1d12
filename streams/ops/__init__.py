"""Operations: what people see of a running pipeline, and what they put into it by hand."""
