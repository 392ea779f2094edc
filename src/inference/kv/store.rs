//! Keys and values of one slot: their layout, and how positions get in, out to disk and over to another slot.
//!
//! How many positions are filled, and with which tokens, is not known here: that is the caller's business, as is
//! truncation, which needs nothing from the store.
//!
//! Everything of one layer and one key head, a *lane*, lies together: first the keys, then the values, then in the
//! 8-bit format the scales of both. Keys lie in blocks of [`BLOCK`] positions as `(head_size, BLOCK)`, so that a query
//! meets the same dimension of sixteen keys in one load and no kernel has to transpose or to add up across lanes.
//! Values lie as `(capacity, value_stride)`, one row per position.

use std::io::{self, Read, Write};
use std::ops::Range;

use half::f16;
use half::slice::HalfFloatSliceExt;
use memmap2::MmapMut;

/// Positions whose keys are interleaved.
pub const BLOCK: usize = 16;
/// Lanes and their parts start at multiples of a cache line.
const LINE_BYTES: usize = 64;
/// Values that are rounded together.
const PART: usize = 64;
/// Largest finite f16.
const F16_MAX: f32 = 65504.0;

/// How keys and values are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvFormat {
    #[default]
    F16,
    /// Signed bytes with one f32 scale per position and key head, separately for keys and values.
    Int8,
}

impl KvFormat {
    fn value_bytes(self) -> usize {
        match self {
            KvFormat::F16 => 2,
            KvFormat::Int8 => 1,
        }
    }

    fn scale_bytes(self) -> usize {
        match self {
            KvFormat::F16 => 0,
            KvFormat::Int8 => size_of::<f32>(),
        }
    }
}

/// What a store holds room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShape {
    pub layers: usize,
    pub kv_heads: usize,
    pub head_size: usize,
    /// Positions; rounded up to whole blocks.
    pub capacity: usize,
    pub format: KvFormat,
}

impl KvShape {
    /// Values from one position's row to the next: the head size, rounded up so that a kernel reads whole vectors.
    pub fn value_stride(&self) -> usize {
        self.head_size.next_multiple_of(BLOCK)
    }

    /// Bytes that one token takes over all layers.
    pub fn bytes_per_token(&self) -> usize {
        let elements = (self.head_size + self.value_stride()) * self.format.value_bytes();
        self.layers * self.kv_heads * (elements + 2 * self.format.scale_bytes())
    }

    /// Bytes of address space that a store takes; memory is taken as positions are written.
    pub fn reserved_bytes(&self) -> usize {
        self.layers * self.kv_heads * self.parts().lane_bytes
    }

    fn parts(&self) -> LaneParts {
        let positions = self.capacity.next_multiple_of(BLOCK);
        let align = |bytes: usize| bytes.next_multiple_of(LINE_BYTES);
        let values_at = align(positions * self.head_size * self.format.value_bytes());
        let key_scales_at = values_at + align(positions * self.value_stride() * self.format.value_bytes());
        let value_scales_at = key_scales_at + align(positions * self.format.scale_bytes());
        let lane_bytes = value_scales_at + align(positions * self.format.scale_bytes());
        LaneParts { values_at, key_scales_at, value_scales_at, lane_bytes }
    }
}

/// Offsets in bytes inside one lane; keys start at 0.
#[derive(Clone, Copy, Debug)]
struct LaneParts {
    values_at: usize,
    key_scales_at: usize,
    value_scales_at: usize,
    lane_bytes: usize,
}

/// Keys and values of one layer and one key head, as they lie.
#[derive(Clone, Copy, Debug)]
pub struct Lane<'a> {
    /// `(blocks, head_size, BLOCK)` elements of the format.
    pub keys: &'a [u8],
    /// `(positions, value_stride)` elements of the format.
    pub values: &'a [u8],
    /// One f32 per position, nothing in f16.
    pub key_scales: &'a [u8],
    pub value_scales: &'a [u8],
}

/// Keys and values of one slot, in all layers.
///
/// The full capacity is reserved at once, but as untouched zero pages: memory is taken as positions are written.
#[derive(Debug)]
pub struct KvStore {
    shape: KvShape,
    parts: LaneParts,
    bytes: MmapMut,
}

impl KvStore {
    /// An empty store.
    ///
    /// # Errors
    /// The address space cannot be reserved.
    pub fn new(shape: KvShape) -> io::Result<Self> {
        let bytes = MmapMut::map_anon(shape.reserved_bytes().max(1))?;
        Ok(KvStore { shape, parts: shape.parts(), bytes })
    }

