"""Long texts in chunks: divided at ends of sentences, by numbers of tokens."""

from m3e_runtime.chunking.chunked_text import ChunkedText
from m3e_runtime.chunking.chunker import Chunk, Chunker
from m3e_runtime.chunking.late import LatePooling
from m3e_runtime.chunking.options import ChunkOptions, check_chunk_options
from m3e_runtime.chunking.parts import Parts
from m3e_runtime.chunking.tokenizing import ChunkTokenizer, TokenizedChunks
from m3e_runtime.chunking.windows import LateWindow

__all__ = [
    "Chunk",
    "ChunkOptions",
    "ChunkTokenizer",
    "ChunkedText",
    "Chunker",
    "LatePooling",
    "LateWindow",
    "Parts",
    "TokenizedChunks",
    "check_chunk_options",
]
