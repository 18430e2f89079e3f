//! Fidelity.

#[path = "fidelity/check.rs"]
mod check;