    pub fn shape(&self) -> &KvShape {
        &self.shape
    }

    /// The keys and values of one layer and key head. What lies behind the filled positions is zeros or old.
    pub fn lane(&self, layer: usize, kv_head: usize) -> Lane<'_> {
        let LaneParts { values_at, key_scales_at, value_scales_at, .. } = self.parts;
        let lane = &self.bytes[self.lane_range(layer, kv_head)];
        Lane {
            keys: &lane[..values_at],
            values: &lane[values_at..key_scales_at],
            key_scales: &lane[key_scales_at..value_scales_at],
            value_scales: &lane[value_scales_at..],
        }
    }

    /// Stores consecutive positions from `start` on. `keys` (after RoPE) and `values` have the shape
    /// `(rows, kv_heads * head_size)`; one row is a decoded token, many are a prefill.
    ///
    /// # Panics
    /// The positions do not fit, or the slices are not of that shape.
    pub fn write(&mut self, layer: usize, start: usize, keys: &[f32], values: &[f32]) {
        self.lanes_mut(layer).for_each(|mut lane| lane.write(start, keys, values));
    }

    /// The lanes of one layer to write to, for callers that write them on several threads.
    ///
    /// # Panics
    /// There is no such layer.
    pub fn lanes_mut(&mut self, layer: usize) -> impl ExactSizeIterator<Item = LaneMut<'_>> {
        assert!(layer < self.shape.layers, "the layer exists");
        let (shape, parts) = (self.shape, self.parts);
        let layer_bytes = parts.lane_bytes * shape.kv_heads;
        let lanes =
            self.bytes[layer * layer_bytes..(layer + 1) * layer_bytes].chunks_exact_mut(parts.lane_bytes.max(1));
        lanes.enumerate().map(move |(kv_head, bytes)| LaneMut { kv_head, bytes, parts, shape })
    }

    /// The lanes of all layers, in their order.
    pub fn all_lanes_mut(&mut self) -> impl ExactSizeIterator<Item = LaneMut<'_>> {
        let (shape, parts) = (self.shape, self.parts);
        let lanes = self.bytes[..shape.reserved_bytes()].chunks_exact_mut(parts.lane_bytes.max(1));
        lanes.enumerate().map(move |(at, bytes)| LaneMut { kv_head: at % shape.kv_heads, bytes, parts, shape })
    }

    /// Key (after RoPE) and value of one position and head.
    ///
    /// # Panics
    /// There is no such position, or the rows are not of the head's size.
    pub fn read_row(&self, layer: usize, kv_head: usize, position: usize, key: &mut [f32], value: &mut [f32]) {
        let KvShape { head_size, capacity, format, .. } = self.shape;
        assert!(position < capacity && key.len() == head_size && value.len() == head_size, "a row of this store");
        let lane = self.lane(layer, kv_head);
        let key_at = position / BLOCK * BLOCK * head_size + position % BLOCK;
        let value_at = position * self.shape.value_stride();
        let read = |bytes: &[u8], scales: &[u8], at: usize| match format {
            KvFormat::F16 => f16::from_ne_bytes([bytes[2 * at], bytes[2 * at + 1]]).to_f32(),
            KvFormat::Int8 => f32::from(bytes[at] as i8) * scale(scales, position),
        };
        for dim in 0..head_size {
            key[dim] = read(lane.keys, lane.key_scales, key_at + dim * BLOCK);
            value[dim] = read(lane.values, lane.value_scales, value_at + dim);
        }
    }

    /// Takes over positions `0..len` of another slot. What this store held from `len` on is lost.
    ///
    /// # Panics
    /// The two differ in more than their capacity, or `len` is beyond one of the capacities.
    pub fn copy_prefix(&mut self, from: &KvStore, len: usize) {
        let capacity = self.shape.capacity;
        assert_eq!(self.shape, KvShape { capacity, ..from.shape }, "slots of one model");
        assert!(len <= capacity && len <= from.shape.capacity, "the prefix fits");
        for (layer, kv_head) in self.shape.lanes() {
            let (source, target) = (from.lane_range(layer, kv_head), self.lane_range(layer, kv_head));
            let parts = from.prefix_parts(len).into_iter().zip(self.prefix_parts(len));
            let (source, target) = (&from.bytes[source], &mut self.bytes[target]);
            for (from_part, to_part) in parts {
                target[to_part].copy_from_slice(&source[from_part]);
            }
        }
    }

    /// Writes positions `0..len` of all layers, in the machine's byte order and without a header. Equal contents give
    /// equal bytes: what an earlier conversation left behind `len` is not written.
    ///
    /// # Errors
    /// The writer's.
    ///
    /// # Panics
    /// `len` is beyond the capacity.
    pub fn export(&self, len: usize, to: &mut impl Write) -> io::Result<()> {
        assert!(len <= self.shape.capacity, "the prefix is held");
        let block_bytes = BLOCK * self.shape.head_size * self.shape.format.value_bytes();
        let mut last_block = vec![0; block_bytes];
        for (layer, kv_head) in self.shape.lanes() {
            let lane = &self.bytes[self.lane_range(layer, kv_head)];
            let [keys, rest @ ..] = self.prefix_parts(len);
            let whole = len / BLOCK * block_bytes;
            to.write_all(&lane[..whole])?;
            if whole < keys.end {
                last_block.copy_from_slice(&lane[whole..keys.end]);
                let row_bytes = BLOCK * self.shape.format.value_bytes();
                let kept = len % BLOCK * self.shape.format.value_bytes();
                last_block.chunks_exact_mut(row_bytes).for_each(|row| row[kept..].fill(0));
                to.write_all(&last_block)?;
            }
            rest.into_iter().try_for_each(|part| to.write_all(&lane[part]))?;
        }
        Ok(())
    }

    /// Reads what [`export`](Self::export) wrote for the same model and format. What this store held from `len` on is
    /// lost.
    ///
    /// # Errors
    /// The reader's; what was read by then has been stored.
    ///
    /// # Panics
    /// `len` is beyond the capacity.
    pub fn import(&mut self, len: usize, from: &mut impl Read) -> io::Result<()> {
        assert!(len <= self.shape.capacity, "the prefix fits");
        for (layer, kv_head) in self.shape.lanes() {
            let range = self.lane_range(layer, kv_head);
            let parts = self.prefix_parts(len);
            let lane = &mut self.bytes[range];
            parts.into_iter().try_for_each(|part| from.read_exact(&mut lane[part]))?;
        }
        Ok(())
    }

    fn lane_range(&self, layer: usize, kv_head: usize) -> Range<usize> {
        assert!(layer < self.shape.layers && kv_head < self.shape.kv_heads, "the lane exists");
        let start = (layer * self.shape.kv_heads + kv_head) * self.parts.lane_bytes;
        start..start + self.parts.lane_bytes
    }

    /// Where positions `0..len` lie in a lane: keys (whole blocks), values, key scales, value scales.
    fn prefix_parts(&self, len: usize) -> [Range<usize>; 4] {
        let KvShape { head_size, format, .. } = self.shape;
        let LaneParts { values_at, key_scales_at, value_scales_at, .. } = self.parts;
        let keys = len.next_multiple_of(BLOCK) * head_size * format.value_bytes();
        let values = len * self.shape.value_stride() * format.value_bytes();
        let scales = len * format.scale_bytes();
        [
            0..keys,
            values_at..values_at + values,
            key_scales_at..key_scales_at + scales,
            value_scales_at..value_scales_at + scales,
        ]
    }
}

