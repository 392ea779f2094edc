#!/usr/bin/env python3
"""Writes the reference values that the engine and the tokenizers are tested against, computed by llama.cpp.

    pip install llama-cpp-python tokenizers
    python3 llama_reference.py logits MODEL.gguf tests/fixtures/llama_reference.json
    python3 llama_reference.py tokens MODEL.gguf tokenizer.json tests/fixtures/tokenizer_reference.json

`logits`: for three prompts, the logits at four positions and a greedy continuation, once with the weights of the file
(`quantized`) and once with the same weights expanded to f32 (`exact`). llama.cpp rounds activations to 8 bits where
a matrix is quantized, so the distance between the two tells how close another engine has to come. Attention is the
plain one, keys and values are kept in f32.

`tokens`: for some forty texts, the ids of the GGUF's own tokenizer under "smollm2" and those of a Llama 3
tokenizer.json under "llama3", without a first token and without reading special tokens in the text. With
--check FILE.gguf the second set is also compared with what llama.cpp makes of the Llama 3 tokenizer in that file.
"""

import argparse
import contextlib
import hashlib
import json
import sys
import tempfile
from pathlib import Path

import llama_cpp
import numpy
from tokenizers import Tokenizer

TOP = 20
SAMPLED = 64
CONTINUATION = 24

CHAT = (
    "<|im_start|>system\nYou answer questions about the handbook.<|im_end|>\n<|im_start|>user\n"
    "How many days of holiday do new employees get in their first year, and whom do they ask?<|im_end|>\n"
    "<|im_start|>assistant\n"
)
ITALIAN = (
    "L'ufficio di Forlì è aperto dal lunedì al venerdì. Perché l’attività può cominciare già alle otto, chi arriva più "
    "tardi dovrà però avvisare: così la città saprà"
)
LONG = (
    "The on-call engineer looks after the production systems for one week, from Monday at nine to the next Monday at "
    "nine. Whoever is on call keeps the phone switched on, answers within fifteen minutes and writes down what was "
    "done. A report that comes in by mail waits until the morning; an alert does not. First look at the dashboard: it "
    "shows which service is slow, since when, and which release it runs. If a release went out in the last two hours, "
    "take it back first and search for the cause later. If the database is full, delete nothing: call the second "
    "engineer, who knows which tables can be moved. Tell the support team what customers see, in two sentences and "
    "without technical terms, and tell them again when it is over.\n\n"
    "After the incident, the engineer opens a page with five headings: what happened, whom it touched, how it was "
    "noticed, what stopped it, and what keeps it from coming back. The page is discussed on Thursday. Nobody is blamed "
    "there; a mistake that one person can make is a mistake of the system. Time spent at night is given back: every "
    "started hour between ten in the evening and six in the morning counts twice, and a night with more than three "
    "calls makes the next day free.\n\n"
    "Questions about on-call duty:\n1. How quickly must the engineer answer?\n   Within"
)
PROMPTS = [("english chat", CHAT, True), ("italian", ITALIAN, False), ("long", LONG, False)]

TEXTS = [
    "",
    " ",
    "   ",
    "\n",
    "\n\n\n",
    " \n \t\n",
    "a",
    " a",
    "a ",
    "  a  ",
    "Hello, world!",
    "It's we'll they've I'M DON'T",
    "La città è più bella perché c'è già il tè: così può durare laggiù.",
    "È vero? Sì, lunedì. ÀÈÉÌÒÙ àèéìòù",
    "l'ufficio dell'azienda, un'altra volta, quest'anno",
    "l’ufficio dell’azienda, un’altra volta, quest’anno",
    "e\u0300 venuto cosi\u0300, perche\u0301",
    "«Buongiorno», disse – “va bene” … 12 €",
    "Le spese superiori a 1.250,50 € vanno approvate entro il 31/12/2025.",
    "1 12 123 1234 12345 123456 1234567",
    "v1.2.3-rc4 0x1F 3.14159 1e-9 100%",
    "①②③ ½ ٣٤٥ 一二三",
    "😀",
    "Fatto 👍🏽 grazie 🙏!",
    "👩‍👩‍👧‍👦 👨🏿‍💻 🏳️‍🌈 🇮🇹🇬🇧 ❤️",
    "https://wiki.example.org/it/guida?id=42&lang=it#sezione-3",
    "Scrivi a mario.rossi+test@example.com oppure @mario #ferie",
    "def f(x):\n    if x:\n        return [y ** 2 for y in x]\n\treturn None\n",
    'fn main() {\n\tprintln!("{}", 1_000u64);\n}\r\n',
    "SELECT nome, COUNT(*) FROM utenti WHERE età >= 18 GROUP BY nome;",
    '{"chiave": [1, 2.5, null, true], "città": "Forlì"}',
    "| a | b |\n|---|---|\n| 1 | 2 |\n",
    "# Titolo\n\n- uno\n- due\n  - tre\n\n> nota\n",
    "riga uno\r\nriga due\rriga tre\n\nriga quattro   \n   fine",
    "tab\tulazione\t\tdoppia \t mista",
    "parola     molti      spazi",
    "Die Straße ist größer als üblich; Äpfel, Öl, Übung.",
    "你好，世界！今天天气很好。 日本語のテキスト 한국어",
    "Привет мир · Γειά σου Κόσμε · שלום עולם · مرحبا",
    "snake_case camelCase PascalCase kebab-case SCREAMING_CASE",
    "<|im_start|>user<|im_end|> <|begin_of_text|> <|eot_id|> </s>",
    "!!! ??? ... --- ___ *** ((())) [[]] ''\"\"``",
    "non\u00a0separabile\u2009sottile\u200bzero\ufeffbom",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "Supercalifragilistichespiralidoso precipitevolissimevolmente",
]


