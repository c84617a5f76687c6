"""The pipeline that makes fovea-nano: synthetic screens, tokenizer, training stages, export and evaluation."""
