//! How a weight matrix lies in memory: the blocks of the GGUF file and the packed layout that every kernel reads.
//! No arithmetic on activations here.
//!
//! Packed, sixteen outputs form a group, and a group is two regions, both of whole 64-byte lines:
//! - scales: one record per block. Sub-scales (16 bytes, one per output, per sub-block), mins (per two sub-blocks 32
//!   bytes, the two mins of an output side by side), then the sixteen f16 scales and the sixteen f16 scales of the mins.
//!   Formats without sub-blocks have only the f16 parts.
//! - quants: units of 16 inputs. A line of 64 bytes holds four inputs (a quad) of every output, four bytes each, which
//!   is what one VNNI instruction takes; 4 bits: two quads a line, low and high nibbles; 6 bits: a line with the upper
//!   two bits of all four quads, then two lines of nibbles; 8 bits: a line per quad.

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::Product;

/// Outputs (weight rows) that lie interleaved in one group.
pub const OUTPUTS_PER_GROUP: usize = 16;
/// Inputs of a unit: four lines of a quad each once unpacked.
pub(super) const UNIT: usize = 16;
pub(super) const LINE: usize = 64;

/// A format's numbers; everything else in this room is derived from them.
pub(super) trait Layout {
    /// Inputs that share one f16 scale, in the weights and in the activations.
    const BLOCK: usize;
    /// Inputs that share a sub-scale; the whole block where there are none.
    const SUB: usize;
    const BITS: usize;
    /// The file means `quant - OFFSET`.
    const OFFSET: i32;
    /// Whether a min per sub-block is added (`Q4_1`) or subtracted (`Q4_K`).
    const MINS: bool;
    /// Bytes of a block in the file.
    const SOURCE_BYTES: usize;

    const SUBS: usize = Self::BLOCK / Self::SUB;
    const UNIT_BYTES: usize = UNIT * OUTPUTS_PER_GROUP * Self::BITS / 8;
    const QUANT_BYTES: usize = Self::BLOCK / UNIT * Self::UNIT_BYTES;
    const SUB_SCALE_BYTES: usize = if Self::SUBS > 1 { Self::SUBS * OUTPUTS_PER_GROUP } else { 0 };
    /// Where the f16 scales start in a record.
    const D_AT: usize = if Self::MINS { 2 * Self::SUB_SCALE_BYTES } else { Self::SUB_SCALE_BYTES };
    const SCALE_BYTES: usize = Self::D_AT + OUTPUTS_PER_GROUP * if Self::MINS { 4 } else { 2 };

    fn read(source: &[u8]) -> SourceBlock;
}

/// One block of the file, unpacked. Scales stay the f16 bytes they are.
pub(super) struct SourceBlock {
    quants: [u8; 256],
    scales: [i8; 16],
    mins: [u8; 8],
    d: [u8; 2],
    min_d: [u8; 2],
}

impl SourceBlock {
    fn new(d: &[u8], min_d: &[u8]) -> Self {
        let f16_bytes = |bytes: &[u8]| [bytes[0], bytes[1]];
        Self { quants: [0; 256], scales: [0; 16], mins: [0; 8], d: f16_bytes(d), min_d: f16_bytes(min_d) }
    }

    /// The file's pairing of 16 bytes: low nibbles are the first 16 values, high nibbles the last 16.
    fn with_nibbles(mut self, bytes: &[u8]) -> Self {
        for (i, byte) in bytes.iter().enumerate() {
            self.quants[i] = byte & 15;
            self.quants[i + 16] = byte >> 4;
        }
        self
    }
}

pub(super) struct Q4K;
pub(super) struct Q6K;
pub(super) struct Q8_0;
pub(super) struct Q4_0;
pub(super) struct Q4_1;

impl Layout for Q4K {
    const BLOCK: usize = 256;
    const SUB: usize = 32;
    const BITS: usize = 4;
    const OFFSET: i32 = 0;
    const MINS: bool = true;
    const SOURCE_BYTES: usize = 144;

