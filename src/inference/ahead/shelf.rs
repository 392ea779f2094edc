//! Passages that were read before anybody asked: their pieces on disk, one file each, for as long as there is room.
//!
//! A file is named after its passage, after what all pieces share that can be used now (the model, the format, the edition of the
//! rules), and after everything that its contents depend on. So a stale one is never found, and makes room for others before all
//! that can be used; a damaged one does not have the checksum that it carries.
//!
//! ```text
//! magic (8) | key (32) | crc32 of the rest (4) | positions (4) | the piece
//! ```

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::statvfs;

use super::ReadAheadOptions;
use super::uses::Uses;
use crate::domain::PassageId;
use crate::inference::kv::{KvShape, Piece, PieceFormat, PieceShape};

const MAGIC: &[u8; 8] = b"CERVPKV1";
const HEADER_BYTES: usize = 8 + 32 + 4 + 4;
/// The disk is the store's too, without which nothing is answered.
const DISK_FREE_MIN_BYTES: u64 = 2_000_000_000;
/// After so long nobody writes on what is half written.
const LEFT_AFTER: Duration = Duration::from_secs(600);
const EXTENSION: &str = "kv";
const PARTIAL: &str = "partial";
/// Beside the pieces.
const USES: &str = "uses.json";

/// What a piece is asked for by.
#[derive(Clone, Copy, Debug)]
pub(super) struct PieceKey<'a> {
    pub passage: PassageId,
    /// Tokens before it when it was read.
    pub rules: &'a [u32],
    pub tokens: &'a [u32],
}

/// The pieces of one model.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    /// Of the model file.
    identity: [u8; 32],
    model: KvShape,
    format: PieceFormat,
    bytes_max: u64,
    /// Of the files that can be used now, in their names.
    owner: String,
    uses: Uses,
}

/// A file of a piece.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct KeptFile {
    used: SystemTime,
    bytes: u64,
    path: PathBuf,
}

impl KeptFile {
    fn of(path: PathBuf) -> Option<Self> {
        let details = fs::metadata(&path).ok()?;
        Some(KeptFile { used: details.modified().ok()?, bytes: details.len(), path })
    }

    fn passage(&self) -> Option<PassageId> {
        passage_of(&self.path)
    }

    fn is_of(&self, owner: &str) -> bool {
        self.path.file_name().and_then(|name| name.to_str()?.split('-').nth(1)) == Some(owner)
    }
}

impl Shelf {
    /// The shelf in a folder, which is made with the first piece. What a killed process left half written is removed.
    /// `identity`: of the model's file.
    pub(super) fn open(options: &ReadAheadOptions, identity: [u8; 32], model: KvShape) -> Self {
        let ReadAheadOptions { folder, bytes_max, format, edition, .. } = options.clone();
        for path in files(&folder, PARTIAL).filter(|path| is_left(path)) {
            remove(&path);
        }
        let uses = Uses::open(folder.join(USES));
        let mut hasher = blake3::Hasher::new();
        hasher.update(MAGIC).update(&identity).update(&[format as u8]).update(edition.as_bytes());
        let owner = hasher.finalize().to_hex()[..8].to_owned();
        Shelf { folder, identity, model, format, bytes_max, owner, uses }
    }

    /// How often passages are found.
    pub(super) fn uses(&self) -> &Uses {
        &self.uses
    }

    /// What was read of a passage; `None`: nothing, or nothing that can be used. That it was asked for counts as its use.
    pub(super) fn get(&self, key: PieceKey<'_>) -> Option<Piece> {
        let hash = self.hash(key);
        let path = self.path(key.passage, &hash);
        let mut file = File::open(&path).ok()?;
        let shape = PieceShape::of(&self.model, key.tokens.len(), self.format);
        let piece = whole(&mut file, &hash, shape);
        if piece.is_none() {
            tracing::warn!(path = %path.display(), "what was read of a passage before is damaged: it is read anew");
            remove(&path);
        } else if let Err(error) = file.set_modified(SystemTime::now()) {
            tracing::debug!(%error, "the use of a piece is not noted");
        }
        piece
    }

    pub(super) fn holds(&self, key: PieceKey<'_>) -> bool {
        self.path(key.passage, &self.hash(key)).is_file()
    }

    /// Whether a piece of so many positions of a passage has a place here, or gets one from passages that are expected to be
    /// asked for less.
    pub(super) fn has_place_for(&self, passage: PassageId, positions: usize) -> bool {
        self.to_go(passage, self.file_bytes(positions)).is_some()
    }

    /// Whether all pieces together may be so large as one of so many positions.
    pub(super) fn may_hold(&self, positions: usize) -> bool {
        self.file_bytes(positions) <= self.bytes_max
    }

