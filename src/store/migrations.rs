//! Brings the layout of an opened store up to date, step by step, forward only. The steps lie in `migrations/` at the
//! top of the repository, one file each.

use super::StoreError;
use super::engine::Engine;
use super::frame;

#[path = "../../migrations/0001_layout.rs"]
mod step_0001;

pub(super) type Step = fn(&Engine) -> Result<(), StoreError>;

/// In order: step `n` makes layout `n` of layout `n - 1`; layout 0 is an empty database. A step may be cut off and run
/// again.
pub(super) const STEPS: &[Step] = &[step_0001::run];

/// Key in the checksum of the layout's number.
const FORMAT: &[u8] = b"format";

/// Runs the steps that are missing.
///
/// # Errors
/// `Newer` when the store has a layout that this version does not know.
pub(super) fn run(engine: &Engine) -> Result<(), StoreError> {
    run_steps(engine, STEPS)
}

/// The newest layout that this version knows.
pub(super) fn known() -> u32 {
    STEPS.len() as u32
}

pub(super) fn run_steps(engine: &Engine, steps: &[Step]) -> Result<(), StoreError> {
    let known = steps.len() as u32;
    let found = layout(engine)?;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for (step, number) in steps.iter().zip(1..=known).skip(found as usize) {
        step(engine)?;
        // What the step wrote must not come to the disk after the number that says it is there.
        engine.flush()?;
        set_layout(engine, number)?;
        tracing::info!(layout = number, "the layout of the store was brought up to date");
    }
    Ok(())
}

/// Says that the rows have this layout. On the disk when this returns.
pub(super) fn set_layout(engine: &Engine, number: u32) -> Result<(), StoreError> {
    engine.set_format(&frame::seal(FORMAT, number.to_string().as_bytes())[0])
}

/// The layout of a store; 0: it is empty.
pub(super) fn layout(engine: &Engine) -> Result<u32, StoreError> {
    let Some(bytes) = engine.format()? else { return Ok(0) };
    let payload = frame::open(FORMAT, &[bytes]).map_err(|_| StoreError::Damaged)?;
    serde_json::from_slice(&payload).map_err(|_| StoreError::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::keys::{Key, Kind};

    fn second(engine: &Engine) -> Result<(), StoreError> {
        engine.put(&Key::new(Kind::Flag).text("step"), &2)
    }

    #[test]
    fn only_missing_steps_run_and_a_newer_layout_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::new(Kind::Flag).text("step");
        let engine = Engine::open(folder.path()).unwrap();
        assert_eq!(layout(&engine).unwrap(), 0);
        run(&engine).unwrap();
        assert_eq!(layout(&engine).unwrap(), 1);
        assert_eq!(engine.read::<u32>(&key).unwrap(), None);

        run_steps(&engine, &[step_0001::run, second]).unwrap();
        assert_eq!((layout(&engine).unwrap(), engine.read::<u32>(&key).unwrap()), (2, Some(2)));

        engine.put(&key, &7).unwrap();
        run_steps(&engine, &[step_0001::run, second]).unwrap();
        assert_eq!(engine.read::<u32>(&key).unwrap(), Some(7), "a step ran twice");

        let refused = run(&engine).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the store has layout 2 and this version knows layouts up to 1: run the version that wrote it, or a later one"
        );
    }
}
