//! Weights in the layout of the kernels, made once from the model file and kept beside it, so that the next start maps
//! them. The layout follows from the model file alone: nothing but checksums is written down.
//!
//! File, little endian: a header of 4,096 bytes (magic, identity of the source, CRC-32 of each part), then the packed
//! matrices in the order of their names, each at a multiple of 64 bytes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use candle_core::utils::barrier_pool;
use memmap2::{Advice, Mmap, MmapMut, MmapOptions};

use super::error::Result;
use super::kernels::{self, Format, OUTPUTS_PER_GROUP, Shape};
use super::weights::ModelFile;

/// Changes with the layout of the kernels or of this file.
const MAGIC: &[u8; 8] = b"CERVPAK1";
const HEADER_BYTES: usize = 4096;
const IDENTITY: Range<usize> = 8..40;
const CHECKSUMS_AT: usize = 64;
/// Parts that are checked side by side.
const PARTS: usize = 64;
/// Bytes that are packed before they are written.
const WRITE_BYTES: usize = 32 << 20;
/// Pages of the source that enter its identity.
const SAMPLES: usize = 64;
const SAMPLE_BYTES: usize = 4096;

/// Packed matrices of one model.
pub(super) struct PackedWeights {
    plan: Plan,
    bytes: PackedBytes,
}

#[derive(Clone)]
enum PackedBytes {
    Mapped(Arc<Mmap>),
    /// The cache could not be kept; the bytes are in memory only, behind as many of the header.
    Held(Arc<MmapMut>),
}

/// A packed matrix in the mapping it lies in.
#[derive(Clone)]
pub(super) struct PackedMatrix {
    format: Format,
    shape: Shape,
    bytes: PackedBytes,
    range: Range<usize>,
}

impl PackedMatrix {
    pub(super) fn view(&self) -> kernels::Packed<'_> {
        let bytes = match &self.bytes {
            PackedBytes::Mapped(map) => &map[self.range.clone()],
            PackedBytes::Held(map) => &map[self.range.clone()],
        };
        kernels::Packed::new(self.format, self.shape, bytes).expect("the plan has the kernels' sizes and alignment")
    }
}

/// Where every matrix that can be packed lies.
struct Plan {
    matrices: BTreeMap<String, Planned>,
    /// Of the whole file.
    bytes: usize,
}

struct Planned {
    format: Format,
    shape: Shape,
    range: Range<usize>,
}

impl Plan {
    /// Of the matrices of `file` that the kernels of this processor are made for and `wanted` names.
    fn of(file: &ModelFile, wanted: impl Fn(&str) -> bool) -> Self {
        let mut names: Vec<&str> = file.tensor_names().filter(|name| wanted(name)).collect();
        names.sort_unstable();
        let mut at = HEADER_BYTES;
        let mut matrices = BTreeMap::new();
        for name in names {
            let Some((format, shape)) = file.packable(name) else { continue };
            let bytes = format.packed_bytes(shape.outputs, shape.inputs);
            matrices.insert(name.to_owned(), Planned { format, shape, range: at..at + bytes });
            at = (at + bytes).next_multiple_of(64);
        }
        Plan { matrices, bytes: at }
    }

    /// The bytes behind the header in [`PARTS`] equal parts.
    fn parts(&self) -> impl Fn(usize) -> Range<usize> + Sync {
        let (bytes, part) = (self.bytes, (self.bytes - HEADER_BYTES).div_ceil(PARTS));
        move |index| {
            let start = (HEADER_BYTES + index * part).min(bytes);
            start..(start + part).min(bytes)
        }
    }
}

