"""The HTTP service ``m3e-serve``, which needs the extra ``serve``.

``cli`` starts it and ``app`` lists its routes. A request passes through the folders in this order:

* ``process``: sockets, signals, worker processes, draining;
* ``connections``: HTTP/1.1 on a connection; too many or too slow clients;
* ``requests``: API key, admission, body, timeout, error responses;
* ``interfaces``: the JSON of OpenAI, text-embeddings-inference and Ollama (``page``: the web page);
* ``models``: the served bundles, each with its :class:`m3e_runtime.AsyncEncoder`, which has the queue.

``admission`` rejects requests (429, 503), ``errors`` has all error responses, and ``monitoring`` has logs,
metrics and traces.
"""
