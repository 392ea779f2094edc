//! The full-text side: tantivy, with a field for each language and one for codes that must match to the letter.

mod words;

use std::path::Path;

use tantivy::collector::TopDocs;
use tantivy::columnar::Column;
use tantivy::index::{SegmentId, SegmentMeta};
use tantivy::merge_policy::NoMergePolicy;
use tantivy::query::{BooleanQuery, ConstScoreQuery, Occur, Query, TermQuery, TermSetQuery};
use tantivy::schema::{FAST, Field, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions, Value};
use tantivy::{DocAddress, Index, IndexReader, IndexWriter, ReloadPolicy, SegmentReader, TantivyDocument, Term};

use super::filter::Filter;
use super::generation::IndexedPassage;
use super::{RetrievalError, analysis};
use crate::domain::{Language, Passage, PassageId};
pub(super) use words::Words;

/// Memory that the writer may fill before it writes a segment; tantivy's lower limit is 15 MB.
const WRITER_BYTES: usize = 64 << 20;
/// From so many passages on segments are searched by all cores; below, a search takes a few milliseconds.
const PASSAGES_FOR_ALL_CORES: u32 = 100_000;
/// More of them are merged.
const SEGMENTS_MAX: usize = 4;

/// A passage and its BM25 score.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LexicalHit {
    pub id: PassageId,
    pub score: f32,
    /// Share of what the query could score at all in the passage's language, by its rarest and its commonest words:
    /// 0 when hardly a word of it stands in the passage, 1 when all do.
    pub share: f32,
}

struct LanguageFields {
    language: Language,
    title: Field,
    heading: Field,
    body: Field,
}

struct Fields {
    id: Field,
    /// The two halves of the id as numbers, by which a hit is known without its stored text.
    id_halves: [Field; 2],
    path: Field,
    language: Field,
    collection: Field,
    /// The passage itself as JSON, stored and not indexed.
    passage: Field,
    codes: Field,
    prose: [LanguageFields; 2],
}

fn schema() -> (Schema, Fields) {
    let mut builder = Schema::builder();
    let text = |analyzer: &str| {
        TextOptions::default().set_indexing_options(
            TextFieldIndexing::default().set_tokenizer(analyzer).set_index_option(IndexRecordOption::WithFreqs),
        )
    };
    let id = builder.add_text_field("id", STRING);
    let id_halves = ["id_high", "id_low"].map(|name| builder.add_u64_field(name, FAST));
    let path = builder.add_text_field("path", STRING);
    let language = builder.add_text_field("language", STRING);
    let collection = builder.add_text_field("collection", STRING);
    let passage = builder.add_text_field("passage", STORED);
    let codes = builder.add_text_field("codes", text("codes"));
    let prose = Language::ALL.map(|language| LanguageFields {
        language,
        title: builder.add_text_field(&format!("title_{language}"), text(language.code())),
        heading: builder.add_text_field(&format!("heading_{language}"), text(language.code())),
        body: builder.add_text_field(&format!("body_{language}"), text(language.code())),
    });
    (builder.build(), Fields { id, id_halves, path, language, collection, passage, codes, prose })
}

fn register_analyzers(index: &Index) {
    for language in Language::ALL {
        index.tokenizers().register(language.code(), analysis::prose(language));
    }
    index.tokenizers().register("codes", analysis::exact());
}

/// The open index of one generation; it never changes.
pub(super) struct Lexical {
    reader: IndexReader,
    fields: Fields,
    /// The halves of the ids in each segment.
    ids: Vec<[Column<u64>; 2]>,
}

impl Lexical {
    pub(super) fn open(folder: &Path) -> Result<Self, RetrievalError> {
        let mut index = Index::open_in_dir(folder)?;
        let (schema, fields) = schema();
        if index.schema() != schema {
            return Err(RetrievalError::damaged(folder, "its fields are those of another version"));
        }
        register_analyzers(&index);
        if passages_of(&index.searchable_segment_metas()?) >= PASSAGES_FOR_ALL_CORES {
            index.set_default_multithread_executor()?;
        }
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let halves =
            |segment: &SegmentReader| Ok([segment.fast_fields().u64("id_high")?, segment.fast_fields().u64("id_low")?]);
        let ids = reader.searcher().segment_readers().iter().map(halves).collect::<tantivy::Result<_>>()?;
        Ok(Lexical { reader, fields, ids })
    }

    fn id_at(&self, address: DocAddress) -> Option<PassageId> {
        let [high, low] = self.ids.get(address.segment_ord as usize)?;
        let (high, low) = (high.first(address.doc_id)?, low.first(address.doc_id)?);
        Some(PassageId((u128::from(high) << 64 | u128::from(low)).to_be_bytes()))
    }