    /// Passages whose pieces lie here and can be used, and their bytes together.
    pub(super) fn kept(&self) -> (usize, u64) {
        let own = self.files().filter(|file| file.is_of(&self.owner));
        own.fold((0, 0), |(files, bytes), file| (files + 1, bytes + file.bytes))
    }

    /// In names of files, of those that can be used now.
    pub(super) fn owner(&self) -> &str {
        &self.owner
    }

    /// Bytes that are not taken by what can be used.
    pub(super) fn room(&self) -> u64 {
        self.bytes_max.saturating_sub(self.kept().1)
    }

    /// On the disk, for a piece of so many positions.
    pub(super) fn file_bytes(&self, positions: usize) -> u64 {
        (HEADER_BYTES + PieceShape::of(&self.model, positions, self.format).bytes()) as u64
    }

    /// Keeps a piece, in the place of those that are expected to be asked for less if there is no other, and of those that were
    /// not used for longest first. Returns whether it has one.
    ///
    /// # Errors
    /// The disk's. Nothing of it is kept then.
    pub(super) fn put(&self, key: PieceKey<'_>, piece: &Piece) -> io::Result<bool> {
        fs::create_dir_all(&self.folder)?;
        let hash = self.hash(key);
        let path = self.path(key.passage, &hash);
        let bytes = (HEADER_BYTES + piece.bytes().len()) as u64;
        let Some(to_go) = self.to_go(key.passage, bytes) else { return Ok(false) };
        to_go.iter().for_each(|path| remove(path));
        let disk = statvfs(&self.folder)?;
        if disk.f_bavail * disk.f_frsize < bytes + DISK_FREE_MIN_BYTES {
            return Err(io::Error::other("less than 2 GB of the disk are free"));
        }
        let mut header = MAGIC.to_vec();
        header.extend(hash);
        header.extend(crc32fast::hash(piece.bytes()).to_le_bytes());
        header.extend((piece.shape().positions as u32).to_le_bytes());
        // Other processes may read ahead into the same folder.
        let partial = path.with_extension(format!("{}.{PARTIAL}", std::process::id()));
        // Not synced: what a loss of power leaves half written has not the checksum that it carries.
        let written = (|| {
            let mut file = File::create(&partial)?;
            file.write_all(&header)?;
            file.write_all(piece.bytes())?;
            fs::rename(&partial, &path)
        })();
        if written.is_err() {
            remove(&partial);
        }
        written.map(|()| true)
    }

    /// Removes what is kept of a passage.
    pub(super) fn remove(&self, key: PieceKey<'_>) {
        remove(&self.path(key.passage, &self.hash(key)));
    }

    pub(super) fn format(&self) -> PieceFormat {
        self.format
    }

    /// What has to go to make room for so many bytes of a passage; `None`: others are expected to be asked for as much.
    fn to_go(&self, passage: PassageId, bytes: u64) -> Option<Vec<PathBuf>> {
        if bytes > self.bytes_max {
            return None;
        }
        let expected = |file: &KeptFile| match file.passage().filter(|_| file.is_of(&self.owner)) {
            Some(id) => self.uses.expected(id),
            // Nobody can use it.
            None => -1.0,
        };
        let mut kept: Vec<(f64, KeptFile)> = self.files().map(|file| (expected(&file), file)).collect();
        let mut used: u64 = kept.iter().map(|(_, file)| file.bytes).sum();
        if used + bytes <= self.bytes_max {
            return Some(Vec::new());
        }
        kept.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        let own = self.uses.expected(passage);
        let mut to_go = Vec::new();
        for (expected, file) in kept {
            if used + bytes <= self.bytes_max {
                break;
            }
            if expected >= own {
                return None;
            }
            used -= file.bytes;
            to_go.push(file.path);
        }
        Some(to_go)
    }

    fn files(&self) -> impl Iterator<Item = KeptFile> + use<> {
        files(&self.folder, EXTENSION).filter_map(KeptFile::of)
    }

    fn path(&self, passage: PassageId, hash: &[u8; 32]) -> PathBuf {
        let hash = blake3::Hash::from_bytes(*hash).to_hex();
        self.folder.join(format!("{passage}-{}-{}.{EXTENSION}", self.owner, &hash[..32]))
    }

    fn hash(&self, key: PieceKey<'_>) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(MAGIC);
        hasher.update(&self.identity);
        hasher.update(&[self.format as u8]);
        for tokens in [key.rules, key.tokens] {
            hasher.update(&(tokens.len() as u64).to_le_bytes());
            for token in tokens {
                hasher.update(&token.to_le_bytes());
            }
        }
        *hasher.finalize().as_bytes()
    }
}

