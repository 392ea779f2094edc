#!/usr/bin/env python3
"""Perplexity of a text by llama.cpp (PyPI llama-cpp-python), counted as `cervella bench perplexity` counts it."""
import argparse
import json

import llama_cpp
import numpy

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model")
parser.add_argument("text")
parser.add_argument("--context", type=int, default=512)
parser.add_argument("--threads", type=int, default=2)
arguments = parser.parse_args()

llama = llama_cpp.Llama(
    arguments.model,
    n_ctx=arguments.context,
    n_batch=arguments.context,
    n_threads=arguments.threads,
    n_threads_batch=arguments.threads,
    logits_all=True,
    verbose=False,
)
with open(arguments.text, "rb") as file:
    tokens = llama.tokenize(file.read(), add_bos=False, special=False)
total, count = 0.0, 0
for start in range(0, len(tokens) - arguments.context + 1, arguments.context):
    window = tokens[start : start + arguments.context]
    llama.reset()
    llama.eval(window)
    for position in range(arguments.context // 2, arguments.context - 1):
        logits = llama.scores[position].astype(numpy.float64)
        logits -= logits.max()
        total -= logits[window[position + 1]] - numpy.log(numpy.exp(logits).sum())
        count += 1
print(json.dumps({"engine": "llama.cpp", "perplexity": float(numpy.exp(total / count)), "tokens": count, "context": arguments.context}))
