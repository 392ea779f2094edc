//! Whether a model fits before it is loaded: what it will take against what is free, in this machine and in the limits
//! that a service manager set for this process.

use std::fs;
use std::path::PathBuf;

use super::config::LlamaConfig;
use super::error::Result;
use super::kv::KvFormat;
use super::weights::ModelFile;
use super::worker::EngineOptions;

/// Memory of a step and of everything else that is neither weights nor caches, roughly.
const OTHER_BYTES: u64 = 300 << 20;
/// Positions of what is being read ahead or tried out, and of the passages of a prompt that waits, roughly.
pub(super) const AHEAD_POSITIONS: usize = 2048;

/// What an engine takes of this machine's memory when all its slots are full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    pub weights_bytes: u64,
    pub cache_bytes: u64,
    /// What is free now; `None`: the system does not tell.
    pub available_bytes: Option<u64>,
}

impl MemoryPlan {
    /// Reads the header of the model file, and nothing else.
    ///
    /// # Errors
    /// The file is no usable model.
    pub fn read(options: &EngineOptions) -> Result<Self> {
        let file = ModelFile::open(&options.model)?;
        let config = LlamaConfig::read(&file)?;
        Ok(MemoryPlan::of(&file, &config, options))
    }

    pub(super) fn of(file: &ModelFile, config: &LlamaConfig, options: &EngineOptions) -> Self {
        let context_tokens = config.context_tokens.min(options.context_tokens_max);
        let cache = options.slots.max(1) * config.kv_shape(context_tokens, options.kv_format).reserved_bytes();
        let ahead = options.read_ahead.as_ref().map_or(0, |ahead| {
            let waiting = options.queue_max.max(1) * config.piece_shape(AHEAD_POSITIONS, ahead.format).bytes();
            config.kv_shape(AHEAD_POSITIONS, KvFormat::F16).reserved_bytes() + waiting
        });
        MemoryPlan {
            weights_bytes: file.size_bytes(),
            cache_bytes: (cache + ahead) as u64,
            available_bytes: available_bytes(),
        }
    }

    pub fn needed_bytes(&self) -> u64 {
        self.weights_bytes + self.cache_bytes + OTHER_BYTES
    }
}

/// Bytes that this process may still take: free memory and what the page cache would give back, or less where the
/// control group allows less. `None`: the system does not tell.
fn available_bytes() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let free = meminfo_bytes(&meminfo, "MemAvailable")?;
    Some(group_bytes().map_or(free, |group| free.min(group)))
}

fn meminfo_bytes(meminfo: &str, key: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// What the control group (version 2) of this process has left, without what can be taken back from its page cache.
fn group_bytes() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let folder = PathBuf::from("/sys/fs/cgroup").join(path);
    let limit = ["memory.max", "memory.high"]
        .iter()
        .filter_map(|name| number(&fs::read_to_string(folder.join(name)).ok()?))
        .min()?;
    let used = number(&fs::read_to_string(folder.join("memory.current")).ok()?)?;
    let statistics = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let cached = statistics.lines().find_map(|line| number(line.strip_prefix("file ")?)).unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(cached)))
}

/// `max` is no number: there is no limit.
fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_memory_is_read_from_the_table() {
        let meminfo = "MemTotal:       16000000 kB\nMemFree:          100000 kB\nMemAvailable:    9000000 kB\n";
        assert_eq!(meminfo_bytes(meminfo, "MemAvailable"), Some(9_000_000 * 1024));
        assert_eq!(meminfo_bytes(meminfo, "Mem"), None);
        assert_eq!(number("max\n"), None);
    }

    #[test]
    fn this_machine_has_some() {
        assert!(available_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
