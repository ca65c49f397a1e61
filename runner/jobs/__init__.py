"""Programs that run inside an engine's environment; the core never imports them."""
