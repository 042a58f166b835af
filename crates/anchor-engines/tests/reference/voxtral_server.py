"""Voxtral as its reference implementation computes it, with tiny random weights, behind vLLM's route for transcriptions.

    python voxtral_server.py

Prints the port it listens on. Needs torch, transformers and mistral-common[audio]. What such a model writes makes no sense, but
everything on the way is real: the WAV, the windows of half a minute, the prompt with its language, the tokens and their text.
GET /last tells what was generated last, so that a client can be compared with it.
"""
import base64
import email.parser
import email.policy
import io
import json
import os
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
import torch
from transformers import AutoProcessor, VoxtralConfig, VoxtralForConditionalGeneration, WhisperFeatureExtractor

SPECIALS, WORDS = 64, 448
NAMED = {0: "<unk>", 1: "<s>", 2: "</s>", 3: "[INST]", 4: "[/INST]", 5: "[AVAILABLE_TOOLS]", 6: "[/AVAILABLE_TOOLS]",
         7: "[TOOL_RESULTS]", 8: "[/TOOL_RESULTS]", 9: "[TOOL_CALLS]", 10: "[IMG]", 11: "<pad>", 12: "[IMG_BREAK]",
         13: "[IMG_END]", 14: "[PREFIX]", 15: "[MIDDLE]", 16: "[SUFFIX]", 17: "[SYSTEM_PROMPT]", 18: "[/SYSTEM_PROMPT]",
         19: "[TOOL_CONTENT]", 24: "[AUDIO]", 25: "[BEGIN_AUDIO]", 34: "[TRANSCRIBE]"}


def vocabulary():
    """A Tekken file of bytes and syllables, with the special tokens where Voxtral has them."""
    syllables = [f"{a}{b}{c}".encode() for a in " bdfgk" for b in "lmnrst" for c in "aeiou"]
    words = ([bytes([byte]) for byte in range(256)] + [b"la", b"ng", b"lang", b"de", b"en"] + syllables)[:WORDS]
    words += [f"~{place}".encode() for place in range(WORDS - len(words))]
    entry = lambda rank, word: dict(rank=rank, token_bytes=base64.b64encode(word).decode(), token_str=word.decode("utf-8", "replace"))
    return dict(
        config=dict(pattern=r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
                    num_vocab_tokens=WORDS, default_vocab_size=SPECIALS + WORDS, default_num_special_tokens=SPECIALS, version="v7"),
        vocab=[entry(rank, word) for rank, word in enumerate(words)],
        special_tokens=[dict(rank=rank, token_str=NAMED.get(rank, f"<SPECIAL_{rank}>"), is_control=True) for rank in range(SPECIALS)],
        audio=dict(sampling_rate=16000, frame_rate=12.5, chunk_length_s=30.0,
                   audio_encoding_config=dict(num_mel_bins=128, hop_length=160, window_size=400)),
    )


def make(folder):
    """Writes the model with its processor. The shapes are Voxtral's in small: heads that are wider than the layer, fewer heads for
    keys, four frames to a token."""
    torch.manual_seed(11)
    audio = dict(model_type="voxtral_encoder", hidden_size=64, intermediate_size=256, num_hidden_layers=1, num_attention_heads=4,
                 num_mel_bins=128, max_source_positions=1500)
    text = dict(model_type="llama", vocab_size=SPECIALS + WORDS, hidden_size=96, intermediate_size=192, num_hidden_layers=2,
                num_attention_heads=4, num_key_value_heads=2, head_dim=32, max_position_embeddings=4096,
                bos_token_id=1, eos_token_id=2, pad_token_id=11, tie_word_embeddings=False)
    model = VoxtralForConditionalGeneration(VoxtralConfig(audio_config=audio, text_config=text, audio_token_id=24)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.4)
    model.generation_config.update(bos_token_id=1, eos_token_id=2, pad_token_id=11, do_sample=False, max_new_tokens=24)
    model.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=128).save_pretrained(folder)
    with open(os.path.join(folder, "tekken.json"), "w") as file:
        json.dump(vocabulary(), file)


class Server(BaseHTTPRequestHandler):
    model = processor = None
    last = {}

    def do_GET(self):
        if self.path == "/v1/models":
            self.answer(dict(object="list", data=[dict(id="tiny", object="model")]))
        else:
            self.answer(Server.last)

    def do_POST(self):
        form = self.form()
        with tempfile.NamedTemporaryFile(suffix=".wav") as file, torch.inference_mode():
            file.write(form["file"])
            file.flush()
            language = form.get("language", b"").decode() or None
            inputs = self.processor.apply_transcription_request(audio=file.name, model_id="tiny", language=language)
            out = self.model.generate(**inputs)
        tokens = out[0, inputs["input_ids"].shape[1]:].tolist()
        text = self.processor.tokenizer.decode(tokens, skip_special_tokens=True)
        windows = inputs["input_features"].shape[0]
        Server.last = dict(text=text, language=language, windows=windows, prompt=inputs["input_ids"][0].tolist()[-8:])
        if form.get("stream") == b"true":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for piece in text.split(" "):
                choice = dict(delta=dict(content=piece + " "), finish_reason=None)
                self.wfile.write(f"data: {json.dumps(dict(object='transcription.chunk', choices=[choice]))}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")
        else:
            self.answer(dict(text=text))

    def form(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = email.parser.BytesParser(policy=email.policy.HTTP).parse(io.BytesIO(head + body))
        return {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in message.iter_parts()}

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


with tempfile.TemporaryDirectory() as folder:
    make(folder)
    Server.processor = AutoProcessor.from_pretrained(folder)
    Server.model = VoxtralForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
print(server.server_port, flush=True)
server.serve_forever()