    fn read(source: &[u8]) -> SourceBlock {
        let mut block = SourceBlock::new(&source[0..2], &source[2..4]);
        let packed = &source[4..16];
        for j in 0..8 {
            // Six bits each: the first four in bytes 0..4 and 4..8, whose upper bits complete the last four's nibbles.
            let (scale, min) = if j < 4 {
                (packed[j] & 63, packed[j + 4] & 63)
            } else {
                let nibbles = packed[j + 4];
                ((nibbles & 15) | (packed[j - 4] >> 6 << 4), (nibbles >> 4) | (packed[j] >> 6 << 4))
            };
            block.scales[j] = scale as i8;
            block.mins[j] = min;
        }
        for (pair, bytes) in source[16..144].chunks_exact(32).enumerate() {
            for (i, byte) in bytes.iter().enumerate() {
                block.quants[pair * 64 + i] = byte & 15;
                block.quants[pair * 64 + 32 + i] = byte >> 4;
            }
        }
        block
    }
}

impl Layout for Q6K {
    const BLOCK: usize = 256;
    const SUB: usize = 16;
    const BITS: usize = 6;
    const OFFSET: i32 = 32;
    const MINS: bool = false;
    const SOURCE_BYTES: usize = 210;

    fn read(source: &[u8]) -> SourceBlock {
        let mut block = SourceBlock::new(&source[208..210], &[0, 0]);
        for (scale, byte) in block.scales.iter_mut().zip(&source[192..208]) {
            *scale = *byte as i8;
        }
        let (low, high) = (&source[0..128], &source[128..192]);
        for part in 0..2 {
            for i in 0..32 {
                let (low_0, low_1, high) = (low[part * 64 + i], low[part * 64 + 32 + i], high[part * 32 + i]);
                let quants = &mut block.quants[part * 128 + i..];
                quants[0] = (low_0 & 15) | ((high & 3) << 4);
                quants[32] = (low_1 & 15) | ((high >> 2 & 3) << 4);
                quants[64] = (low_0 >> 4) | ((high >> 4 & 3) << 4);
                quants[96] = (low_1 >> 4) | ((high >> 6) << 4);
            }
        }
        block
    }
}

impl Layout for Q8_0 {
    const BLOCK: usize = 32;
    const SUB: usize = 32;
    const BITS: usize = 8;
    const OFFSET: i32 = 128;
    const MINS: bool = false;
    const SOURCE_BYTES: usize = 34;

    fn read(source: &[u8]) -> SourceBlock {
        let mut block = SourceBlock::new(&source[0..2], &[0, 0]);
        for (quant, byte) in block.quants.iter_mut().zip(&source[2..34]) {
            *quant = byte ^ 0x80;
        }
        block
    }
}

impl Layout for Q4_0 {
    const BLOCK: usize = 32;
    const SUB: usize = 32;
    const BITS: usize = 4;
    const OFFSET: i32 = 8;
    const MINS: bool = false;
    const SOURCE_BYTES: usize = 18;

    fn read(source: &[u8]) -> SourceBlock {
        SourceBlock::new(&source[0..2], &[0, 0]).with_nibbles(&source[2..18])
    }
}

impl Layout for Q4_1 {
    const BLOCK: usize = 32;
    const SUB: usize = 32;
    const BITS: usize = 4;
    const OFFSET: i32 = 0;
    const MINS: bool = true;
    const SOURCE_BYTES: usize = 20;

    fn read(source: &[u8]) -> SourceBlock {
        SourceBlock::new(&source[0..2], &source[2..4]).with_nibbles(&source[4..20])
    }
}

/// Bytes of a group's first region.
pub(super) fn scale_region_bytes<L: Layout>(inputs: usize) -> usize {
    (inputs / L::BLOCK * L::SCALE_BYTES).next_multiple_of(LINE)
}

/// Bytes of one packed group.
pub(super) fn group_bytes<L: Layout>(inputs: usize) -> usize {
    scale_region_bytes::<L>(inputs) + inputs / L::BLOCK * L::QUANT_BYTES
}

/// The two regions of a group.
pub(super) struct Group<'a> {
    pub(super) scales: &'a [u8],
    pub(super) quants: &'a [u8],
}

impl<'a> Group<'a> {
    pub(super) fn of<L: Layout>(packed: &'a [u8], inputs: usize, group: usize) -> Self {
        let bytes = group_bytes::<L>(inputs);
        let (scales, quants) = packed[group * bytes..(group + 1) * bytes].split_at(scale_region_bytes::<L>(inputs));
        Self { scales, quants }
    }
}

/// The two regions of a group by address, for kernels that stream them.
#[cfg(target_arch = "x86_64")]
pub(super) struct Stream {
    pub(super) scales: *const u8,
    pub(super) quants: *const u8,
}

