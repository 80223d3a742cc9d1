"""Microsoft Tape Format, as .bkf files have it: read as a stream, from end to end, in bounded memory.

It is pure: it opens no file and asks no host. What the published descriptions of the format do not say, or
say on thin grounds, is a doubt of the answer, never a guess; nothing is repaired and nothing is restored.

tape    what a walk found: sets, volumes, counts, what is broken, what is doubtful
blocks  one block, one stream header, one string, one date: bytes become values
sets    what the blocks say, put together
walk    the walk itself: bytes in, in any pieces; the answer at the end
"""

from exremote.mtf.tape import DataSet, Fault, Found, Tape
from exremote.mtf.walk import Walker, walk

__all__ = ["DataSet", "Fault", "Found", "Tape", "Walker", "walk"]