    pub(super) fn count(&self) -> usize {
        self.reader.searcher().num_docs() as usize
    }

    /// The `limit` passages with the highest BM25 score, best first. `language_of` tells the language of a passage.
    pub(super) fn search(
        &self,
        words: &Words<'_>,
        limit: usize,
        filter: &Filter<'_>,
        language_of: impl Fn(PassageId) -> Option<Language>,
    ) -> Result<Vec<LexicalHit>, RetrievalError> {
        let groups = Language::ALL.map(|language| self.groups(words, language));
        let [italian, english] = groups;
        let groups = [italian?, english?];
        let scoring = BooleanQuery::new(self.clauses(&groups, words, filter.language));
        if scoring.clauses().is_empty() {
            return Ok(Vec::new());
        }
        let conditions = self.conditions(filter);
        let query = if conditions.is_empty() {
            scoring
        } else {
            let must: (Occur, Box<dyn Query>) = (Occur::Must, Box::new(scoring));
            BooleanQuery::new(conditions.into_iter().chain([must]).collect())
        };
        let [italian, english] = &groups;
        let best = [self.best_score(italian, Language::Italian)?, self.best_score(english, Language::English)?];
        let top = self.reader.searcher().search(&query, &TopDocs::with_limit(limit).order_by_score())?;
        let hits = top.into_iter().map(|(score, address)| {
            let id = self.id_at(address);
            let id = id.ok_or_else(|| RetrievalError::damaged("the full-text index", "a passage has no id"))?;
            let best = best[usize::from(language_of(id) == Some(Language::English))];
            Ok(LexicalHit { id, score, share: (score / best).min(1.0) })
        });
        hits.collect()
    }

    /// What passages must be, at no score.
    fn conditions(&self, filter: &Filter<'_>) -> Vec<(Occur, Box<dyn Query>)> {
        let one_of = |field: Field, values: &[&str]| -> (Occur, Box<dyn Query>) {
            let terms = values.iter().map(|value| Term::from_field_text(field, value));
            let condition = TermSetQuery::new(terms.collect::<Vec<_>>());
            (Occur::Must, Box::new(ConstScoreQuery::new(Box::new(condition), 0.0)))
        };
        let language = filter.language.map(|language| one_of(self.fields.language, &[language.code()]));
        let collections = filter.collections.as_ref().map(|allowed| one_of(self.fields.collection, &allowed.names));
        language.into_iter().chain(collections).collect()
    }

    /// `None`: the passage is not in this generation.
    pub(super) fn passage(&self, id: PassageId) -> Result<Option<IndexedPassage>, RetrievalError> {
        let term = Term::from_field_text(self.fields.id, &id.to_string());
        Ok(self.stored(term, 1)?.pop())
    }

    /// All passages of the document of one of them, in their order.
    pub(super) fn document(&self, one: &Passage) -> Result<Vec<Passage>, RetrievalError> {
        let term = Term::from_field_text(self.fields.path, &one.path);
        let limit = self.count().max(1);
        let stored = self.stored(term, limit)?.into_iter().map(|stored| stored.passage);
        let mut passages: Vec<Passage> = stored.filter(|passage| passage.is_of_document_of(one)).collect();
        passages.sort_by_key(|passage| passage.ordinal);
        Ok(passages)
    }

    /// How many passages a document has, by its collection and path.
    pub(super) fn passages_of(&self, collection: &str, path: &str) -> Result<usize, RetrievalError> {
        let condition = |field: Field, text: &str| -> (Occur, Box<dyn Query>) {
            let term = Term::from_field_text(field, text);
            (Occur::Must, Box::new(TermQuery::new(term, IndexRecordOption::Basic)))
        };
        let both = [condition(self.fields.collection, collection), condition(self.fields.path, path)];
        Ok(self.reader.searcher().search(&BooleanQuery::new(both.into()), &tantivy::collector::Count)?)
    }

    /// How many passages of the generation hold a term of this language in their body.
    pub(super) fn passages_with(&self, term: &str, language: Language) -> Result<usize, RetrievalError> {
        let field = self.fields.prose.iter().find(|f| f.language == language).map(|f| f.body);
        let Some(field) = field else { return Ok(0) };
        Ok(self.reader.searcher().doc_freq(&Term::from_field_text(field, term))? as usize)
    }

