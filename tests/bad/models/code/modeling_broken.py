class Config(LlamaConfig)
    model_type = "broken"
