"""Continual pretraining of a small language model on documents: corpus, training, perplexity, recommendation.

Knows no Dagster. The heavy libraries (torch, transformers, peft) are the extra `language`, imported where they are
used; corpus, packing, figures and ranking need none of them.
"""
