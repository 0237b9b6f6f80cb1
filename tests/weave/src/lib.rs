//! Models of what threads share: the engine's own files, run through every order that two or three
//! threads can take, and every value that the memory model lets them see.
//!
//! Owns: the models, and [`sync`], which stands where the engine has the standard library's atomics.
//! Never: a copy of the engine's code. Start with [`models::MODELS`].

pub mod models;
pub mod plant;
pub mod sync;

mod clock;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the files belong to other crates, whose doors these are"
)]
mod engine;
