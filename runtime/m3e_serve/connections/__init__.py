"""HTTP/1.1 on a connection: parsing, limits for slow clients, closing without a reset."""
