//! Platform events to domain words and back: where people meet Cervella. How an answer comes about is not known here.
//!
//! A platform (`slack`, `telegram`) decodes what it is told into [`event`]s and hands them to a [`desk`], which decides
//! what is wanted; [`delivery`] brings the reply to the platform's [`delivery::Surface`].

pub mod clock;
pub mod connection;
pub mod delivery;
pub mod desk;
pub mod event;
pub mod house;
pub mod intake;
pub mod records;
mod secrets;
pub mod slack;
pub mod telegram;
pub mod terminal;
pub mod web;