    fn stored(&self, term: Term, limit: usize) -> Result<Vec<IndexedPassage>, RetrievalError> {
        let searcher = self.reader.searcher();
        let query = TermQuery::new(term, IndexRecordOption::Basic);
        let found = searcher.search(&query, &TopDocs::with_limit(limit).order_by_score())?;
        found
            .into_iter()
            .map(|(_, address)| {
                let document: TantivyDocument = searcher.doc(address)?;
                let json = document.get_first(self.fields.passage).and_then(|value| value.as_str()).unwrap_or_default();
                serde_json::from_str(json).map_err(|e| RetrievalError::damaged("the full-text index", e))
            })
            .collect()
    }
}

/// The writer of the generation that is being built.
pub(super) struct LexicalWriter {
    writer: IndexWriter,
    fields: Fields,
}

impl LexicalWriter {
    /// Opens the index in `folder`, or makes an empty one.
    pub(super) fn open(folder: &Path) -> Result<Self, RetrievalError> {
        let (schema, fields) = schema();
        let directory = tantivy::directory::MmapDirectory::open(folder).map_err(tantivy::TantivyError::from)?;
        let index = Index::open_or_create(directory, schema)?;
        register_analyzers(&index);
        let writer: IndexWriter = index.writer_with_num_threads(1, WRITER_BYTES)?;
        // Once, at the end.
        writer.set_merge_policy(Box::new(NoMergePolicy));
        Ok(LexicalWriter { writer, fields })
    }

    pub(super) fn add(&self, indexed: &IndexedPassage) -> Result<(), RetrievalError> {
        let passage = &indexed.passage;
        let prose = self.fields.prose.iter().find(|f| f.language == passage.language);
        let mut document = TantivyDocument::default();
        document.add_text(self.fields.id, passage.id.to_string());
        let id = u128::from_be_bytes(passage.id.0);
        for (field, half) in self.fields.id_halves.into_iter().zip([(id >> 64) as u64, id as u64]) {
            document.add_u64(field, half);
        }
        document.add_text(self.fields.path, &passage.path);
        document.add_text(self.fields.language, passage.language.code());
        document.add_text(self.fields.collection, &passage.collection);
        let json = serde_json::to_string(indexed).map_err(|e| RetrievalError::damaged("a passage", e))?;
        document.add_text(self.fields.passage, json);
        document.add_text(self.fields.codes, &passage.text);
        if let Some(fields) = prose {
            document.add_text(fields.title, &passage.title);
            document.add_text(fields.heading, passage.heading());
            document.add_text(fields.body, &passage.title);
            document.add_text(fields.body, passage.heading());
            document.add_text(fields.body, &passage.text);
            if let Some(context) = &indexed.context {
                document.add_text(fields.body, context);
            }
        }
        self.writer.add_document(document)?;
        Ok(())
    }

    pub(super) fn remove(&self, id: PassageId) {
        self.writer.delete_term(Term::from_field_text(self.fields.id, &id.to_string()));
    }

    /// Commits and merges, so that the folder does not change any more.
    pub(super) fn finish(mut self) -> Result<(), RetrievalError> {
        self.writer.commit()?;
        let segments = self.writer.index().searchable_segment_metas()?;
        // Merging drops deleted passages from the files: what was removed from the folders leaves the disk too.
        if segments.len() > SEGMENTS_MAX || segments.iter().any(SegmentMeta::has_deletes) {
            for group in even_groups(segments) {
                if group.len() > 1 || group.iter().any(SegmentMeta::has_deletes) {
                    let ids: Vec<SegmentId> = group.iter().map(SegmentMeta::id).collect();
                    self.writer.merge(&ids).wait()?;
                }
            }
        }
        self.writer.garbage_collect_files().wait()?;
        self.writer.wait_merging_threads()?;
        Ok(())
    }
}

/// The segments that are to become one each: as many as are searched at the same time, of about the same size.
fn even_groups(mut segments: Vec<SegmentMeta>) -> Vec<Vec<SegmentMeta>> {
    let count = if passages_of(&segments) < PASSAGES_FOR_ALL_CORES { 1 } else { SEGMENTS_MAX };
    segments.sort_by_key(|segment| std::cmp::Reverse(segment.num_docs()));
    let mut groups = vec![Vec::new(); count];
    for segment in segments {
        if let Some(smallest) = groups.iter_mut().min_by_key(|group| passages_of(group)) {
            smallest.push(segment);
        }
    }
    groups.retain(|group| !group.is_empty());
    groups
}

fn passages_of(segments: &[SegmentMeta]) -> u32 {
    segments.iter().map(SegmentMeta::num_docs).sum()
}