impl PackedWeights {
    /// Maps the packed form of `file`, or makes it: first beside the model, and where that cannot be written, in
    /// memory for this run. `wanted` tells which tensors are multiplied with.
    ///
    /// # Errors
    /// Neither disk nor memory has room.
    pub(super) fn open(file: &ModelFile, wanted: impl Fn(&str) -> bool) -> Result<Self> {
        let plan = Plan::of(file, wanted);
        let identity = identity(file, &plan);
        let path = beside(file.path(), "packed");
        if let Some(bytes) = mapped(&path, &identity, &plan) {
            return Ok(PackedWeights { plan, bytes });
        }
        let start = Instant::now();
        let kept = write_file(file, &plan, &identity, &path);
        let bytes = kept.and_then(|()| {
            mapped(&path, &identity, &plan).ok_or_else(|| io::Error::other("what was written cannot be read back"))
        });
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(
                    path = %path.display(),
                    error = &error as &dyn std::error::Error,
                    "the packed weights cannot be kept beside the model: every start will pack them again"
                );
                held(file, &plan)?
            }
        };
        tracing::info!(bytes = plan.bytes, pack_ms = start.elapsed().as_millis() as u64, "weights packed");
        Ok(PackedWeights { plan, bytes })
    }

    /// `None`: this matrix is not packed.
    pub(super) fn matrix(&self, name: &str) -> Option<PackedMatrix> {
        let Planned { format, shape, range } = self.plan.matrices.get(name)?;
        Some(PackedMatrix { format: *format, shape: *shape, bytes: self.bytes.clone(), range: range.clone() })
    }
}

/// A file that belongs to a model file and stands beside it.
pub(super) fn beside(model: &Path, extension: &str) -> PathBuf {
    let mut name = model.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

/// What a packed file was made from: the source, and where everything lies.
fn identity(file: &ModelFile, plan: &Plan) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&identity_of(file));
    for (name, Planned { shape, range, .. }) in &plan.matrices {
        hasher.update(name.as_bytes());
        for number in [shape.outputs, shape.inputs, range.start, range.end] {
            hasher.update(&(number as u64).to_le_bytes());
        }
    }
    *hasher.finalize().as_bytes()
}

/// Tells one model file from another: by size, time, and pages spread over it; to read 5 GB at every start would take
/// longer than everything else.
pub(super) fn identity_of(file: &ModelFile) -> [u8; 32] {
    let source = file.bytes();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(source.len() as u64).to_le_bytes());
    let changed = fs::metadata(file.path()).and_then(|details| details.modified()).ok();
    let since = changed.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok()).unwrap_or_default();
    hasher.update(&since.as_nanos().to_le_bytes());
    for sample in 0..SAMPLES {
        let at = source.len() / SAMPLES * sample;
        hasher.update(&source[at..(at + SAMPLE_BYTES).min(source.len())]);
    }
    *hasher.finalize().as_bytes()
}

/// The file at `path`, if it was made from this source and nothing in it changed.
fn mapped(path: &Path, identity: &[u8; 32], plan: &Plan) -> Option<PackedBytes> {
    let file = File::open(path).ok()?;
    // SAFETY: the file is renamed into place when it is complete and never written again; replacing it leaves the
    // mapped one as it was.
    let map = unsafe { Mmap::map(&file) }.ok()?;
    // Pages of 2 MB where the kernel and the file system have them: with pages of 4 KB a virtual machine spends an eighth
    // of every token looking up addresses.
    if let Err(error) = map.advise(Advice::HugePage) {
        tracing::debug!(error = &error as &dyn std::error::Error, "weights are mapped in small pages");
    }
    if map.len() != plan.bytes || &map[..8] != MAGIC || map[IDENTITY] != identity[..] {
        tracing::info!(path = %path.display(), "the packed weights belong to another file: packing anew");
        return None;
    }
    let start = Instant::now();
    let whole = AtomicBool::new(true);
    let part = plan.parts();
    barrier_pool().execute_chunked(PARTS, |parts| {
        for index in parts {
            let at = CHECKSUMS_AT + index * 4;
            if map[at..at + 4] != crc32fast::hash(&map[part(index)]).to_le_bytes() {
                whole.store(false, Ordering::Relaxed);
            }
        }
    });
    if !whole.into_inner() {
        tracing::warn!(path = %path.display(), "the packed weights are damaged: packing anew");
        return None;
    }
    tracing::info!(check_ms = start.elapsed().as_millis() as u64, "packed weights mapped");
    Some(PackedBytes::Mapped(Arc::new(map)))
}

