"""What policies say: the files of `config/` that make the policy record and its slices."""
