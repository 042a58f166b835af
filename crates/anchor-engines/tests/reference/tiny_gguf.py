"""Writes a tiny language model with random weights in the real file format: GGUF, architecture llama, a vocabulary of bytes.

    python tiny_gguf.py tiny.gguf

Needs the package gguf. What such a model writes makes no sense, but a real server loads it, samples from it and streams.
"""
import sys

import numpy as np
from gguf import GGUFWriter, TokenType

LAYERS, WIDTH, HEADS, FEED, CONTEXT = 2, 64, 4, 128, 2048

random = np.random.default_rng(7)
writer = GGUFWriter(sys.argv[1], "llama")
writer.add_name("tiny")
writer.add_context_length(CONTEXT)
writer.add_embedding_length(WIDTH)
writer.add_block_count(LAYERS)
writer.add_feed_forward_length(FEED)
writer.add_head_count(HEADS)
writer.add_head_count_kv(HEADS)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_rope_dimension_count(WIDTH // HEADS)

# Words of letters beside the bytes, so that what is written is mostly text.
tokens = [b"<unk>", b"<s>", b"</s>"]
kinds = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL]
tokens += [f"<0x{byte:02X}>".encode() for byte in range(256)]
kinds += [TokenType.BYTE] * 256
letters = [f"{a}{b}" for a in "bdfgklmnprst" for b in "aeiou"]
tokens += [f"\u2581{word}".encode() for word in letters]
kinds += [TokenType.NORMAL] * len(letters)
writer.add_tokenizer_model("llama")
writer.add_token_list(tokens)
writer.add_token_scores([-float(place) for place in range(len(tokens))])
writer.add_token_types(kinds)
writer.add_bos_token_id(1)
writer.add_eos_token_id(2)


def tensor(name, *shape):
    writer.add_tensor(name, random.normal(0, 0.2, shape).astype(np.float32))


def ones(name):
    writer.add_tensor(name, np.ones(WIDTH, dtype=np.float32))


tensor("token_embd.weight", len(tokens), WIDTH)
ones("output_norm.weight")
output = random.normal(0, 0.2, (len(tokens), WIDTH)).astype(np.float32)
# The controls and the bytes are never likely, the words are.
output[: 3 + 256] *= 0.01
writer.add_tensor("output.weight", output * 4)
for layer in range(LAYERS):
    block = f"blk.{layer}."
    ones(block + "attn_norm.weight")
    ones(block + "ffn_norm.weight")
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        tensor(f"{block}{name}.weight", WIDTH, WIDTH)
    tensor(block + "ffn_gate.weight", FEED, WIDTH)
    tensor(block + "ffn_up.weight", FEED, WIDTH)
    tensor(block + "ffn_down.weight", WIDTH, FEED)

writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