#[cfg(target_arch = "x86_64")]
impl Stream {
    pub(super) fn of<L: Layout>(product: &Product, group: usize) -> Self {
        let Group { scales, quants } = Group::of::<L>(product.weights.bytes, product.weights.shape.inputs, group);
        Self { scales: scales.as_ptr(), quants: quants.as_ptr() }
    }
}

/// Packs `groups` of the matrix in `source` (GGUF blocks, row-major) into `dst`, which holds just these groups.
pub(super) fn pack<L: Layout>(source: &[u8], inputs: usize, groups: Range<usize>, dst: &mut [u8]) {
    let blocks = inputs / L::BLOCK;
    let row_bytes = blocks * L::SOURCE_BYTES;
    let region = scale_region_bytes::<L>(inputs);
    for (group, dst) in groups.zip(dst.chunks_exact_mut(group_bytes::<L>(inputs))) {
        let (scales, quants) = dst.split_at_mut(region);
        scales[blocks * L::SCALE_BYTES..].fill(0);
        // Block after block, so that writes stay in one block's few pages while sixteen rows are read.
        let records = scales.chunks_exact_mut(L::SCALE_BYTES).zip(quants.chunks_exact_mut(L::QUANT_BYTES));
        for (block, (record, quants)) in records.take(blocks).enumerate() {
            for output in 0..OUTPUTS_PER_GROUP {
                let at = (group * OUTPUTS_PER_GROUP + output) * row_bytes + block * L::SOURCE_BYTES;
                let read = L::read(&source[at..at + L::SOURCE_BYTES]);
                write_scales::<L>(record, output, &read);
                write_quants::<L>(quants, output, &read);
            }
        }
    }
}

fn write_scales<L: Layout>(record: &mut [u8], output: usize, block: &SourceBlock) {
    if L::SUBS > 1 {
        for sub in 0..L::SUBS {
            record[sub * OUTPUTS_PER_GROUP + output] = block.scales[sub] as u8;
            if L::MINS {
                record[min_at::<L>(sub, output)] = block.mins[sub];
            }
        }
    }
    let at = L::D_AT + output * 2;
    record[at..at + 2].copy_from_slice(&block.d);
    if L::MINS {
        let at = at + OUTPUTS_PER_GROUP * 2;
        record[at..at + 2].copy_from_slice(&block.min_d);
    }
}

/// Where the min of an output's sub-block lies in a record.
pub(super) fn min_at<L: Layout>(sub: usize, output: usize) -> usize {
    L::SUB_SCALE_BYTES + sub / 2 * 2 * OUTPUTS_PER_GROUP + output * 2 + sub % 2
}

fn write_quants<L: Layout>(dst: &mut [u8], output: usize, block: &SourceBlock) {
    for (unit, quants) in dst.chunks_exact_mut(L::UNIT_BYTES).zip(block.quants.chunks_exact(UNIT)) {
        let quad =
            |q: usize| u32::from_le_bytes([quants[4 * q], quants[4 * q + 1], quants[4 * q + 2], quants[4 * q + 3]]);
        let mut put = |line: usize, word: u32| {
            let at = line * LINE + output * 4;
            unit[at..at + 4].copy_from_slice(&word.to_le_bytes());
        };
        let nibbles = |q: usize| (quad(q) & 0x0f0f_0f0f) | ((quad(q + 1) & 0x0f0f_0f0f) << 4);
        match L::BITS {
            4 => {
                put(0, nibbles(0));
                put(1, nibbles(2));
            }
            6 => {
                put(0, (0..4).fold(0, |word, q| word | (quad(q) >> 4 & 0x0303_0303) << (2 * q)));
                put(1, nibbles(0));
                put(2, nibbles(2));
            }
            _ => (0..4).for_each(|q| put(q, quad(q))),
        }
    }
}

/// The stored (unsigned) quant of an output's input, within a block's quants.
pub(super) fn quant<L: Layout>(quants: &[u8], output: usize, input: usize) -> u8 {
    let unit = &quants[input / UNIT * L::UNIT_BYTES..][..L::UNIT_BYTES];
    let (quad, byte) = (input % UNIT / 4, output * 4 + input % 4);
    let nibble = |line: usize| unit[(line + quad / 2) * LINE + byte] >> (4 * (quad % 2)) & 15;
    match L::BITS {
        4 => nibble(0),
        6 => nibble(1) | ((unit[byte] >> (2 * quad) & 3) << 4),
        _ => unit[quad * LINE + byte],
    }
}