/// Removes what was read of passages that are no longer in the index, whatever model read it. Returns how many files that were.
pub fn forget_pieces(folder: &Path, is_kept: impl Fn(PassageId) -> bool) -> usize {
    let gone = files(folder, EXTENSION).filter(|path| passage_of(path).is_none_or(|id| !is_kept(id)));
    gone.inspect(|path| remove(path)).count()
}

/// Passages whose pieces lie in a folder, and their bytes together.
pub fn kept_pieces(folder: &Path) -> (usize, u64) {
    files(folder, EXTENSION)
        .filter_map(|path| Some(fs::metadata(path).ok()?.len()))
        .fold((0, 0), |(files, bytes), more| (files + 1, bytes + more))
}

/// By the name of its file.
fn passage_of(path: &Path) -> Option<PassageId> {
    path.file_name()?.to_str()?.split('-').next()?.parse().ok()
}

/// The piece in a file, if it is there as it was written.
fn whole(file: &mut File, hash: &[u8; 32], shape: PieceShape) -> Option<Piece> {
    // A longer file is no piece, and is not read.
    if file.metadata().ok()?.len() != (HEADER_BYTES + shape.bytes()) as u64 {
        return None;
    }
    let mut header = [0; HEADER_BYTES];
    file.read_exact(&mut header).ok()?;
    let mut body = Vec::with_capacity(shape.bytes());
    file.read_to_end(&mut body).ok()?;
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let is_whole = &header[..8] == MAGIC
        && &header[8..40] == hash
        && number(44) as usize == shape.positions
        && crc32fast::hash(&body) == number(40);
    if is_whole { Piece::from_bytes(shape, body) } else { None }
}

fn files(folder: &Path, extension: &'static str) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(move |path| path.extension().is_some_and(|found| found == extension))
}

