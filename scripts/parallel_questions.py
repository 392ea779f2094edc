#!/usr/bin/env python3
"""Questions about pages that a collection holds in Italian and in English: the title of one page, to be found in the body of
the other. Usage: parallel_questions.py FOLDER [COUNT] > QUESTIONS.jsonl

Pages are parallel when their paths differ only in the part that names the language (`it` and `en-US`, `x.it.html` and
`x.en.html`). The same COUNT pages (500) are chosen every time, half of the questions in either language."""

import hashlib
import html
import json
import re
import sys
from pathlib import Path

LANGUAGES = {"it": "it", "it-it": "it", "en": "en", "en-us": "en", "en-gb": "en"}
PART = re.compile(r"(?<=[/._])(?:it(?:-IT)?|en(?:-US|-GB)?)(?=[/._])")
TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.DOTALL | re.IGNORECASE)
WORDS_MIN = 3


def title(page: Path) -> str:
    found = TITLE.search(page.read_bytes()[:65536].decode("utf-8", "replace"))
    return " ".join(html.unescape(found.group(1)).split()) if found else ""


def pairs(folder: Path):
    pages = {}
    for page in sorted(folder.rglob("*.html")):
        path = page.relative_to(folder).as_posix()
        named = {LANGUAGES[part.lower()] for part in PART.findall("/" + path)}
        if len(named) == 1 and not page.is_symlink():
            pages.setdefault(PART.sub("*", "/" + path), {})[named.pop()] = path
    return [pair for pair in pages.values() if len(pair) == 2]


def main() -> None:
    folder = Path(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 500
    candidates = sorted(pairs(folder), key=lambda pair: hashlib.sha256(pair["it"].encode()).digest())
    seen, written = set(), 0
    for pair in candidates:
        asked, answered = ("it", "en") if written % 2 == 0 else ("en", "it")
        question = title(folder / pair[asked])
        # A title that many pages share, or that both languages share, says nothing about this page.
        if len(question.split()) < WORDS_MIN or question in seen or question == title(folder / pair[answered]):
            continue
        seen.add(question)
        written += 1
        line = {
            "id": f"p{written:03}",
            "lang": asked,
            "question": question,
            "answerable": True,
            "kind": "parallel",
            "index_langs": [answered],
            "gold": [pair[answered]],
        }
        print(json.dumps(line, ensure_ascii=False))
        if written == count:
            return
    sys.exit(f"only {written} of {count} questions could be made from {folder}")


if __name__ == "__main__":
    main()
