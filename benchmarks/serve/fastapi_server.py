"""The server that people write: FastAPI and sentence-transformers.

``python -m benchmarks.serve.fastapi_server CHECKPOINT PORT THREADS``. As in the servers in which M3E is
commonly found, the endpoint is a coroutine that calls ``encode``, so that one request is computed at a time.
Unlike the weakest of them it encodes all texts of a request in one call.
"""

import sys

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

app = FastAPI()
torch.set_num_threads(int(sys.argv[3]))
model = SentenceTransformer(sys.argv[1], device="cpu")


class EmbeddingRequest(BaseModel):
    """OpenAI's request."""

    input: str | list[str]
    model: str


@app.get("/health")
async def health() -> None:
    """Ready."""


@app.post("/v1/embeddings")
async def embeddings(request: EmbeddingRequest) -> dict:
    """OpenAI's answer."""
    texts = [request.input] if isinstance(request.input, str) else request.input
    vectors = model.encode(texts, normalize_embeddings=True, show_progress_bar=False).tolist()
    tokens = sum(len(text.split()) for text in texts)
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": at, "embedding": each} for at, each in enumerate(vectors)],
        "model": request.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
