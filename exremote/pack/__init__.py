"""The bulk formats that travel from a host: blocks, tree listings, file packs. It never reads or writes.

words    the error, moments, lists of lines as a parameter
blocks   one byte array record: a flag and then plain or deflated bytes
listing  the text of a tree, a line an entry; what a host has to list of a tree that is known
files    a pack: many files in one stream
writing  a pack on its way to a host
pieces   a file of which only pieces are sent, with the gaps between
settings registry values on their way to a host

All of it comes from a machine that may be broken or hostile: whatever arrives, the answer is values or
`PackError`, in memory bounded by the block, and in time linear in the bytes.
"""

from exremote.pack.blocks import MAX_BLOCK, BlockReader, seal_block
from exremote.pack.files import FileBegin, FileData, FileEnd, FileError, PackEnd, PackEvent, PackReader
from exremote.pack.listing import Listing, Outline, TreeEntry, TreeState, format_entry, parse_listing
from exremote.pack.pieces import PieceReader
from exremote.pack.settings import seal_settings
from exremote.pack.words import PackError, datetime_to_ticks, encode_lines, ticks_to_datetime
from exremote.pack.writing import PackWriter, SealedBlock

__all__ = [
    "MAX_BLOCK",
    "BlockReader",
    "FileBegin",
    "FileData",
    "FileEnd",
    "FileError",
    "Listing",
    "Outline",
    "PackEnd",
    "PackError",
    "PackEvent",
    "PackReader",
    "PackWriter",
    "PieceReader",
    "SealedBlock",
    "TreeEntry",
    "TreeState",
    "datetime_to_ticks",
    "encode_lines",
    "format_entry",
    "parse_listing",
    "seal_block",
    "seal_settings",
    "ticks_to_datetime",
]