/// Whether a half written file was left by a process that is gone.
fn is_left(path: &Path) -> bool {
    let age = fs::metadata(path).and_then(|details| details.modified()).ok().and_then(|at| at.elapsed().ok());
    age.is_some_and(|age| age >= LEFT_AFTER)
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "what was read of a passage before cannot be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::kv::{KvFormat, KvStore};

    const MODEL: KvShape = KvShape { layers: 2, kv_heads: 2, head_size: 8, capacity: 64, format: KvFormat::F16 };

    fn options(folder: &Path, bytes_max: u64) -> ReadAheadOptions {
        ReadAheadOptions { folder: folder.to_owned(), bytes_max, ..ReadAheadOptions::default() }
    }

    fn shelf(folder: &Path, bytes_max: u64) -> Shelf {
        Shelf::open(&options(folder, bytes_max), [7; 32], MODEL)
    }

    fn piece(positions: usize) -> Piece {
        Piece::of_store(&KvStore::new(MODEL).unwrap(), positions, PieceFormat::Int8)
    }

    fn key<'a>(n: u8, rules: &'a [u32], tokens: &'a [u32]) -> PieceKey<'a> {
        PieceKey { passage: PassageId([n; 16]), rules, tokens }
    }

    #[test]
    fn a_piece_is_found_by_all_that_it_depends_on_and_by_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = shelf(folder.path(), 1 << 20);
        let own = key(1, &[1, 2], &[3, 4, 5]);
        assert!(shelf.get(own).is_none());
        shelf.put(own, &piece(3)).unwrap();
        assert_eq!(shelf.get(own).unwrap().bytes(), piece(3).bytes());
        for other in [key(2, &[1, 2], &[3, 4, 5]), key(1, &[1, 2, 3], &[4, 5]), key(1, &[1, 2], &[3, 4, 6])] {
            assert!(!shelf.holds(other) && shelf.get(other).is_none());
        }
        let options = options(folder.path(), 1 << 20);
        let other_format = ReadAheadOptions { format: PieceFormat::Int4, ..options.clone() };
        let other_rules = ReadAheadOptions { edition: "2".to_owned(), ..options.clone() };
        let others = [(&options, [8; 32]), (&other_format, [7; 32]), (&other_rules, [7; 32])];
        for (options, model) in others {
            let other = Shelf::open(options, model, MODEL);
            assert!(other.get(own).is_none());
            assert_eq!((other.kept(), other.room()), ((0, 0), 1 << 20));
        }
        assert!(shelf.get(own).is_some());
    }

    #[test]
    fn whatever_byte_is_wrong_or_missing_it_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = shelf(folder.path(), 1 << 20);
        let own = key(1, &[1], &[2]);
        shelf.put(own, &piece(1)).unwrap();
        let path = shelf.path(own.passage, &shelf.hash(own));
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            fs::write(&path, &damaged).unwrap();
            assert!(shelf.get(own).is_none(), "byte {at}");
            assert!(!path.exists());
            fs::write(&path, &bytes[..at]).unwrap();
            assert!(shelf.get(own).is_none(), "{at} bytes");
        }
    }

    #[test]
    fn those_that_are_asked_for_least_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = (HEADER_BYTES + piece(2).bytes().len()) as u64;
        let shelf = shelf(folder.path(), 2 * bytes + bytes / 2);
        assert!(shelf.may_hold(4) && !shelf.may_hold(40));
        let keys = [1, 2, 3, 4].map(|n| key(n, &[1], &[2, 3]));
        let held = || keys.map(|key| shelf.holds(key));
        assert!(shelf.put(keys[0], &piece(2)).unwrap() && shelf.put(keys[1], &piece(2)).unwrap());
        assert_eq!(shelf.room(), bytes / 2);
        // Nobody asks for it more than for the others.
        assert!(!shelf.has_place_for(keys[2].passage, 2) && !shelf.put(keys[2], &piece(2)).unwrap());
        // Clocks of file systems are coarse.
        let earlier = SystemTime::now() - Duration::from_secs(60);
        let used = File::open(shelf.path(keys[1].passage, &shelf.hash(keys[1]))).unwrap();
        used.set_modified(earlier).unwrap();
        shelf.uses().note(keys[2].passage);
        assert!(shelf.has_place_for(keys[2].passage, 2) && shelf.put(keys[2], &piece(2)).unwrap());
        assert_eq!(held(), [true, false, true, false]);
        for asked in [0, 0, 3] {
            shelf.uses().note(keys[asked].passage);
        }
        assert!(shelf.put(keys[3], &piece(2)).unwrap());
        assert_eq!(held(), [true, false, false, true]);
        assert_eq!(kept_pieces(folder.path()), (2, 2 * bytes));
    }

    #[test]
    fn those_that_are_always_expected_make_room_for_none() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = (HEADER_BYTES + piece(2).bytes().len()) as u64;
        let shelf = shelf(folder.path(), bytes);
        let keys = [1, 2, 3].map(|n| key(n, &[1], &[2, 3]));
        assert!(shelf.put(keys[0], &piece(2)).unwrap());
        (0..3).for_each(|_| shelf.uses().note(keys[0].passage));
        shelf.uses().expect_always([keys[1].passage, keys[2].passage].into());
        assert!(shelf.put(keys[1], &piece(2)).unwrap());
        (0..9).for_each(|_| shelf.uses().note(keys[0].passage));
        assert!(!shelf.put(keys[0], &piece(2)).unwrap() && !shelf.put(keys[2], &piece(2)).unwrap());
        assert_eq!(keys.map(|key| shelf.holds(key)), [false, true, false]);
    }

    #[test]
    fn what_nobody_can_use_any_more_makes_room_first() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = (HEADER_BYTES + piece(2).bytes().len()) as u64;
        let keys = [1, 2, 3].map(|n| key(n, &[1], &[2, 3]));
        let before = Shelf::open(&options(folder.path(), 2 * bytes), [8; 32], MODEL);
        assert!(keys[..2].iter().all(|key| before.put(*key, &piece(2)).unwrap()));
        before.uses().note(keys[0].passage);
        before.uses().save();
        let shelf = shelf(folder.path(), 2 * bytes);
        // Nobody asked for them, and they have a place all the same.
        assert!(keys[1..].iter().all(|key| shelf.put(*key, &piece(2)).unwrap()));
        assert_eq!((shelf.kept(), kept_pieces(folder.path())), ((2, 2 * bytes), (2, 2 * bytes)));
        assert!(!shelf.has_place_for(PassageId([4; 16]), 2) && shelf.has_place_for(keys[0].passage, 2));
    }

    #[test]
    fn what_is_gone_from_the_index_and_what_was_half_written_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = shelf(folder.path(), 1 << 20);
        let keys = [1, 2].map(|n| key(n, &[1], &[2, 3]));
        assert!(keys.iter().all(|key| shelf.put(*key, &piece(2)).unwrap()));
        assert_eq!(forget_pieces(folder.path(), |id| id == PassageId([2; 16])), 1);
        assert_eq!(keys.map(|key| shelf.holds(key)), [false, true]);
        let partial = folder.path().join("x.partial");
        fs::write(&partial, "half").unwrap();
        self::shelf(folder.path(), 1 << 20);
        assert!(partial.exists(), "somebody may be writing it");
        File::options().write(true).open(&partial).unwrap().set_modified(SystemTime::now() - 2 * LEFT_AFTER).unwrap();
        self::shelf(folder.path(), 1 << 20);
        assert!(!partial.exists());
    }
}
