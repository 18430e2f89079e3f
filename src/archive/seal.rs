//! The manifest's own digest, its last field. Every other object's digest stands in the manifest; its own cannot stand
//! anywhere else, because the manifest is written last and in one piece.

use crate::error::{Error, Kind, Result};
use sha2::{Digest as _, Sha256};

/// What stands before the digest, which is SHA-256 in hexadecimal of every byte before this.
const BEGIN: &[u8] = b",\n  \"sha256\": \"";
const DIGITS: usize = 64;
/// What stands after it, and ends the document.
const END: &[u8] = b"\"\n}\n";

/// Puts the seal into a JSON object that ends in a line of its own with its closing brace.
pub(super) fn put(mut bytes: Vec<u8>) -> Vec<u8> {
    let open = bytes.strip_suffix(b"\n}").map_or(bytes.len(), <[u8]>::len);
    bytes.truncate(open);
    let digest = faster_hex::hex_string(&Sha256::digest(&bytes));
    for piece in [BEGIN, digest.as_bytes(), END] {
        bytes.extend_from_slice(piece);
    }
    bytes
}

/// Checks that a document ends in a seal, and that nothing before it has changed.
pub(super) fn check(bytes: &[u8]) -> Result<()> {
    let broken = |message: &str| {
        Error::new(Kind::Archive, format!("the manifest is damaged: {message}"))
            .hint("it was changed or damaged after the backup; restore from another backup")
    };
    let rest = bytes.strip_suffix(END).unwrap_or_default();
    let (before, digest) = rest.split_at_checked(rest.len().saturating_sub(DIGITS)).unwrap_or_default();
    let Some(before) = before.strip_suffix(BEGIN) else {
        return Err(broken("it does not end in its own digest"));
    };
    if faster_hex::hex_string(&Sha256::digest(before)).as_bytes() != digest {
        return Err(broken("it does not have the digest that it says it has"));
    }
    Ok(())
}