impl KvShape {
    fn lanes(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let kv_heads = self.kv_heads;
        (0..self.layers).flat_map(move |layer| (0..kv_heads).map(move |kv_head| (layer, kv_head)))
    }
}

/// One layer and key head to write to.
#[derive(Debug)]
pub struct LaneMut<'a> {
    kv_head: usize,
    bytes: &'a mut [u8],
    parts: LaneParts,
    shape: KvShape,
}

impl LaneMut<'_> {
    /// Stores this head's part of consecutive positions, as [`KvStore::write`] does for all heads.
    ///
    /// # Panics
    /// As [`KvStore::write`].
    pub fn write(&mut self, start: usize, keys: &[f32], values: &[f32]) {
        let KvShape { kv_heads, head_size, capacity, .. } = self.shape;
        let width = kv_heads * head_size;
        let rows = keys.len() / width;
        assert!(
            keys.len() == rows * width && values.len() == keys.len(),
            "keys and values are whole rows of one shape"
        );
        assert!(start + rows <= capacity, "positions are within the capacity");
        for row in 0..rows {
            let at = row * width + self.kv_head * head_size;
            let (key, value) = (&keys[at..at + head_size], &values[at..at + head_size]);
            self.write_row(start + row, key, value);
        }
    }

    /// Stores key (after RoPE) and value of one position of this head.
    ///
    /// # Panics
    /// There is no such position.
    pub fn write_row(&mut self, position: usize, key: &[f32], value: &[f32]) {
        assert!(position < self.shape.capacity, "the position is within the capacity");
        match self.shape.format {
            KvFormat::F16 => self.write_f16(position, key, value),
            KvFormat::Int8 => self.write_int8(position, key, value),
        }
    }

    /// Byte offset of a position's first key element; the next dimension is `BLOCK` elements further.
    fn key_at(&self, position: usize) -> usize {
        let elements = position / BLOCK * BLOCK * self.shape.head_size + position % BLOCK;
        elements * self.shape.format.value_bytes()
    }

    fn value_at(&self, position: usize) -> usize {
        self.parts.values_at + position * self.shape.value_stride() * self.shape.format.value_bytes()
    }

    fn write_f16(&mut self, position: usize, key: &[f32], value: &[f32]) {
        let at = self.key_at(position);
        for (part, key) in key.chunks(PART).enumerate() {
            let keys = self.bytes[at + part * PART * BLOCK * 2..].chunks_mut(BLOCK * 2).take(key.len());
            keys.zip(rounded(key)).for_each(|(at, key)| at[..2].copy_from_slice(&key.to_ne_bytes()));
        }
        let at = self.value_at(position);
        for (part, value) in value.chunks(PART).enumerate() {
            let values = self.bytes[at + part * PART * 2..].chunks_exact_mut(2).take(value.len());
            values.zip(rounded(value)).for_each(|(at, value)| at.copy_from_slice(&value.to_ne_bytes()));
        }
    }

    fn write_int8(&mut self, position: usize, key: &[f32], value: &[f32]) {
        let (scale, inverse) = scale_of(key);
        self.write_scale(self.parts.key_scales_at, position, scale);
        let at = self.key_at(position);
        for (part, key) in key.chunks(PART).enumerate() {
            let keys = self.bytes[at + part * PART * BLOCK..].chunks_mut(BLOCK).take(key.len());
            keys.zip(quantized(key, inverse)).for_each(|(at, key)| at[0] = key);
        }
        let (scale, inverse) = scale_of(value);
        self.write_scale(self.parts.value_scales_at, position, scale);
        let at = self.value_at(position);
        for (part, value) in value.chunks(PART).enumerate() {
            let at = at + part * PART;
            self.bytes[at..at + value.len()].copy_from_slice(&quantized(value, inverse)[..value.len()]);
        }
    }

    fn write_scale(&mut self, scales_at: usize, position: usize, scale: f32) {
        let at = scales_at + position * size_of::<f32>();
        self.bytes[at..at + size_of::<f32>()].copy_from_slice(&scale.to_ne_bytes());
    }
}

