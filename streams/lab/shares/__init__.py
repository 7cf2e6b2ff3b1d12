"""Whether the promised shares hold: the real steering, played on worlds of slots and scores.

Reading order: `worlds` (what happens), `market` (who fills the slots of a minute), `course` (the
minutes of a world, steered), `goals` (what must hold, measured), `drawing` (pictures); `mobs` is
apart: reporters against videos, decided by the pipeline's own code.

What it is: an aggregate. A class has so many impressions to offer at each score, drawn anew every
minute around a taste that wanders; feeds fill the slots of a minute with the best of them under the
tilts in force. Promises, gains, tilts, leans, the guarantee's share, what lost and late minutes do
and how a mix fades are the pipeline's own code. What it is not: videos, viewers, decisions; all
crowds of a surface are one slice.

Adverts are judged one by one, so their worlds (`adverts`, `advert_goals`) are of videos and
viewers, in fewer crowds and slots. So are those that the ceiling of one creator is played in
(`creators`): worlds of the simulator.
"""
