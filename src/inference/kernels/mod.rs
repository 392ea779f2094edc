//! Quantized matrix products on the processor: `out = activations x weights^T`.
//!
//! - [`layout`]: the file's blocks, the packed layout, packing.
//! - [`activations`]: rows of f32 quantized to int8.
//! - [`plain`]: the product as it is defined; slow, the others are tested against it.
//! - [`avx512`], [`avx2`]: the product, fast.
//!
//! Every function works on the calling thread; the caller splits groups of outputs and rows over its threads. Reading
//! files and keeping packed weights is not done here.

mod activations;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod layout;
mod plain;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

pub use activations::{Activations, Blocks};
use layout::Layout;
pub use layout::OUTPUTS_PER_GROUP;

/// A format that can be packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Q4K,
    Q6K,
    Q8_0,
    Q4_0,
    Q4_1,
}

/// Calls a generic function with the layout of a format.
macro_rules! with_layout {
    ($format:expr, $layout:ident => $call:expr) => {
        match $format {
            Format::Q4K => {
                type $layout = layout::Q4K;
                $call
            }
            Format::Q6K => {
                type $layout = layout::Q6K;
                $call
            }
            Format::Q8_0 => {
                type $layout = layout::Q8_0;
                $call
            }
            Format::Q4_0 => {
                type $layout = layout::Q4_0;
                $call
            }
            Format::Q4_1 => {
                type $layout = layout::Q4_1;
                $call
            }
        }
    };
}

impl Format {
    /// Inputs of one block; those of a matrix are a multiple.
    pub fn block_values(self) -> usize {
        self.blocks().inputs()
    }

    /// How the activations for this format are quantized.
    pub fn blocks(self) -> Blocks {
        match self {
            Self::Q4K | Self::Q6K => Blocks::Of256,
            Self::Q8_0 | Self::Q4_0 | Self::Q4_1 => Blocks::Of32,
        }
    }

    /// Whether a matrix of this shape can be packed, and a product with it is fast on this processor.
    pub fn supports(self, outputs: usize, inputs: usize) -> bool {
        isa() != Isa::Plain && self.fits(outputs, inputs)
    }

    fn fits(self, outputs: usize, inputs: usize) -> bool {
        outputs > 0
            && outputs.is_multiple_of(OUTPUTS_PER_GROUP)
            && outputs <= OutputView::OUTPUTS_MAX
            && inputs > 0
            && inputs.is_multiple_of(self.block_values())
    }

    /// Bytes of the matrix in a GGUF file.
    pub fn source_bytes(self, outputs: usize, inputs: usize) -> usize {
        with_layout!(self, L => outputs * (inputs / L::BLOCK * L::SOURCE_BYTES))
    }

    /// Bytes of the packed matrix: a multiple of 64.
    pub fn packed_bytes(self, outputs: usize, inputs: usize) -> usize {
        with_layout!(self, L => outputs / OUTPUTS_PER_GROUP * layout::group_bytes::<L>(inputs))
    }
}

/// Packs `groups` of a matrix (`source`: all of its GGUF blocks, row-major) into `dst`, which holds just these groups:
/// `groups.len()` times the packed bytes of sixteen outputs.
pub fn pack(format: Format, source: &[u8], shape: Shape, groups: Range<usize>, dst: &mut [u8]) {
    let Shape { outputs, inputs } = shape;
    assert!(format.fits(outputs, inputs), "{format:?} of {outputs} x {inputs} cannot be packed");
    assert_eq!(source.len(), format.source_bytes(outputs, inputs), "bytes of {format:?} {outputs} x {inputs}");
    assert!(groups.end <= outputs / OUTPUTS_PER_GROUP, "group {} of {outputs} outputs", groups.end);
    assert_eq!(dst.len(), format.packed_bytes(groups.len() * OUTPUTS_PER_GROUP, inputs), "bytes of packed groups");
    with_layout!(format, L => layout::pack::<L>(source, inputs, groups, dst));
}

/// Of a weight matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub outputs: usize,
    pub inputs: usize,
}

/// A packed weight matrix.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    format: Format,
    shape: Shape,
    bytes: &'a [u8],
}

impl<'a> Packed<'a> {
    /// `bytes` as [`pack`] wrote them, at a multiple of 64. None if shape, length or alignment is wrong.
    pub fn new(format: Format, shape: Shape, bytes: &'a [u8]) -> Option<Self> {
        let fits = format.fits(shape.outputs, shape.inputs)
            && bytes.len() == format.packed_bytes(shape.outputs, shape.inputs)
            && bytes.as_ptr().addr().is_multiple_of(layout::LINE);
        fits.then_some(Self { format, shape, bytes })
    }

