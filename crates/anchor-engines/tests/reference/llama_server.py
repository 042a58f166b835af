"""The server of llama-cpp-python with a tiny language model.

    python llama_server.py

Prints the port it listens on. Needs llama-cpp-python[server] and gguf.
"""
import os
import runpy
import socket
import sys
import tempfile

import uvicorn
from llama_cpp.server.app import create_app
from llama_cpp.server.settings import ModelSettings, ServerSettings

path = os.path.join(tempfile.mkdtemp(), "tiny.gguf")
sys.argv = ["tiny_gguf.py", path]
runpy.run_path(os.path.join(os.path.dirname(__file__), "tiny_gguf.py"))
app = create_app(
    server_settings=ServerSettings(),
    model_settings=[ModelSettings(model=path, model_alias="tiny", chat_format="chatml", n_ctx=2048, n_threads=1, verbose=False)],
)
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])
