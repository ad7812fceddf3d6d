"""The extra `language`: training, perplexity and recommendation with real models."""
