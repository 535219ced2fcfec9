#!/usr/bin/env python3
"""usage: mkstubs.py SITE_PACKAGES

Puts stub shared objects in the place of CUDA's math libraries into torch/lib, where torch looks first, so that torch's CUDA
build imports without more than 2 GB of packages that nothing calls on a CPU. Needs gcc, nm and readelf.
"""

import collections
import pathlib
import re
import subprocess
import sys
import tempfile

# The libraries and what the names of their functions begin with; the first match wins.
LIBRARIES = {
    "libcublasLt.so.13": ("cublasLt",),
    "libcublas.so.13": ("cublas",),
    "libcudnn.so.9": ("cudnn",),
    "libcufft.so.12": ("cufft",),
    "libcufile.so.0": ("cuFile",),
    "libcurand.so.10": ("curand",),
    "libcusolver.so.12": ("cusolver",),
    "libcusparseLt.so.0": ("cusparseLt",),
    "libcusparse.so.12": ("cusparse",),
    "libnccl.so.2": ("nccl", "pnccl"),
    "libnvrtc.so.13": ("nvrtc",),
    "libnvshmem_host.so.3": ("nvshmem",),
}


def output_lines(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def undefined_symbols(file):
    """Yields (name, version) of every dynamic symbol that the file takes from elsewhere; the version may be empty."""
    for line in output_lines("nm", "-D", "--undefined-only", "--with-symbol-versions", file):
        name, _, version = line.split()[-1].partition("@")
        yield name, version.lstrip("@")


def wanted_versions(file):
    """Yields (library, version) of every symbol version that the file wants of a library."""
    library = None
    for line in output_lines("readelf", "--version-info", "--wide", file):
        if found := re.search(r"File: (\S+)", line):
            library = found.group(1)
        elif found := re.search(r"Name: (\S+)\s+Flags", line):
            yield library, found.group(1)


def owner_of(name):
    return next((lib for lib, prefixes in LIBRARIES.items() if name.startswith(prefixes)), None)


def build(target, functions, versions):
    """Builds the library target: functions maps a version to names, versions are all that must exist."""
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "stub.c")
        names = sorted(name for group in functions.values() for name in group)
        source.write_text("".join(f"int {name}(void) {{ return 1; }}\n" for name in names) or "int stub;\n")
        command = ["gcc", "-O1", "-w", "-shared", "-fPIC", f"-Wl,-soname,{target.name}", "-o", target, source]
        if versions:
            script = pathlib.Path(folder, "versions")
            script.write_text("".join(
                f"{version} {{ global: {' '.join(f'{name};' for name in sorted(functions[version]))} }};\n"
                for version in sorted(versions)))
            command.append(f"-Wl,--version-script={script}")
        target.unlink(missing_ok=True)  # it may be a hard link to a file in a package cache
        subprocess.run(command, check=True)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1], "torch", "lib")
    files = [*folder.glob("libtorch*.so"), *folder.glob("libc10_cuda.so")]
    if not files:
        sys.exit(f"mkstubs.py: no torch libraries in {folder}")

    versions = {library: set() for library in LIBRARIES}
    symbols = {}  # name: version
    for file in files:
        for library, version in wanted_versions(file):
            if library in versions:
                versions[library].add(version)
        for name, version in undefined_symbols(file):
            if owner_of(name):
                symbols[name] = version or symbols.get(name, "")

    functions = {library: collections.defaultdict(set) for library in LIBRARIES}
    library_of = {version: library for library, all in versions.items() for version in all}
    for name, version in symbols.items():
        functions[library_of.get(version) or owner_of(name)][version].add(name)
    for library in LIBRARIES:
        build(folder / library, functions[library], versions[library])
    print(f"{len(LIBRARIES)} stub libraries with {len(symbols)} functions in {folder}")


if __name__ == "__main__":
    main()
