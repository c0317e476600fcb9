"""Long texts in chunks: divided at ends of sentences, by numbers of tokens."""

from m3e_runtime.chunking.chunked_text import ChunkedText
from m3e_runtime.chunking.chunker import Chunk, Chunker
from m3e_runtime.chunking.late import LateChunks
from m3e_runtime.chunking.options import ChunkOptions

__all__ = ["Chunk", "ChunkOptions", "ChunkedText", "Chunker", "LateChunks"]