/// Packs into a file under another name, syncs it and renames it.
fn write_file(source: &ModelFile, plan: &Plan, identity: &[u8; 32], path: &Path) -> io::Result<()> {
    let partial = path.with_extension("packed.partial");
    let written = (|| {
        let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&partial)?;
        // All of the space at once: a full disk is noticed here, and nothing is packed in vain.
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, plan.bytes as u64)?;
        file.write_all(&[0; HEADER_BYTES])?;
        pack_all(source, plan, |_, bytes| file.write_all(bytes))?;
        file.sync_data()?;
        // SAFETY: nobody else knows the file by its partial name.
        let map = unsafe { Mmap::map(&file) }?;
        let header = header(identity, plan, &map);
        drop(map);
        io::Seek::seek(&mut file, io::SeekFrom::Start(0))?;
        file.write_all(&header)?;
        file.sync_all()?;
        // What was written lies in small pages: it is read back, once, into large ones.
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        fs::rename(&partial, path)?;
        File::open(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?.sync_all()
    })();
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written
}

fn header(identity: &[u8; 32], plan: &Plan, bytes: &[u8]) -> Vec<u8> {
    let mut header = vec![0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[IDENTITY].copy_from_slice(identity);
    let part = plan.parts();
    for index in 0..PARTS {
        let at = CHECKSUMS_AT + index * 4;
        header[at..at + 4].copy_from_slice(&crc32fast::hash(&bytes[part(index)]).to_le_bytes());
    }
    header
}

/// Packs into memory of this process.
fn held(source: &ModelFile, plan: &Plan) -> Result<PackedBytes> {
    let open = |error| super::error::InferenceError::Memory { bytes: plan.bytes as u64, source: error };
    let mut map = MmapOptions::new().len(plan.bytes).map_anon().map_err(open)?;
    let _ = map.advise(Advice::HugePage);
    pack_all(source, plan, |at, bytes| {
        map[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    })
    .map_err(open)?;
    Ok(PackedBytes::Held(Arc::new(map)))
}

/// Packs all matrices in order and hands out what is ready, with its place in the file. What was read of the source
/// leaves memory again.
fn pack_all(source: &ModelFile, plan: &Plan, mut ready: impl FnMut(usize, &[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = Vec::new();
    let mut at = HEADER_BYTES;
    for (name, Planned { format, shape, range }) in &plan.matrices {
        let blocks = source.blocks(name);
        let group_bytes = format.packed_bytes(OUTPUTS_PER_GROUP, shape.inputs);
        let groups = shape.outputs / OUTPUTS_PER_GROUP;
        let step = (WRITE_BYTES / group_bytes).max(1);
        for first in (0..groups).step_by(step) {
            let some = first..(first + step).min(groups);
            buffer.resize(some.len() * group_bytes, 0);
            pack_groups(*format, *shape, blocks, some, &mut buffer);
            ready(at, &buffer)?;
            at += buffer.len();
        }
        source.forget_pages(source.blocks(name));
        let padding = range.end.next_multiple_of(64) - range.end;
        ready(at, &[0; 64][..padding])?;
        at += padding;
    }
    Ok(())
}

/// Packs some groups, each thread its share.
fn pack_groups(format: Format, shape: Shape, blocks: &[u8], groups: Range<usize>, buffer: &mut [u8]) {
    let group_bytes = format.packed_bytes(OUTPUTS_PER_GROUP, shape.inputs);
    let first = groups.start;
    let parts: Vec<_> = buffer.chunks_mut(group_bytes).map(std::sync::Mutex::new).collect();
    barrier_pool().execute_chunked(parts.len(), |range| {
        for index in range {
            // No two calls get the same part: the lock only hands the borrow over to the thread.
            let mut part = parts[index].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            kernels::pack(format, blocks, shape, first + index..first + index + 1, &mut part);
        }
    });
}
