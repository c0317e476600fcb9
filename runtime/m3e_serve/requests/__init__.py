"""One request, from its headers to its response: API key, admission, body, timeout, errors."""
