//! Which instruction set attention runs with.

use super::simd::Plain;
use super::tile::{Tile, attend_tile};
use super::workspace::Workspace;

/// An instruction set that this processor was found to have: only [`available`](Isa::available) makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Plain,
}

impl Isa {
    /// The best that this processor has.
    pub fn detect() -> Self {
        Self::available().next().unwrap_or(Isa(Kind::Plain))
    }

    /// All that this processor has, the best first.
    pub fn available() -> impl Iterator<Item = Isa> {
        #[cfg(target_arch = "x86_64")]
        let kinds = {
            let avx512 = is_x86_feature_detected!("avx512f");
            let avx2 =
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
            [avx512.then_some(Kind::Avx512), avx2.then_some(Kind::Avx2), Some(Kind::Plain)]
        };
        #[cfg(not(target_arch = "x86_64"))]
        let kinds = [Some(Kind::Plain)];
        kinds.into_iter().flatten().map(Isa)
    }

    /// [`attend_tile`] with this instruction set.
    ///
    /// # Safety
    /// The promises of [`attend_tile`].
    pub(super) unsafe fn attend(self, tile: &Tile<'_>, workspace: &mut Workspace) {
        // SAFETY: the processor was found to have the instructions, the rest is the caller's promise.
        unsafe {
            match self.0 {
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512 => super::avx512::attend_avx512(tile, workspace),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx2 => super::avx2::attend_avx2(tile, workspace),
                Kind::Plain => attend_tile(Plain, tile, workspace),
            }
        }
    }
}