/// The scale of a position.
fn scale(scales: &[u8], position: usize) -> f32 {
    let at = position * size_of::<f32>();
    f32::from_ne_bytes([scales[at], scales[at + 1], scales[at + 2], scales[at + 3]])
}

/// Up to [`PART`] values in f16; the conversion of a whole slice uses the processor's instruction. What is too large
/// becomes the largest finite value: an infinity would turn every later row into NaN.
fn rounded(values: &[f32]) -> [f16; PART] {
    let (mut clamped, mut out) = ([0f32; PART], [f16::ZERO; PART]);
    clamped.iter_mut().zip(values).for_each(|(to, value)| *to = value.clamp(-F16_MAX, F16_MAX));
    out.convert_from_f32_slice(&clamped);
    out
}

/// The scale that maps `row` to -127..=127, and its inverse; zeros for a row of zeros.
fn scale_of(row: &[f32]) -> (f32, f32) {
    let largest = row.iter().fold(0f32, |largest, value| if value.abs() > largest { value.abs() } else { largest });
    if largest < f32::MIN_POSITIVE * 127.0 { (0.0, 0.0) } else { (largest / 127.0, 127.0 / largest) }
}

/// Up to [`PART`] values as signed bytes, to the nearest, ties to even.
fn quantized(values: &[f32], inverse: f32) -> [u8; PART] {
    // After adding 1.5 * 2^23 the mantissa's last byte is the integer in two's complement: unlike `round`, this is one
    // instruction on every processor.
    const SHIFT: f32 = 12_582_912.0;
    let mut out = [0; PART];
    out.iter_mut().zip(values).for_each(|(to, value)| *to = (value * inverse + SHIFT).to_bits() as u8);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(head_size: usize, capacity: usize, format: KvFormat) -> KvShape {
        KvShape { layers: 2, kv_heads: 3, head_size, capacity, format }
    }

    /// A store whose every element tells where it was written.
    fn filled(shape: KvShape, len: usize) -> KvStore {
        let mut store = KvStore::new(shape).unwrap();
        let width = shape.kv_heads * shape.head_size;
        for layer in 0..shape.layers {
            let row = |at: usize| (0..width).map(move |dim| ((layer * 31 + at * 7 + dim) % 101) as f32 - 50.0);
            let keys: Vec<f32> = (0..len).flat_map(row).collect();
            let values: Vec<f32> = keys.iter().map(|key| -key).collect();
            store.write(layer, 0, &keys, &values);
        }
        store
    }

    fn bytes(store: &KvStore, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        store.export(len, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_prefix_is_the_same_after_a_copy_and_after_a_trip_to_disk() {
        for format in [KvFormat::F16, KvFormat::Int8] {
            for len in [0, 1, 16, 21] {
                let store = filled(shape(8, 40, format), 30);
                let mut copy = filled(shape(8, 25, format), 25);
                copy.copy_prefix(&store, len);
                assert_eq!(bytes(&copy, len), bytes(&store, len));
                let mut restored = KvStore::new(shape(8, 64, format)).unwrap();
                restored.import(len, &mut bytes(&store, len).as_slice()).unwrap();
                assert_eq!(bytes(&restored, len), bytes(&store, len));
            }
        }
    }

    #[test]
    fn what_a_longer_conversation_left_behind_is_not_exported() {
        for format in [KvFormat::F16, KvFormat::Int8] {
            assert_eq!(bytes(&filled(shape(4, 32, format), 20), 19), bytes(&filled(shape(4, 48, format), 19), 19));
        }
    }

    #[test]
    fn rows_written_one_by_one_are_those_written_together() {
        for format in [KvFormat::F16, KvFormat::Int8] {
            let together = filled(shape(8, 32, format), 20);
            let mut one_by_one = KvStore::new(shape(8, 32, format)).unwrap();
            for layer in 0..2 {
                for at in 0..20 {
                    let keys: Vec<f32> = (0..24).map(|dim| ((layer * 31 + at * 7 + dim) % 101) as f32 - 50.0).collect();
                    let values: Vec<f32> = keys.iter().map(|key| -key).collect();
                    one_by_one.write(layer, at, &keys, &values);
                }
            }
            assert_eq!(bytes(&one_by_one, 20), bytes(&together, 20));
        }
    }

    #[test]
    fn a_token_of_the_8b_takes_128_kib_in_f16_and_half_of_it_in_8_bit() {
        let of = |format| KvShape { layers: 32, kv_heads: 8, head_size: 128, capacity: 16, format }.bytes_per_token();
        assert_eq!(of(KvFormat::F16), 128 * 1024);
        assert_eq!(of(KvFormat::Int8), 66 * 1024);
    }

    #[test]
    fn eight_bits_are_off_by_half_a_step_at_most() {
        let shape = KvShape { layers: 1, kv_heads: 1, ..shape(8, 16, KvFormat::Int8) };
        let mut store = KvStore::new(shape).unwrap();
        let row = [0.3, -12.7, 5.55, 0.0, 12.6, -0.04, 7.0, 1.0];
        store.write(0, 3, &row, &row);
        let lane = store.lane(0, 0);
        let scale = |bytes: &[u8]| f32::from_ne_bytes(bytes[12..16].try_into().unwrap());
        for (dim, wanted) in row.into_iter().enumerate() {
            let key = f32::from(lane.keys[dim * BLOCK + 3] as i8) * scale(lane.key_scales);
            let value = f32::from(lane.values[3 * shape.value_stride() + dim] as i8) * scale(lane.value_scales);
            assert!((key - wanted).abs() < 0.0501 && key == value, "{key} instead of {wanted}");
        }
    }

    #[test]
    fn too_large_values_stay_finite() {
        let mut store = KvStore::new(KvShape { layers: 1, kv_heads: 1, ..shape(4, 16, KvFormat::F16) }).unwrap();
        store.write(0, 0, &[1e9, -1e9, 0.0, 1.0], &[0.0; 4]);
        let first = f16::from_ne_bytes([store.lane(0, 0).keys[0], store.lane(0, 0).keys[1]]);
        assert_eq!(first, f16::MAX);
    }

    #[test]
    #[should_panic(expected = "within the capacity")]
    fn positions_beyond_the_capacity_are_refused() {
        filled(shape(4, 16, KvFormat::F16), 17);
    }
}
