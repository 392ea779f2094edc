//! Passages of the two languages that say the same: each is the other's nearest.

use std::panic::resume_unwind;

use super::{Facts, Scan, Vectors};
use crate::domain::{Language, PassageId};
use crate::retrieval::centring::SHARE;

/// Italian passages whose twin is looked for.
const PROBES: usize = 8192;
/// Passages of each language among which it is looked for. Ids are hashes: the first of them are a fair sample.
const POOL: usize = 32_768;
/// Cosine, after centring, from which on nearest means alike; chosen on the questions about the sample handbook and the
/// development set, where 0.5 to 0.7 hardly differ.
const COSINE_MIN: f32 = 0.5;

impl Vectors {
    /// Pairs of an Italian and an English passage. Bounded work, whatever the size.
    pub(in crate::retrieval) fn twins(&self) -> Vec<(PassageId, PassageId)> {
        let [italian, english] = Language::ALL.map(|language| self.pool(language));
        let probes = &italian[..italian.len().min(PROBES)];
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let share = probes.len().div_ceil(cores).max(1);
        let twin = |&(row, _): &(usize, Facts)| {
            let (other, cosine) = self.nearest(row, &english)?;
            let (back, _) = self.nearest(other, &italian)?;
            (cosine >= COSINE_MIN && back == row).then(|| (self.id_of(row), self.id_of(other)))
        };
        std::thread::scope(|scope| {
            let parts: Vec<_> = probes
                .chunks(share)
                .map(|probes| scope.spawn(move || probes.iter().filter_map(twin).collect::<Vec<_>>()))
                .collect();
            parts.into_iter().flat_map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        })
    }

    /// The first row of each passage of a language.
    fn pool(&self, language: Language) -> Vec<(usize, Facts)> {
        let rows = (0..self.passages).map(|at| self.passage(at).1.start);
        let of_language = rows.map(|row| (row, self.facts(row))).filter(|(_, facts)| facts.tag.language == language);
        of_language.take(POOL).collect()
    }

    fn nearest(&self, row: usize, pool: &[(usize, Facts)]) -> Option<(usize, f32)> {
        let scan = Scan::of_this_processor();
        let query = self.query(&self.centred(row), true, true);
        let cosines = pool.iter().map(|&(other, facts)| (other, self.cosine_of_row(scan, &query, other, facts)));
        cosines.reduce(|best, next| if next.1 > best.1 { next } else { best })
    }

    /// A row without what its language shares, of unit length.
    fn centred(&self, row: usize) -> Vec<f32> {
        let facts = self.facts(row);
        let mean = self.means.of_language(facts.tag.language);
        let values = self.values(row).iter().map(|&value| f32::from(value) * facts.scale);
        values.zip(mean).map(|(value, mean)| (value - SHARE * mean) * facts.inverse_length).collect()
    }

    fn id_of(&self, row: usize) -> PassageId {
        self.passage(self.facts(row).passage as usize).0
    }
}
