#!/usr/bin/env python3
"""Writes assets/stt/background_words.txt: the most frequent words of the en-us language model.

Source: en-us.lm.bin of Debian's package pocketsphinx-en-us 0.8+5prealpha, Copyright (c) Carnegie Mellon University,
BSD-2-Clause (see /usr/share/doc/pocketsphinx-en-us/copyright). Layout: sphinxbase, src/libsphinxbase/lm/lm_trie.c and
ngram_model_trie.c: header, order, counts, quantisation tables, unigrams, n-grams, words.

Usage: background_words.py /usr/share/pocketsphinx/model/en-us > assets/stt/background_words.txt
"""

import re
import struct
import sys
from pathlib import Path

COUNT = 5000
# Abbreviations that are said like a word that is in the list as well.
ABBREVIATIONS = {"dr", "vs", "etc"}
HEADER = b"Trie Language Model"
QUANTISATION_BYTES = 4 + (3 << 16) * 4  # kind, then 16-bit tables: bigram probability and back-off, trigram probability

model = Path(sys.argv[1])
data = (model / "en-us.lm.bin").read_bytes()
assert data.startswith(HEADER) and data[len(HEADER)] == 3
count = struct.unpack_from("<I", data, len(HEADER) + 1)[0]
at = len(HEADER) + 1 + 3 * 4 + QUANTISATION_BYTES
probabilities = [struct.unpack_from("<f", data, at + 12 * n)[0] for n in range(count)]

# The words are the file's last part: its length, then each with a zero behind it.
words = None
for size_at in range(len(data) - 4, 0, -1):
    if struct.unpack_from("<I", data, size_at)[0] == len(data) - size_at - 4 and data.count(b"\0", size_at + 4) == count:
        words = data[size_at + 4 :].split(b"\0")[:count]
        break
assert words, "the file does not end with its words"

known = {line.split(" ", 1)[0] for line in (model / "cmudict-en-us.dict").read_text().splitlines()}
ranked = sorted(zip(probabilities, (word.decode() for word in words)), key=lambda pair: -pair[0])
kept = [word for _, word in ranked if word in known - ABBREVIATIONS and re.fullmatch(r"[a-z]+(?:'[a-z]+)?", word)]
print("\n".join(kept[:COUNT]))