# ---- logits ----


def write_logits(arguments):
    with contextlib.closing(open_model(arguments.model)) as model:
        vocabulary = model.n_vocab()
        prompts = [
            {"name": name, "text": text, "ids": model.tokenize(text.encode(), add_bos=False, special=special)}
            for name, text, special in PROMPTS
        ]
    sample = [i * vocabulary // SAMPLED for i in range(SAMPLED)]
    measure(arguments.model, prompts, sample, "quantized")
    with tempfile.TemporaryDirectory() as folder:
        measure(expand(arguments.model, Path(folder)), prompts, sample, "exact")
    reference = {
        "made_by": f"llama-cpp-python {llama_cpp.__version__}, plain attention, f32 keys and values",
        "model": {"file": arguments.model.name, "sha256": sha256_of(arguments.model), "vocabulary": vocabulary},
        "sample_ids": sample,
        "prompts": prompts,
    }
    write_json(arguments.out, reference)
    report(prompts)


def open_model(path):
    return llama_cpp.Llama(
        str(path),
        n_ctx=1024,
        n_batch=1024,
        n_ubatch=1024,
        n_gpu_layers=0,
        n_threads=2,
        n_threads_batch=2,
        logits_all=True,
        flash_attn=False,
        type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32,
        verbose=False,
    )


def expand(path, folder):
    """A copy of the model with every tensor in f32: the same weights, nothing rounded while they are used."""
    copy = folder / "f32.gguf"
    how = llama_cpp.llama_model_quantize_default_params()
    how.ftype = llama_cpp.LLAMA_FTYPE_ALL_F32
    how.allow_requantize = True
    if llama_cpp.llama_model_quantize(str(path).encode(), str(copy).encode(), how):
        raise SystemExit(f"error: llama.cpp cannot expand {path}")
    return copy


def measure(path, prompts, sample, name):
    """Adds what the model at `path` computes to every prompt, under `name`."""
    with contextlib.closing(open_model(path)) as model:
        for prompt in prompts:
            model.reset()
            model.eval(prompt["ids"])
            prompt[name] = {
                "positions": [at_position(model.scores[p], p, sample) for p in quarters(len(prompt["ids"]))],
                "continuation": continue_greedily(model),
            }


def quarters(length):
    """The positions whose logits are kept: the end of each quarter."""
    return [length * part // 4 - 1 for part in (1, 2, 3, 4)]


def at_position(logits, position, sample):
    top = numpy.argsort(-logits, kind="stable")[:TOP]
    return {
        "position": position,
        "top_ids": top.tolist(),
        "top_logits": [rounded(logits[i]) for i in top],
        "sample_logits": [rounded(logits[i]) for i in sample],
    }


def continue_greedily(model):
    """The likeliest next token, one at a time; `leads` is how far its logit is ahead of the second."""
    ids, leads = [], []
    for _ in range(CONTINUATION):
        logits = model.scores[model.n_tokens - 1]
        second, first = numpy.sort(logits)[-2:]
        ids.append(int(numpy.argmax(logits)))
        leads.append(rounded(first - second))
        model.eval(ids[-1:])
    return {"ids": ids, "leads": leads}


def rounded(value):
    return round(float(value), 5)


def report(prompts):
    for prompt in prompts:
        pairs = zip(prompt["quantized"]["positions"], prompt["exact"]["positions"])
        far = max(
            abs(numpy.subtract(quantized["sample_logits"], exact["sample_logits"])).max() for quantized, exact in pairs
        )
        same = prompt["quantized"]["continuation"]["ids"] == prompt["exact"]["continuation"]["ids"]
        length = len(prompt["ids"])
        say(f"{prompt['name']}: {length} tokens, quantized and exact differ by up to {far:.3f}, same text: {same}")


# ---- tokens ----


def write_tokens(arguments):
    llama3 = Tokenizer.from_file(str(arguments.tokenizer))
    llama3.encode_special_tokens = True  # "<|eot_id|>" in a text is text
    reference = {
        "smollm2": gguf_tokens(arguments.model),
        "llama3": [{"text": text, "ids": llama3.encode(text, add_special_tokens=False).ids} for text in TEXTS],
    }
    if arguments.check:
        differ = [a["text"] for a, b in zip(reference["llama3"], gguf_tokens(arguments.check)) if a != b]
        say(f"{arguments.check.name} tokenizes {len(differ)} of {len(TEXTS)} texts otherwise: {differ}")
    write_json(arguments.out, reference)


def gguf_tokens(path):
    with contextlib.closing(llama_cpp.Llama(str(path), vocab_only=True, verbose=False)) as model:
        return [{"text": text, "ids": model.tokenize(text.encode(), add_bos=False, special=False)} for text in TEXTS]


# ---- the command ----


def sha256_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def say(text):
    print(text, file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description="Writes reference values computed by llama.cpp.")
    commands = parser.add_subparsers(required=True)
    logits = commands.add_parser("logits", help="logits and greedy continuations of a GGUF model")
    logits.add_argument("model", type=Path)
    logits.add_argument("out", type=Path)
    logits.set_defaults(run=write_logits)
    tokens = commands.add_parser("tokens", help="token ids of many texts")
    tokens.add_argument("model", type=Path)
    tokens.add_argument("tokenizer", type=Path, help="tokenizer.json of Llama 3")
    tokens.add_argument("out", type=Path)
    tokens.add_argument("--check", type=Path, metavar="GGUF", help="a model with the Llama 3 tokenizer, to compare")
    tokens.set_defaults(run=write_tokens)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