    pub fn format(&self) -> Format {
        self.format
    }

    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How many groups of outputs there are to split over threads.
    pub fn groups(&self) -> usize {
        self.shape.outputs / OUTPUTS_PER_GROUP
    }
}

/// The instructions that a product is computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    Avx512Vnni,
    Avx2,
    Plain,
}

impl Isa {
    /// Whether this processor has the instructions.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512Vnni | Self::Avx2 => false,
            Self::Plain => true,
        }
    }
}

/// The best that this processor has.
pub fn isa() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(|| [Isa::Avx512Vnni, Isa::Avx2].into_iter().find(|isa| isa.is_available()).unwrap_or(Isa::Plain))
}

/// 2 KiB: enough for the largest vocabularies.
const CLAIM_WORDS: usize = 256;

/// Where a product is written: row-major, rows x outputs. Several threads write disjoint groups of outputs.
pub struct OutputView<'a> {
    values: *mut f32,
    rows: usize,
    outputs: usize,
    /// A bit per group that was written, so that no two threads get the same one.
    claims: [AtomicU64; CLAIM_WORDS],
    owner: PhantomData<&'a mut [f32]>,
}

// SAFETY: the pointer is into a slice that the view borrows mutably, and a group's columns are written only by the
// thread that claimed it.
unsafe impl Send for OutputView<'_> {}
// SAFETY: as above; the claims are atomic.
unsafe impl Sync for OutputView<'_> {}

impl<'a> OutputView<'a> {
    /// What the claims have room for.
    pub const OUTPUTS_MAX: usize = CLAIM_WORDS * 64 * OUTPUTS_PER_GROUP;

    /// Each group of outputs can be written once through one view.
    pub fn new(values: &'a mut [f32], rows: usize, outputs: usize) -> Self {
        assert_eq!(values.len(), rows * outputs, "values of {rows} rows x {outputs} outputs");
        assert!(outputs <= Self::OUTPUTS_MAX, "{outputs} outputs");
        let claims = [const { AtomicU64::new(0) }; CLAIM_WORDS];
        Self { values: values.as_mut_ptr(), rows, outputs, claims, owner: PhantomData }
    }

    fn claim(&self, groups: Range<usize>) {
        for group in groups {
            let bit = 1 << (group % 64);
            let before = self.claims[group / 64].fetch_or(bit, Ordering::Relaxed);
            assert!(before & bit == 0, "group {group} is written twice");
        }
    }

    /// # Safety
    /// The caller claimed the group that `output` is the first of, and `row` is in range.
    #[inline(always)]
    unsafe fn at(&self, row: usize, output: usize) -> *mut f32 {
        debug_assert!(row < self.rows && output + OUTPUTS_PER_GROUP <= self.outputs);
        // SAFETY: in range by the caller's word.
        unsafe { self.values.add(row * self.outputs + output) }
    }
}

/// Computes the outputs of `groups` for all rows of the activations, which were quantized for the weights' blocks.
/// Panics if the shapes do not match or one of the groups was written through this view.
pub fn matmul(weights: &Packed, activations: &Activations, groups: Range<usize>, out: &OutputView) {
    Product { weights, activations, groups, out }.compute(isa());
}

struct Product<'a> {
    weights: &'a Packed<'a>,
    activations: &'a Activations,
    groups: Range<usize>,
    out: &'a OutputView<'a>,
}

impl Product<'_> {
    /// Tests call it with each of the instructions that the processor has.
    fn compute(&self, isa: Isa) {
        let (weights, activations) = (self.weights, self.activations);
        assert_eq!(activations.blocks(), weights.format.blocks(), "activations for {:?}", weights.format);
        assert_eq!(activations.inputs(), weights.shape.inputs, "inputs of activations and weights");
        assert_eq!(
            (activations.rows(), weights.shape.outputs),
            (self.out.rows, self.out.outputs),
            "rows and outputs of the product"
        );
        assert!(self.groups.end <= weights.groups(), "group {} of {}", self.groups.end, weights.groups());
        self.out.claim(self.groups.clone());
        match isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: shapes match, the groups are ours, and the processor has the instructions.
            Isa::Avx512Vnni => with_layout!(weights.format, L => unsafe { avx512::matmul::<L>(self) }),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx2 => with_layout!(weights.format, L => unsafe { avx2::matmul::<L>(self) }),
            _ => with_layout!(weights.format, L => plain::matmul::<L>(self)),
        }
    }
}
