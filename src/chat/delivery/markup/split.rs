//! Long answers in several messages. Cut is between blocks, items and rows where that is possible; what must be cut
//! inside is cut in [`super::cut`].

use super::cut::{cut, hard_cut, letters, without_styles};
use super::layout::{Flavour, render_blocks};
use super::telegram::visible_characters;
use super::tree::{Block, Document, List};
use super::{markdown, plain, slack_markdown, telegram_html};

/// Cuts Markdown into parts of at most `characters_max` characters (Unicode scalar values), each of which is rendered
/// on its own: visible Telegram text (UTF-16), plain text (UTF-16) and Slack Markdown (characters) of a part are at
/// most 12/11 of that, so 3,818 for 3,500 and 12,000 for 11,000. Empty when there is nothing to be seen.
pub fn split(markdown: &str, characters_max: usize) -> Vec<String> {
    let limit = Limit::new(characters_max);
    let document = Document::parse(markdown);
    if render_blocks(&document.trees(), Flavour::Plain).is_empty() && (document.hides || document.is_blank()) {
        return Vec::new();
    }
    if limit.takes_text(markdown) {
        return vec![markdown.to_owned()];
    }
    let mut packer = Packer { document: &document, limit, parts: vec![Part::default()], ids: 0 };
    for (top, (block, _)) in document.blocks.iter().enumerate() {
        packer.add_block(top, block);
    }
    let texts = packer.finish();
    if texts.is_empty() { hard_cut(markdown.trim(), &limit) } else { texts }
}

/// How long a text is: its source and what is made of it.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    source: usize,
    rendered: usize,
}

fn measure(markdown: &str) -> Size {
    let telegram = visible_characters(&telegram_html(markdown));
    let plain = plain(markdown).encode_utf16().count();
    let slack = slack_markdown(markdown).chars().count();
    Size { source: markdown.chars().count(), rendered: telegram.max(plain).max(slack) }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    source: usize,
    rendered: usize,
}

impl Limit {
    fn new(characters_max: usize) -> Self {
        let source = characters_max.max(1);
        Limit { source, rendered: source + source / 11 }
    }

    fn takes(&self, size: Size) -> bool {
        size.source <= self.source && size.rendered <= self.rendered
    }

    pub(super) fn takes_text(&self, markdown: &str) -> bool {
        markdown.chars().count() <= self.source && self.takes(measure(markdown))
    }

    pub(super) fn takes_leaf(&self, leaf: &Leaf) -> bool {
        self.takes_text(&markdown::written(&assembled(std::slice::from_ref(leaf), 0)))
    }

    pub(super) fn characters_max(&self) -> usize {
        self.source
    }
}

/// A block that holds no others, with the containers it stands in, from the outside.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub path: Vec<Step>,
    pub block: Block,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    /// Different for each container of a document.
    id: usize,
    kind: Container,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Container {
    Quote,
    Item {
        list: usize,
        number: Option<u64>,
        marker: char,
        /// The leaf begins the item; one that goes on with it in another message has no marker again.
        begins: bool,
    },
}

impl Leaf {
    /// The same place, for what follows there.
    pub(super) fn continued(&self, block: Block) -> Leaf {
        Leaf { path: with_begins(&self.path, false), block }
    }

    /// Numbers of the items that begin with the leaf.
    pub(super) fn numbers(&self) -> Vec<u64> {
        let number = |step: &Step| match step.kind {
            Container::Item { number, begins: true, .. } => number,
            _ => None,
        };
        self.path.iter().filter_map(number).collect()
    }
}

fn with_begins(path: &[Step], all: bool) -> Vec<Step> {
    let mut path = path.to_vec();
    for step in &mut path {
        if let Container::Item { begins, .. } = &mut step.kind {
            *begins = all;
        }
    }
    path
}

fn leaves(block: &Block, ids: &mut usize) -> Vec<Leaf> {
    let mut found = Vec::new();
    collect(block, &mut Vec::new(), ids, &mut found);
    found
}

