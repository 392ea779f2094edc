//! Answers on their way to a platform: what is shown when, at the platform's pace, until the final text has arrived.

mod backoff;
mod courier;
mod draft;
pub mod markup;
mod pace;
mod surface;

pub use backoff::Backoff;
pub use courier::{Courier, Delivered, Parcel};
pub use draft::{Draft, DraftState, Ending, Form, write};
pub use pace::{Pace, Urgency, Window};
pub use surface::{Address, Content, Limits, Lost, Receipt, SendError, Source, Surface};
