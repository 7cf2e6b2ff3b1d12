"""Others who count the same log: programs of their own, which the bench starts and times.

Each counts the feedback of each video, slice and type, the least that is comparable, as the
examples of its library do such things. A program gets its `course.Task` as a line of JSON on
standard input, writes `first` when the first record is processed, and `last` with the number of
feedback events that its state has counted once the last one's effect is stored. `field` says who
they are and what they lack, `race` runs them, `standings` compares.
"""
