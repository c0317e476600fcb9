"""The JSON interfaces, a file each: OpenAI, text-embeddings-inference (TEI), Ollama, and their OpenAPI."""