fn collect(block: &Block, path: &mut Vec<Step>, ids: &mut usize, found: &mut Vec<Leaf>) {
    if !block.shows() {
        return;
    }
    *ids += 1;
    let id = *ids;
    match block {
        Block::Quote(blocks) => {
            path.push(Step { id, kind: Container::Quote });
            let before = found.len();
            for block in blocks {
                collect(block, path, ids, found);
                if found.len() > before {
                    begun(path);
                }
            }
            path.pop();
        }
        Block::List(list) => {
            for (at, item) in list.items.iter().enumerate() {
                *ids += 1;
                let kind = Container::Item { list: id, number: list.number(at), marker: list.marker, begins: true };
                path.push(Step { id: *ids, kind });
                let before = found.len();
                for block in item {
                    collect(block, path, ids, found);
                    if found.len() > before {
                        begun(path);
                    }
                }
                if found.len() == before {
                    found.push(Leaf { path: path.clone(), block: Block::Paragraph(Vec::new()) });
                }
                path.pop();
                begun(path);
            }
        }
        leaf => found.push(Leaf { path: path.clone(), block: leaf.clone() }),
    }
}

/// All the open items have begun.
fn begun(path: &mut [Step]) {
    for step in path {
        if let Container::Item { begins, .. } = &mut step.kind {
            *begins = false;
        }
    }
}

/// Puts leaves back into their containers. Items whose begin is not among them are open: what they hold stands for
/// itself.
fn assembled(leaves: &[Leaf], depth: usize) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut list_before = None;
    let mut rest = leaves;
    while let Some(leaf) = rest.first() {
        let Some(step) = leaf.path.get(depth) else {
            blocks.push(leaf.block.clone());
            list_before = None;
            rest = &rest[1..];
            continue;
        };
        let same = |leaf: &&Leaf| leaf.path.get(depth).is_some_and(|other| other.id == step.id);
        let (group, others) = rest.split_at(rest.iter().take_while(same).count());
        rest = others;
        let inner = assembled(group, depth + 1);
        let Container::Item { list, number, marker, begins } = step.kind else {
            blocks.push(Block::Quote(inner));
            list_before = None;
            continue;
        };
        match blocks.last_mut() {
            Some(Block::List(last)) if begins && list_before == Some(list) => last.items.push(inner),
            _ if begins => blocks.push(Block::List(List { start: number, marker, items: vec![inner] })),
            _ => blocks.extend(inner),
        }
        list_before = begins.then_some(list);
    }
    blocks
}

enum Chunk {
    /// An outermost block of the document, as its source has it.
    Whole(usize),
    Leaf(Leaf),
}

#[derive(Default)]
struct Part {
    chunks: Vec<Chunk>,
    size: Size,
    /// Of the last chunk.
    last: Size,
}

impl Part {
    fn with(&self, size: Size) -> Size {
        // A blank line between, and the marks of the quotes and the indentation it stands in.
        let between = if self.chunks.is_empty() { 0 } else { 2 };
        Size {
            source: self.size.source + between + size.source,
            rendered: self.size.rendered + between + size.rendered,
        }
    }

    /// Takes the heading away that the part ends with: it goes along with what it is the heading of.
    fn heading_at_end(&mut self, document: &Document) -> Option<Part> {
        let is_heading = |chunk: &mut Chunk| match chunk {
            Chunk::Whole(top) => matches!(document.blocks[*top].0, Block::Heading(..)),
            Chunk::Leaf(leaf) => leaf.path.is_empty() && matches!(leaf.block, Block::Heading(..)),
        };
        if self.chunks.len() < 2 {
            return None;
        }
        let heading = self.chunks.pop_if(is_heading)?;
        Some(Part { chunks: vec![heading], size: self.last, last: self.last })
    }
}

struct Packer<'a> {
    document: &'a Document,
    limit: Limit,
    parts: Vec<Part>,
    /// The last that was given to a container.
    ids: usize,
}

