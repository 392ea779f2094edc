//! Beginnings of prompts that many conversations share, such as the rules: read once, kept in memory, and on disk for
//! the next start.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::{KvCache, KvFormat};
use crate::inference::config::LlamaConfig;
use crate::inference::error::Result;

/// One for each language and some to spare.
const KEPT_MAX: usize = 4;
const MAGIC: &[u8; 8] = b"CERVKVP1";
const HEADER_BYTES: usize = 8 + 32 + 4 + 4;

/// The kept beginnings of one model.
pub struct KeptPrefixes {
    config: LlamaConfig,
    format: KvFormat,
    /// What the file belongs to: model and layout.
    identity: [u8; 32],
    /// `None`: nothing is written to disk.
    path: Option<PathBuf>,
    /// The latest one is last.
    kept: Vec<KvCache>,
}

impl KeptPrefixes {
    /// Reads back what an earlier process kept at `path`. A file that belongs to another model, or is damaged, is as
    /// good as none.
    pub fn open(config: &LlamaConfig, format: KvFormat, identity: [u8; 32], path: Option<PathBuf>) -> Self {
        let mut prefixes = KeptPrefixes { config: config.clone(), format, identity, path, kept: Vec::new() };
        if let Some(path) = prefixes.path.clone().filter(|path| path.is_file()) {
            match prefixes.read(&path) {
                Ok(kept) => prefixes.kept = kept,
                Err(error) => {
                    tracing::info!(path = %path.display(), %error, "kept beginnings of prompts are read anew");
                }
            }
        }
        prefixes
    }

    /// The kept beginning that shares most with `prompt`.
    pub fn best(&self, prompt: &[u32]) -> Option<&KvCache> {
        self.kept.iter().max_by_key(|kept| kept.shared(prompt))
    }

    /// Keeps the first `len` positions of `cache`, if they are not kept already.
    ///
    /// # Errors
    /// No memory. That the disk has no room is only logged.
    pub fn keep(&mut self, cache: &KvCache, len: usize) -> Result<()> {
        let tokens = &cache.tokens()[..len];
        if len == 0 || self.kept.iter().any(|kept| kept.tokens() == tokens) {
            return Ok(());
        }
        let mut kept = KvCache::new(&self.config, len, self.format)?;
        kept.copy_prefix(cache, len);
        if self.kept.len() == KEPT_MAX {
            self.kept.remove(0);
        }
        self.kept.push(kept);
        if let Some(path) = &self.path
            && let Err(error) = self.write(path)
        {
            tracing::warn!(path = %path.display(), %error, "the beginnings of prompts cannot be kept for the next start");
        }
        Ok(())
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut body = Vec::new();
        for kept in &self.kept {
            kept.export(&mut body)?;
        }
        let mut header = MAGIC.to_vec();
        header.extend(self.identity);
        header.extend((self.kept.len() as u32).to_le_bytes());
        header.extend(crc32fast::hash(&body).to_le_bytes());
        let partial = path.with_extension("kv.partial");
        let mut file = BufWriter::new(File::create(&partial)?);
        file.write_all(&header)?;
        file.write_all(&body)?;
        file.into_inner()?.sync_all()?;
        fs::rename(&partial, path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<KvCache>> {
        let largest = KEPT_MAX * self.config.kv_shape(self.config.context_tokens, self.format).reserved_bytes();
        let file = File::open(path)?;
        if file.metadata()?.len() > largest as u64 {
            return Err(io::Error::other("it is too large"));
        }
        let mut file = BufReader::new(file);
        let mut header = [0; HEADER_BYTES];
        file.read_exact(&mut header)?;
        if &header[..8] != MAGIC || header[8..40] != self.identity {
            return Err(io::Error::other("it belongs to another model"));
        }
        let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let mut body = Vec::new();
        file.read_to_end(&mut body)?;
        if crc32fast::hash(&body) != number(44) {
            return Err(io::Error::other("it is damaged"));
        }
        let mut body = body.as_slice();
        (0..number(40).min(KEPT_MAX as u32))
            .map(|_| {
                let len = body.first_chunk().map_or(0, |len| u64::from_le_bytes(*len) as usize);
                let capacity = len.min(self.config.context_tokens);
                let mut cache = KvCache::new(&self.config, capacity, self.format).map_err(io::Error::other)?;
                cache.import(&mut body)?;
                Ok(cache)
            })
            .collect()
    }
}
