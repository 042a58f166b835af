"""Lets PyTorch, as it is published, be loaded without the gigabytes of NVIDIA's libraries that it links to.

Puts an empty library in the place of each that is missing: it has the symbols that PyTorch asks for, and none of them is ever
called on a processor. Needs gcc and readelf.
"""
import collections
import importlib.util
import pathlib
import subprocess
import tempfile

LIB = pathlib.Path(importlib.util.find_spec("torch").origin).parent / "lib"
PACKAGES = LIB.parent.parent


def readelf(path, what):
    return subprocess.run(["readelf", "-W", what, str(path)], capture_output=True, text=True, check=True).stdout.splitlines()


def missing():
    """Names of the libraries that PyTorch's own need and nobody brought."""
    here = {path.name for path in PACKAGES.rglob("*.so*")}
    needed = set()
    for path in LIB.glob("*.so*"):
        needed |= {line.split("[")[1].rstrip("]") for line in readelf(path, "-d") if "(NEEDED)" in line}
    system = ("libc.", "libm.", "libdl.", "libpthread.", "librt.", "libgcc_s.", "libstdc++.", "ld-linux", "libcuda.")
    return sorted(name for name in needed - here if not name.startswith(system))


def wanted():
    """The symbols asked for, by the version they are asked for in ("" where there is none)."""
    symbols = collections.defaultdict(dict)
    for path in LIB.glob("*.so*"):
        for line in readelf(path, "--dyn-syms"):
            fields = line.split()
            if len(fields) >= 8 and fields[6] == "UND" and fields[4] in ("GLOBAL", "WEAK"):
                name, _, version = fields[7].partition("@")
                symbols[version.strip("@")][name] = fields[3]
    return symbols


def empty(library, versions, symbols):
    """Compiles a library with these symbols."""
    code = [f"char {name}[64];" if kind == "OBJECT" else f"int {name}(void) {{ return 1; }}" for name, kind in symbols.items()]
    with tempfile.TemporaryDirectory() as folder:
        source, script = pathlib.Path(folder, "empty.c"), pathlib.Path(folder, "versions.map")
        source.write_text("\n".join(code) + "\n")
        command = ["gcc", "-w", "-fno-builtin", "-shared", "-fPIC", "-nostdlib", "-o", str(LIB / library), str(source),
                   f"-Wl,-soname,{library}"]
        if versions:
            script.write_text("".join(f"{version} {{ global: *; }};\n" for version in versions))
            command.append(f"-Wl,--version-script={script}")
        subprocess.run(command, check=True)


asked = wanted()
for library in missing():
    stem = library.split(".so")[0].removeprefix("lib").removesuffix("_host")
    version = next((version for version in asked if version and (version == library or version.lower() == stem.lower())), None)
    if version:
        empty(library, [version], asked[version])
    else:
        # Symbols without a version begin with the library's name.
        own = {name: kind for name, kind in asked[""].items() if name.lower().startswith(stem.lower())}
        empty(library, [], own)
    print(library)