impl Packer<'_> {
    fn add_block(&mut self, top: usize, block: &Block) {
        let leaves = leaves(block, &mut self.ids);
        let (document, limit) = (self.document, self.limit);
        let source = document.slice(top);
        let whole = measure(&source);
        let current = self.current();
        // Behind a list that was written anew its source might be read as more of that list.
        let inside_list = matches!(current.chunks.last(), Some(Chunk::Leaf(leaf)) if !leaf.path.is_empty())
            && (matches!(block, Block::List(_)) || source.starts_with([' ', '\t']));
        let fits_here = limit.takes(current.with(whole));
        if !inside_list && (fits_here || (leaves.len() == 1 && limit.takes(whole))) {
            self.push(Chunk::Whole(top), whole);
            return;
        }
        // What keeps two lists apart is not written anew.
        let behind_list = matches!(current.chunks.last(), Some(Chunk::Whole(top)) if document.is_list(*top));
        if behind_list && matches!(block, Block::List(_)) {
            self.parts.push(Part::default());
        }
        for leaf in leaves {
            if limit.takes_leaf(&leaf) {
                self.push_leaf(leaf);
            } else {
                cut(leaf, &limit).into_iter().for_each(|piece| self.push_leaf(piece));
            }
        }
    }

    fn push_leaf(&mut self, leaf: Leaf) {
        // With the beginnings of its items, which may be in the same message.
        let begun = Leaf { path: with_begins(&leaf.path, true), block: leaf.block.clone() };
        let alone = measure(&markdown::written(&assembled(&[begun], 0)));
        // The marks on the blank line before it.
        let marks = 4 * leaf.path.len();
        let size = Size { source: alone.source + marks, rendered: alone.rendered + marks };
        self.push(Chunk::Leaf(leaf), size);
    }

    fn current(&mut self) -> &mut Part {
        let last = self.parts.len() - 1;
        &mut self.parts[last]
    }

    fn push(&mut self, chunk: Chunk, size: Size) {
        let limit = self.limit;
        if !limit.takes(self.current().with(size)) && !self.current().chunks.is_empty() {
            let document = self.document;
            let heading = self.current().heading_at_end(document);
            self.parts.push(heading.unwrap_or_default());
            if !limit.takes(self.current().with(size)) && !self.current().chunks.is_empty() {
                self.parts.push(Part::default());
            }
        }
        let part = self.current();
        part.size = part.with(size);
        part.chunks.push(chunk);
        part.last = size;
    }

    fn finish(self) -> Vec<String> {
        let mut texts = Vec::new();
        for part in self.parts.iter().filter(|part| !part.chunks.is_empty()) {
            let text = self.text(part);
            let seen = render_blocks(&Document::parse(&text).trees(), Flavour::Plain);
            if seen.trim().is_empty() {
                // An empty message would be refused, and what was typed to show nothing is not to be shown by itself.
                continue;
            }
            if self.limit.takes_text(&text) {
                texts.push(text);
            } else {
                texts.extend(hard_cut(&seen, &self.limit));
            }
        }
        texts
    }

    fn text(&self, part: &Part) -> String {
        let mut text = String::new();
        let mut chunks = part.chunks.as_slice();
        let mut before = None;
        while let Some(first) = chunks.first() {
            let (source, whole) = match first {
                Chunk::Whole(top) => (self.document.slice(*top), Some(*top)),
                Chunk::Leaf(_) => {
                    let leaf = |chunk: &Chunk| if let Chunk::Leaf(leaf) = chunk { Some(leaf.clone()) } else { None };
                    let leaves: Vec<Leaf> = chunks.iter().map_while(leaf).collect();
                    chunks = &chunks[leaves.len() - 1..];
                    (rewritten(&leaves), None)
                }
            };
            chunks = &chunks[1..];
            if !text.is_empty() {
                let tight = whole
                    .is_some_and(|top| before.is_some() && before == top.checked_sub(1) && self.document.is_tight(top));
                text.push_str(if tight { "\n" } else { "\n\n" });
            }
            text.push_str(&source);
            before = whole;
        }
        text
    }
}

/// Leaves as Markdown that is read as what they are; where styles cannot be written so, without them.
fn rewritten(leaves: &[Leaf]) -> String {
    let mut blocks = assembled(leaves, 0);
    let wanted = letters(&render_blocks(&blocks, Flavour::Plain));
    let text = markdown::written(&blocks);
    if letters(&plain(&text)) == wanted {
        return text;
    }
    blocks.iter_mut().for_each(without_styles);
    markdown::written(&blocks)
}
