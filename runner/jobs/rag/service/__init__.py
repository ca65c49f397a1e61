"""The service: OpenAI's chat completions over what was ingested, retrieval alone, ingest, health, metrics, a chat page.

wire        what comes in and goes out, in OpenAI's shapes
gate        how many at once, how many may wait; 503 beyond
doors       a key, a size and a name for every request
telemetry   Prometheus' metrics and OpenTelemetry's traces
health      is the store there, is the language model
app         the routes
page        the chat page, Gradio's
"""
